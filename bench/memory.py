"""The peak memory of a program and all it starts."""

from __future__ import annotations

import os
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY: Final = 0.02  # seconds
_KIB: Final = 1024


def peak_of(command: list[str], environment: dict[str, str]) -> int:
    """Run a program to its end; bytes it had at most, with its descendants.

    Their PSS is summed every few milliseconds: what they share counts once, and the page cache of files that are
    read and written, not mapped, does not count.
    """
    process = os.posix_spawn(command[0], command, environment)
    peak = 0
    while not os.waitpid(process, os.WNOHANG)[0]:
        peak = max(peak, sum(map(_pss, _tree(process))))
        time.sleep(_EVERY)
    return peak


def _tree(process: int) -> Iterator[int]:
    yield process
    try:
        children = [(task / "children").read_text().split() for task in Path(f"/proc/{process}/task").iterdir()]
    except OSError:  # it ended meanwhile
        return
    for child in chain(*children):
        yield from _tree(int(child))


def _pss(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith("Pss:")), 0)
