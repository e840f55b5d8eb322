"""How far skopeo is: it shows its progress to terminals only, so what it has written is looked at."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from reconciler.host.base.intervals import at_intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    Meter: TypeAlias = Callable[[int, int | None], None]
    """Told how many bytes are here, and how many there will be, if that is known."""

_INTERVAL: Final = 0.25  # seconds


@contextmanager
def watch(layout: Path, blobs: Path, total: int | None, meter: Meter) -> Iterator[None]:
    """Tell `meter` now and then how much of a copy of `total` bytes is here, in a thread of its own.

    In the layout, skopeo writes what it has not finished; it moves finished blobs to `blobs`.
    """
    before = _size(blobs / "sha256")

    def look() -> None:
        meter(_size(layout) + _size(blobs / "sha256") - before, total)

    with at_intervals(_INTERVAL, look, "transfer"):
        yield
    if total:
        meter(total, total)


def _size(directory: Path) -> int:
    """Bytes of the files in a directory, if it is there; some may vanish meanwhile."""
    total = 0
    for path in directory.glob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
