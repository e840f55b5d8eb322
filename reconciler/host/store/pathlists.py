"""Which files the entries of the store have: looked up once, and remembered."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import Failed, ReconcilerError
from reconciler.host.base.durable import read_json, write_atomically
from reconciler.host.images.facts import Listing
from reconciler.host.images.listing import list_image
from reconciler.host.store import entries as store
from reconciler.host.tar.reader import Kind as MemberKind
from reconciler.model.content.limits import DEFAULT
from reconciler.model.facts.extensionfacts import FileKind
from reconciler.model.plan.collisions import FileList
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.images.imageformat import ImageFormat
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


def file_list(paths: Paths, entry: Entry, *, remember: bool) -> FileList | None:
    """What an entry has; None: the store does not have it.

    Args:
        paths: of the node.
        entry: of the store.
        remember: whether to keep the list.

    Raises:
        ReconcilerError: it cannot be read.
    """
    contents = store.read_contents(paths, [entry]).get(entry)
    if contents is None:
        return None
    place = paths.store / entry.file_name
    if known := _from_json(read_json(_record(paths, entry))):
        return known
    found = _of_image(place, contents.image) if contents.image else _of_directory(place)
    if remember:
        try:
            keep(paths, entry, found)
        except Failed as error:
            log.debug("%s: its files are looked up again next time: %s", entry.file_name, error.message)
    return found


def keep(paths: Paths, entry: Entry, found: FileList) -> None:
    """Remember what an entry has, or is going to have.

    Raises:
        Failed: the list cannot be written.
    """
    document = json.dumps([sorted(found.files), sorted(found.directories)])  # without indentation: it is long
    write_atomically(_record(paths, entry), document.encode(), durable=False)


def of_names(names: Mapping[bytes, MemberKind]) -> FileList:
    """What an image has that was made of a stream of members."""
    found = {os.fsdecode(name): kind for name, kind in names.items() if name}
    directories = frozenset(name for name, kind in found.items() if kind is MemberKind.DIRECTORY)
    return FileList(frozenset(found) - directories, directories)


def _record(paths: Paths, entry: Entry) -> Path:
    return paths.file_lists / f"{entry.file_name}.json"


def _from_json(record: Any) -> FileList | None:  # noqa: ANN401 - JSON
    """A record that is not as we write it is none."""
    match record:
        case [[*files], [*directories]] if all(isinstance(path, str) for path in (*files, *directories)):
            return FileList(frozenset(files), frozenset(directories))
        case _:
            return None


def _of_directory(tree: Path) -> FileList:
    """Following none of its links."""
    files: list[str] = []
    directories: list[str] = []
    todo = [""]
    try:
        while todo:
            parent = todo.pop()
            with os.scandir(os.path.join(tree, parent)) as items:  # noqa: PTH118 - no object for each
                for item in items:
                    path = f"{parent}{item.name}"
                    if item.is_dir(follow_symlinks=False):
                        directories.append(path)
                        todo.append(f"{path}/")
                    else:
                        files.append(path)
    except OSError as error:
        raise Failed.of(error, f"{error.filename}: cannot be read", "look at the file system") from error
    return FileList(frozenset(files), frozenset(directories))


def _of_image(file: Path, image: ImageFormat) -> FileList:
    listing = Listing()
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir=SCRATCH) as workplace:
        list_image(file, image, listing, Path(workplace), DEFAULT)
    found = listing.files()
    directories = frozenset(path for path, it in found.items() if it.kind is FileKind.DIRECTORY)
    return FileList(frozenset(found) - directories, directories)


def readable_lists(paths: Paths, entries: Mapping[str, Entry], *, remember: bool) -> dict[str, FileList]:
    """The lists of extensions by their names, without those that cannot be read."""
    found = {name: _list_or_none(paths, entry, remember=remember) for name, entry in entries.items()}
    return {name: it for name, it in found.items() if it}


def _list_or_none(paths: Paths, entry: Entry, *, remember: bool) -> FileList | None:
    try:
        return file_list(paths, entry, remember=remember)
    except (ReconcilerError, OSError) as error:
        log.warning("%s: what is in it is not known: %s", entry.file_name, error)
        return None
