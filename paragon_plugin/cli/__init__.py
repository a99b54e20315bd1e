"""The command `paragon`."""
