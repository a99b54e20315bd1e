"""ParagonSR2 networks: the eight sizes, the four released tiers, and the detection of a checkpoint's network.

Imports torch and `paragon_plugin.ops` only.
"""
