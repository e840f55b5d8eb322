"""Which paths an entry of the store has: its manifest tells, or its directory; of an image file it is remembered.

To list an image file takes a program, so it is done once, or while the file is made.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from reconciler.errors import Failed, ReconcilerError, file_of
from reconciler.host.base.durable import read_json, write_atomically
from reconciler.host.base.walk import walk
from reconciler.host.images.listing import files_of
from reconciler.host.store import entries as store
from reconciler.host.store import manifests
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.permissions import Permissions
from reconciler.model.plan.collisions import FileList

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.host.layers.flatten import Flattened
    from reconciler.model.facts.extensionfacts import File
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


def file_list(paths: Paths, entry: Entry, *, remember: bool) -> FileList | None:
    """What an entry has; None: the store does not have it."""
    if not store.has(paths, entry):
        return None
    return _of_image(paths, entry, remember=remember) if entry.format.is_file else _of_directory(paths, entry)


def keep(paths: Paths, entry: Entry, found: FileList) -> None:
    """Note what an image file has, or is going to have."""
    directories = {path: astuple(it) for path, it in sorted(found.directories.items())}
    record = {"files": sorted(found.files), "directories": directories, "links": dict(found.links)}
    # It is not indented, since it is long.
    write_atomically(_record(paths, entry), json.dumps(record).encode(), durable=False)


def of_flattened(flattened: Flattened) -> FileList:
    """What an image has that was made of a stream of members."""
    described = flattened.described
    paths = (
        (os.fsdecode(name), described.get(name, Permissions()) if kind is FileKind.DIRECTORY else None)
        for name, kind in flattened.names.items()
    )
    return FileList.of(paths, {os.fsdecode(name): os.fsdecode(target) for name, target in flattened.links.items()})


def of_files(files: Mapping[str, File]) -> FileList:
    """What an image file has, of all that is known of its files."""
    links = {path: it.target for path, it in files.items() if it.kind is FileKind.SYMLINK}
    return FileList.of(((path, it.permissions) for path, it in files.items()), links)


def _record(paths: Paths, entry: Entry) -> Path:
    return paths.file_lists / f"{entry.file_name}.json"


def _from_json(record: Any) -> FileList | None:  # noqa: ANN401 - JSON
    """A record that is not as we write it is none; so is one of an earlier version, without modes or links."""
    match record:
        case {"files": [*files], "directories": dict(directories), "links": dict(links)} if all(
            isinstance(path, str) for path in (*files, *links.values())
        ):
            found = {path: _permissions(words) for path, words in directories.items()}
            listed = (*((path, None) for path in files), *found.items())
            return FileList.of(listed, links) if all(found.values()) else None
        case _:
            return None


def _permissions(words: Any) -> Permissions | None:  # noqa: ANN401 - JSON
    match words:
        case [int(mode), int(uid), int(gid)]:
            return Permissions(mode, uid, gid)
        case _:
            return None


def _of_directory(paths: Paths, entry: Entry) -> FileList:
    """As it was placed, or as it is before that."""
    if manifest := manifests.read(paths, entry):
        items = manifest.items
        targets = {path: it.content for path, it in items.items() if stat.S_ISLNK(it.mode)}
        return FileList.of(((path, _of_status(it.mode, it.uid, it.gid)) for path, it in items.items()), targets)
    top = os.fsencode(paths.store / entry.file_name)
    links: dict[str, str] = {}

    def described() -> Iterator[tuple[str, Permissions | None]]:
        for path, it in walk(top):
            name = os.fsdecode(path[len(top) + 1 :])
            if stat.S_ISLNK(it.st_mode):
                links[name] = os.fsdecode(os.readlink(path))  # noqa: PTH115 - bytes
            yield name, _of_status(it.st_mode, it.st_uid, it.st_gid)

    try:
        return FileList.of(described(), links)
    except OSError as error:
        what = file_of(error, os.fsdecode(top))
        raise Failed.of(error, f"{what}: cannot be read", "look at the file system") from error


def _of_status(mode: int, uid: int, gid: int) -> Permissions | None:
    return Permissions(stat.S_IMODE(mode), uid, gid) if stat.S_ISDIR(mode) else None


def _of_image(paths: Paths, entry: Entry, *, remember: bool) -> FileList | None:
    if known := _from_json(read_json(_record(paths, entry))):
        return known
    contents = store.read_contents(paths, [entry]).get(entry)
    if contents is None or contents.image is None:
        return None
    files, _ = files_of(paths.store / entry.file_name, contents.image)
    found = of_files(files)
    if remember:
        try:
            keep(paths, entry, found)
        except Failed as error:
            log.debug("%s: its files are looked up again next time: %s", entry.file_name, error.message)
    return found


def readable_lists(
    paths: Paths, entries: Mapping[ExtensionId, Entry], *, remember: bool
) -> dict[ExtensionId, FileList]:
    """The lists of extensions, without those that cannot be read."""
    found: dict[ExtensionId, FileList | None] = {}
    for ident, entry in entries.items():
        try:
            found[ident] = file_list(paths, entry, remember=remember)
        except (ReconcilerError, OSError) as error:
            log.warning("%s: what is in it is not known: %s", entry.file_name, error)
    return {ident: it for ident, it in found.items() if it}
