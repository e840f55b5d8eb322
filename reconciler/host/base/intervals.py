"""What is done now and then beside something else."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def at_intervals(seconds: float, do: Callable[[], object], name: str) -> Iterator[None]:
    """Call `do` every so many seconds, in a thread of this name, until the context ends and its last call is over.

    It is called no more once it has returned something true, or raised.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds) and not do():
            pass

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
