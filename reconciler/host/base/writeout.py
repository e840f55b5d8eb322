"""Writing out while there is more to come: disk and processor work side by side, and little is left for the end."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from reconciler.host.base.durable import sync_descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.errors import Failed

_INTERVAL: Final = 2.0  # seconds; each time costs a commit of the journal


@contextmanager
def early(directory: Path) -> Iterator[None]:
    """Write out the file system of `directory` now and then for the time of the context.

    The kernel tells each error once, so it must not get lost here: it is raised at the end.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    ended = threading.Event()
    errors: list[Failed] = []

    def write_out() -> None:
        while not ended.wait(_INTERVAL) and not errors:
            errors.extend(sync_descriptor(descriptor, directory))

    thread = threading.Thread(target=write_out, name="write-out", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.close(descriptor)
    if errors:
        raise errors[0]
