"""How far skopeo is: it shows its progress to terminals only, so what it has written is looked at."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    Meter: TypeAlias = Callable[[int, int | None], None]
    """Told how many bytes are here, and how many there will be, if that is known."""

_INTERVAL: Final = 0.25  # seconds


@contextmanager
def watch(layout: Path, blobs: Path, total: int | None, meter: Meter) -> Iterator[None]:
    """Tell `meter` now and then how much of a copy into an OCI layout is here, in a thread of its own.

    Args:
        layout: where skopeo writes what it has not finished.
        blobs: where it moves finished blobs to, and finds those that need not be fetched.
        total: bytes of the image's layers; None: unknown.
        meter: told bytes that are here and `total`.
    """
    ended = threading.Event()
    before = _size(blobs / "sha256")

    def look() -> None:
        while not ended.wait(_INTERVAL):
            meter(_size(layout) + _size(blobs / "sha256") - before, total)

    thread = threading.Thread(target=look, name="transfer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if total:
        meter(total, total)


def _size(directory: Path) -> int:
    """Bytes of the files in a directory, some of which may vanish meanwhile."""
    total = 0
    try:
        for path in directory.iterdir():
            try:
                total += path.lstat().st_size
            except OSError:
                continue
    except OSError:
        return 0
    return total
