"""Protocol, scores, evaluation, result files, verdicts."""
