"""Files that a stranger may have written, read whole up to a bound: a hole of 12 GiB takes them no space."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RELEASE_MAX: Final = 64 << 10  # bytes of an os-release file, as of an extension's release file


def read_bounded(path: Path, most: int = RELEASE_MAX) -> bytes:
    """The content of a file of at most that many bytes.

    Raises:
        OSError: it cannot be read, or has more.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
    return content
