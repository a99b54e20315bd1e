"""The losses of an option file, as terms that a training step can evaluate."""
