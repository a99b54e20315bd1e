"""What lets a run survive: whole files, exact resume, checkpoints that say what they are, damaged images, signals.

Nothing here knows a host.
"""
