"""A run under our loop: data, training, validation, resuming, testing."""
