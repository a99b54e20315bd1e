"""What lets a run survive: whole files, exact resume, checkpoints that say what they are, damaged images, signals.

Torch and numpy only: nothing here knows a host.
"""
