"""Names the file of pretrained weights that a loss needs, where it cannot or must not be downloaded."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch


class MissingWeightsError(ValueError):
    """A file of pretrained weights is not there and cannot be fetched."""


@contextlib.contextmanager
def named_downloads() -> Iterator[None]:
    """Within it, a download by torch.hub that fails says what to fetch and where to put it.

    torchvision's networks and piq load their weights through torch.hub, whose own error names neither the file nor
    its place.
    """
    original = torch.hub.download_url_to_file

    def download(url: str, dst: str, *args: Any, **kwargs: Any) -> None:
        try:
            original(url, dst, *args, **kwargs)
        except (OSError, ValueError) as error:
            raise MissingWeightsError(f"needs weights that cannot be downloaded; put {url} at {dst}") from error

    with _downloading_by(download):
        yield


@contextlib.contextmanager
def no_downloads() -> Iterator[list[str]]:
    """Within it torch.hub fetches nothing; the addresses that it was asked for come in the list."""
    wanted: list[str] = []

    def refuse(url: str, *_: Any, **__: Any) -> None:
        wanted.append(url)
        raise OSError("not downloaded here")

    with _downloading_by(refuse):
        yield wanted


@contextlib.contextmanager
def _downloading_by(download: Callable[..., None]) -> Iterator[None]:
    original = torch.hub.download_url_to_file
    torch.hub.download_url_to_file = download
    try:
        yield
    finally:
        torch.hub.download_url_to_file = original
