"""What an entry of the store can do to a host: by its paths, and by what is in those files that decide it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.host.images.directorytree import DirectoryTree
from reconciler.host.images.inspect import open_image
from reconciler.host.store import entries as store
from reconciler.model.facts.powers import abilities, restarts
from reconciler.model.fit.filekind import FileKind
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from reconciler.model.facts.powers import Ability
    from reconciler.model.fit.filetree import FileTree
    from reconciler.model.images.imageformat import ImageFormat
    from reconciler.model.plan.collisions import FileList
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

_TEXT_MAX: Final = 64 << 10  # bytes of a file that decides


def abilities_of(paths: Paths, entry: Entry, found: FileList) -> list[Ability]:
    """What an entry with these files can do."""
    contents = store.read_contents(paths, [entry]).get(entry)
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir=SCRATCH) as scratch:
        texts = _Texts(paths.store / entry.file_name, contents.image if contents else None, Path(scratch))
        told = abilities(found.files, texts.read, found.links)
    return [*told, *(restarts(contents, entry.kind, found.files, found.links) if contents else ())]


class _Texts:
    """Files of an entry, which is opened when the first of them is wanted."""

    def __init__(self, place: Path, image: ImageFormat | None, scratch: Path) -> None:
        self._place = place
        self._image = image
        self._scratch = scratch
        self._tree: FileTree | None = None

    def read(self, path: str) -> str | None:
        """None: it is no file, or it is too long or cannot be read."""
        try:
            self._tree = self._tree or self._opened()
            is_file = self._tree.node(path) is FileKind.FILE
            text = self._tree.read(path, _TEXT_MAX + 1) if is_file else None
        except (ReconcilerError, OSError):
            return None
        return text.decode(errors="replace") if text is not None and len(text) <= _TEXT_MAX else None

    def _opened(self) -> FileTree:
        if self._image:
            return open_image(self._place, self._image, self._scratch)
        return DirectoryTree(self._place)
