"""Decoded images, kept while there is room: decoding a large photograph takes far longer than making a patch of it."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor


class DecodedImages:
    """The images that were used last, up to a number of bytes. What is given depends on the file alone.

    Args:
        decode: Reads an image file.
        limit: Bytes to keep at most, in this process. Each data worker is a process of its own.
    """

    def __init__(self, decode: Callable[[str], Tensor], limit: int):
        self.decode = decode
        self.limit = limit
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, file: str) -> Tensor:
        """The image of a file; not to be changed in place."""
        if file in self._kept:
            self._kept.move_to_end(file)
            return self._kept[file]
        image = self.decode(file)
        self._kept[file] = image
        self._bytes += image.nbytes
        while self._bytes > self.limit and self._kept:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return image
