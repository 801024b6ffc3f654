"""How losses of several tasks become one update. Knows tensors and parameters, no tasks."""
