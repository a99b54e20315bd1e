"""`python -m paragon_plugin.train -opt FILE`: `paragon train` as a module, which is what torchrun starts."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
