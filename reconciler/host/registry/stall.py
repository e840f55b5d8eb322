"""Whether skopeo still gets something from a registry: for one that says nothing it waits without an end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from reconciler.model.content.skopeofailure import asked_to_wait

_LONGEST: Final = 30.0  # seconds for which skopeo may do as a registry asks, again and again


class StallWatch:
    """Looks at a running skopeo now and then; see `command.Watch`."""

    def __init__(self, patience: float, layout: Path | None) -> None:
        self._patience = patience  # seconds without anything that is new
        self._layout = layout  # where it writes to; None: it prints all it has at its end
        self._seen: object = None
        self._since = time.monotonic()
        self.is_reached = False

    def __call__(self, process: int, complaints: str) -> bool:
        """Whether there is no point in waiting any longer."""
        now, here = time.monotonic(), _arrived(self._layout)
        if here != self._seen or (self._layout and _waits_for_disk(process)):
            self._seen, self._since = here, now
        self.is_reached = now - self._since >= self._patience or (asked_to_wait(complaints) or 0.0) > _LONGEST
        return self.is_reached


def _arrived(layout: Path | None) -> object:
    """Something that differs as soon as a blob grows, comes or goes. What is complete is moved away from there."""
    if layout is None or not layout.is_dir():
        return None
    return {path.name: _size(path) for path in layout.iterdir()}


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return None


def _waits_for_disk(process: int) -> bool:
    """Whether one of its threads is in an uninterruptible sleep: a large blob may be written out for minutes."""
    for stat in Path(f"/proc/{process}/task").glob("*/stat"):
        try:
            state = stat.read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has ended meanwhile
            continue
        if state == "D":
            return True
    return False
