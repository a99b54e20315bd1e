"""ParagonSR2 networks: eight sizes of one class. Imports torch and `paragon_plugin.ops` only."""
