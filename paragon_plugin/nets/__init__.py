"""ParagonSR2 networks: eight sizes, the four released tiers, and telling which of them a checkpoint is for.

Imports torch and `paragon_plugin.ops` only.
"""
