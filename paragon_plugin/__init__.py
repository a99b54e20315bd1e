"""paragon_plugin: ParagonSR2 networks and an auto-calibrating loss scheduler for BasicSR."""

from .version import __version__

__all__ = ["__version__", "install"]


def install() -> None:
    """Make BasicSR work on today's libraries and register our networks, losses, datasets and models with it.

    Call it once before anything of `basicsr` is imported; calling it again does nothing.

    Raises:
        ImportError: BasicSR is not installed: pip install "paragon-plugin[basicsr]".
    """
    from .hosts.basicsr import install as install_into_basicsr

    install_into_basicsr()
