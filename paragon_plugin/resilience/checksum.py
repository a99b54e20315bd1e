"""A checksum inside a checkpoint: the SHA-256 of the file, as the comment that a zip file may end with.

`torch.save` writes a zip file, and every `torch.load` passes over its comment; it does not compare the zip file's own
sums either, so a flipped bit of a weight is loaded as it is. The comment travels with the file and is written with it.

    ... zip ... | end record, 22 bytes, the last two the comment's length | "paragon-sha256:" | 64 hex digits

The digits are the SHA-256 of everything before them.
"""

import hashlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

_MARK = b"paragon-sha256:"
_COMMENT = len(_MARK) + 64
_END_RECORD = b"PK\x05\x06"
_END_LENGTH = 22
_CHUNK = 1 << 20


class ChecksumError(ValueError):
    """A file is not what was written."""


def append_checksum(file: BinaryIO, path: str | Path) -> str:
    """Put the checksum at the end of a zip file that has been written to `file`, open at `path`.

    Returns:
        The checksum, 64 hex digits.
    """
    file.seek(-2, os.SEEK_END)
    file.write(struct.pack("<H", _COMMENT) + _MARK)
    file.flush()
    with open(path, "rb") as written:
        digits = _sha256(written, os.fstat(written.fileno()).st_size)
    file.write(digits)
    return digits.decode()


def verify_checksum(path: str | Path) -> str | None:
    """Compare a file with the checksum in it.

    Returns:
        The checksum; None where the file never had one: it was not written by us.

    Raises:
        ChecksumError: The file was cut off or changed.
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        is_zip = file.read(2) == b"PK"
        file.seek(max(0, size - _END_LENGTH - 65535))
        tail = file.read()
        if not is_zip and _MARK not in tail[-_COMMENT:]:
            return None
        end = tail.rfind(_END_RECORD)
        comment = tail[end + _END_LENGTH :]
        if end < 0 or tail[end + _END_LENGTH - 2 : end + _END_LENGTH] != struct.pack("<H", len(comment)):
            raise ChecksumError("its end is missing or changed")
        if len(comment) != _COMMENT:
            return None
        file.seek(0)
        digits = comment[-64:]
        if not comment.startswith(_MARK) or _sha256(file, size - 64) != digits:
            raise ChecksumError("its checksum does not match")
    return digits.decode()


def _sha256(file: BinaryIO, length: int) -> bytes:
    """Hex digits of the first `length` bytes from where the file stands."""
    sha = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(_CHUNK, length))):
        sha.update(chunk)
        length -= len(chunk)
    return sha.hexdigest().encode()
