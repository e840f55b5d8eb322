"""Whether skopeo still gets something from a registry: for one that says nothing it waits without an end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from reconciler.model.content.skopeofailure import asked_to_wait

_LONGEST: Final = 30.0  # seconds for which skopeo may do as a registry asks, again and again


class StallWatch:
    """Looks at a running skopeo now and then; see `command.Watch`."""

    def __init__(self, patience: float, layout: Path | None, rate: float = 0) -> None:
        self._patience = patience  # seconds without anything that is new
        self._layout = layout  # where it writes to; None: it prints all it has at its end
        self._rate = rate  # bytes in a second; fewer are nothing
        self._seen: dict[str, int] | None = None
        self._since = time.monotonic()
        self.is_reached = False

    def __call__(self, process: int, complaints: str) -> bool:
        """Whether there is no point in waiting any longer."""
        now, here = time.monotonic(), _arrived(self._layout)
        if self._goes_on(here, now - self._since) or (self._layout and _waits_for_disk(process)):
            self._seen, self._since = here, now
        self.is_reached = now - self._since >= self._patience or (asked_to_wait(complaints) or 0.0) > _LONGEST
        return self.is_reached

    def _goes_on(self, here: dict[str, int] | None, seconds: float) -> bool:
        """Whether a blob came or went, or enough came of them since something was new last."""
        if here is None or self._seen is None or here.keys() != self._seen.keys():
            return here != self._seen
        return sum(here.values()) - sum(self._seen.values()) >= max(1.0, self._rate * seconds)


def _arrived(layout: Path | None) -> dict[str, int] | None:
    """The sizes of what skopeo has not finished. What is complete is moved away from there."""
    if layout is None or not layout.is_dir():
        return None
    return {str(path): _size(path) for path in layout.rglob("*")}


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


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
