"""Whether a file is a tar archive or an image file, by its first bytes, compressed or not; never by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.tar.decompress import Blob, Content, Refused
from reconciler.model.content.format import Payload

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK: Final = 512
_MAGIC_AT: Final = slice(257, 262)  # of POSIX and GNU headers; older ones have a sum only
_SUM_AT: Final = slice(148, 156)


def payload_in(path: Path) -> Payload:
    """What a file, or the first part of one, promises to be; whether it is whole shows when it is read."""
    with Blob(path) as blob:
        try:
            head = Content(blob).read(_BLOCK)
        except Refused:
            head = b""
    return Payload.TAR if is_tar(head) else Payload.IMAGE


def is_tar(head: bytes) -> bool:
    """Whether a block of 512 bytes is the header of a tar's member."""
    if len(head) < _BLOCK:
        return False
    if head[_MAGIC_AT] == b"ustar":
        return True
    digits = head[_SUM_AT].strip(b" \0")
    is_octal = digits != b"" and not digits.strip(b"01234567")
    return is_octal and sum(head) - sum(head[_SUM_AT]) + 8 * 0x20 == int(digits, 8)
