"""What makes a training survive and be known: checkpoints, cards, provenance."""
