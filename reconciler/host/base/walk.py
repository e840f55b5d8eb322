"""Directories, read."""

from __future__ import annotations

import os


def listed(directory: bytes) -> list[os.DirEntry[bytes]]:
    """The entries of a directory, read before any of them is removed."""
    with os.scandir(directory) as entries:
        return list(entries)
