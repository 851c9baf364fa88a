"""From result files to tables and figures, the paper's numbers beside the measured ones."""
