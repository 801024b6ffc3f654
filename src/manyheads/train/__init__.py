"""Training: the loop, its optimizer and schedule, evaluation, checkpoints, signals."""
