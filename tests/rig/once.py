"""What takes long to make, made once for all processes of a run, or for all runs."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE: Final = Path(os.environ.get("LIVELAYER_TEST_CACHE", "/var/cache/livelayer-tests"))
"""What every run may use."""


def once(directory: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A directory's entry of this name, complete or absent: made by whoever comes first, the others wait."""
    directory.mkdir(parents=True, exist_ok=True)
    target, begun = directory / name, directory / f".{name}.begun"
    with (directory / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            shutil.rmtree(begun, ignore_errors=True)
            make(begun)
            begun.rename(target)
    return target


def once_in_this_run(name: str, make: Callable[[Path], None]) -> Path:
    """The same, and gone when the run ends."""
    return once(Path(os.environ["LIVELAYER_TEST_RUN"]), name, make)
