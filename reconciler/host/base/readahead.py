"""Pieces of data made in a thread of their own, while those before them are being used.

Reading, hashing and decompressing release the interpreter's lock, so they take place on another core. Nothing is lost
by a thread: what the maker raises is raised where the piece would have been taken.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BYTES_AHEAD: Final = 8 << 20


class ReadAhead:
    """What an iterator makes, in its order, a bounded number of bytes ahead."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._made: deque[bytes] = deque()
        self._ahead = 0  # bytes in `_made`
        self._error: BaseException | None = None
        self._done = False
        self._stopped = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def take(self) -> bytes:
        """The next piece; empty at the end. Whatever the iterator raised is raised here."""
        with self._changed:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._make, name="read-ahead", daemon=True)
                self._thread.start()
            while not self._made and not self._done:
                self._changed.wait()
            if self._made:
                piece = self._made.popleft()
                self._ahead -= len(piece)
                self._changed.notify()
                return piece
        if self._error is not None:
            raise self._error
        return b""

    def stop(self) -> None:
        """Make no further piece, and wait until the piece in the making is finished. May be called at any time."""
        with self._changed:
            self._stopped = self._done = True
            self._changed.notify_all()
        # From here on take() starts none.
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> None:
        try:
            for piece in self._pieces:
                with self._changed:
                    while self._ahead >= BYTES_AHEAD and not self._stopped:
                        self._changed.wait()
                    self._made.append(piece)
                    self._ahead += len(piece)
                    self._changed.notify()
                    if self._stopped:  # nobody wants more
                        return
        except BaseException as error:  # noqa: BLE001 - raised again by take()
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify()
