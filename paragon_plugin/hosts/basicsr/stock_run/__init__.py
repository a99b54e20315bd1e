"""Reads back the runs of BasicSR's own loop, and those of version 0.1, from their logs."""
