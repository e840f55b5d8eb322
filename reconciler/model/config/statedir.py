"""Which directories livelayer's state can be in."""

from __future__ import annotations

import posixpath
from typing import Final

_MERGED: Final = ("/usr", "/opt", "/etc")
_VOLATILE: Final = ("/run", "/tmp", "/dev", "/proc", "/sys", "/var/run", "/var/tmp")  # noqa: S108 - refused
_SYSTEMDS: Final = ("/var/lib/extensions", "/var/lib/confexts", "/var/lib/kairos/extensions")


def check_state_dir(text: str) -> str:
    """A directory of livelayer's own that is there at boot and that no merge covers, as the user wrote it.

    Raises:
        ValueError: with what is wrong.
    """
    if not text.startswith("/") or posixpath.normpath(text) != text or text.startswith("//"):
        raise ValueError("must be an absolute path without . and .. and a slash at the end")
    if not text.isprintable():
        raise ValueError("must not have control characters")
    for directory in _MERGED:
        if _overlap(text, directory):
            raise ValueError(f"must not be in {directory}, onto which extensions are merged")
    for directory in _VOLATILE:
        if _overlap(text, directory):
            raise ValueError(f"must not be in {directory}, which a boot empties")
    for directory in _SYSTEMDS:
        if _overlap(text, directory):
            raise ValueError(f"must not be {directory}, in it or above it, since systemd would merge what lies there")
    if text.count("/") == 1 or posixpath.dirname(text) == "/var":
        raise ValueError("must be a directory of its own, such as /data/livelayer")
    return text


def _overlap(one: str, other: str) -> bool:
    """Whether one is the other or lies in it, in either direction."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
