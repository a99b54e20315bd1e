"""What a run tells: decision log, console, summary."""
