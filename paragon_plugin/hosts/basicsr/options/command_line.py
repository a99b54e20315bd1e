"""The host's command-line flags. Imports neither torch nor the host: `paragon` builds its parser from them."""

import argparse


def argument_parser() -> argparse.ArgumentParser:
    """The host's command-line flags."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the host's command-line flags to a parser."""
    add_file_arguments(parser)
    add_launcher_arguments(parser)
    parser.add_argument("--auto_resume", action="store_true", help="go on from the newest checkpoint of this name")


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how the processes of a distributed run were started."""
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], default="none", help="job launcher")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which options a run has."""
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--debug", action="store_true", help="log, validate and save every few iterations")
    parser.add_argument(
        "--force_yml",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY:KEY=VALUE",
        help="set options over the file's, for example train:ema_decay=0.999",
    )
