"""Option files: read, typed, checked for unknown names."""
