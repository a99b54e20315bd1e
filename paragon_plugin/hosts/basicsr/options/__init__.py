"""Option files: read, typed, described by a schema for editors."""
