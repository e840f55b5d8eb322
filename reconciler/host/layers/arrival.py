"""Layers that can be read while skopeo still writes them.

skopeo writes a blob to a file of its own in the layout, and renames it to its digest when it is complete and checked.
Which file will become which blob it does not say, so only a sole missing one is read before it is complete. Nothing
depends on the guess: what is read is hashed like any other blob.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from reconciler.errors import Unavailable
from reconciler.host.base import termination
from reconciler.host.base.blobs import blob_in
from reconciler.host.tar.decompress import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from io import FileIO
    from pathlib import Path
    from typing import TypeAlias

    from reconciler.host.tar.decompress import Readable
    from reconciler.model.content.ociread import Layer

    LayerBlob: TypeAlias = "Path | Arriving"
    Blobs: TypeAlias = Callable[[str], LayerBlob]
    """Where a layer's blob is, by its digest."""

Copied = TypeVar("Copied")

_INTERVAL: Final = 0.01  # seconds
_UNFINISHED: Final = "oci-put-blob*"  # as containers/image names them in a layout


class Arrival:
    """The layers of one image while a copy of it is under way in another thread."""

    def __init__(self, layout: Path, blobs: Path, layers: Iterable[Layer]) -> None:
        self._layout = layout
        self._blobs = blobs
        self._sizes = {layer.digest: layer.size for layer in layers}
        self._missing = {digest for digest in self._sizes if not blob_in(self._blobs, digest).exists()}
        self.ended = Event()  # set when the copy is over, well or not
        self.diff_ids: dict[str, str] = {}  # by digest: what layers that were read unpacked to

    def blob(self, digest: str) -> Arriving:
        return Arriving(self, digest, self._sizes[digest])

    def open(self, digest: str) -> FileIO:
        """Wait until there is something to read; a copy that ended without it is `Unavailable`."""
        while True:
            is_over = self.ended.is_set()  # before looking: what is not there now will never be
            unfinished = list(self._layout.glob(_UNFINISHED)) if self._missing == {digest} else []
            for file in (blob_in(self._blobs, digest), *unfinished):
                try:
                    return file.open("rb", buffering=0)
                except FileNotFoundError:
                    continue
            if is_over:
                raise Unavailable(f"{digest} has not arrived")
            termination.check()
            time.sleep(_INTERVAL)


class Arriving:
    """A layer's blob, complete or not, as a file."""

    def __init__(self, arrival: Arrival, digest: str, size: int) -> None:
        self._arrival = arrival
        self._digest = digest
        self._size = size
        self._reader: _Growing | None = None

    def __str__(self) -> str:
        return self._digest

    def open(self, _mode: Literal["rb"], _buffering: Literal[0], /) -> Readable:
        """Read it from its beginning; a read waits for what is not here yet."""
        self._reader = _Growing(self._arrival.open(self._digest), self._size, self._arrival.ended)
        return self._reader

    def unpacked_to(self, diff_id: str) -> None:
        """Note what it unpacked to, which the image's configuration, the last to come, has to confirm.

        Nothing is noted of a blob that is smaller than the manifest says: the limits were counted with that size.
        """
        if self._reader and not self._reader.left:
            self._arrival.diff_ids[self._digest] = diff_id


class _Growing:
    """A file that another process writes to its end."""

    def __init__(self, file: FileIO, size: int, ended: Event) -> None:
        self._file = file
        self.left = size  # bytes that are to come
        self._ended = ended

    def read(self, size: int, /) -> bytes:
        """A whole piece, fewer bytes only at the end: of the blob, or of one that will never be complete."""
        wanted = min(size, self.left, PIECE)
        while not self._has(wanted) and not self._ended.is_set():
            termination.check()
            time.sleep(_INTERVAL)
        data = self._file.read(wanted)
        self.left -= len(data)
        return data

    def _has(self, wanted: int) -> bool:
        """A file without a name is one that skopeo has given up, to begin anew."""
        found = os.fstat(self._file.fileno())
        return found.st_size - self._file.tell() >= wanted or not found.st_nlink

    def close(self) -> None:
        self._file.close()


@contextmanager
def arriving(arrival: Arrival, copy: Callable[[], Copied]) -> Iterator[Future[Copied]]:
    """Copy in a thread of its own for the time of the context, which waits for its end, however the body ends.

    A body that fails leaves the copy alone: what it brings here need not be fetched again.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="copy") as pool:
        future = pool.submit(copy)
        future.add_done_callback(lambda _: arrival.ended.set())
        yield future
