"""Manifests of the store's entries: what is in each, with digests, as it was when it was placed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reconciler.errors import Failed, file_of
from reconciler.host.base import termination
from reconciler.host.base.durable import write_atomically
from reconciler.host.base.walk import read_xattrs, walk
from reconciler.host.base.workers import workers
from reconciler.host.store import seals
from reconciler.model.state.contentmanifest import UNREADABLE, Difference, Item, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

_VERSION: Final = 1
_COMPRESSION: Final = 1  # most of it is digests
# Attributes that decide what a file may do or how it is seen. Labels are the host's, and some security modules write
# attributes of their own.
_XATTRS: Final = (b"user.", b"trusted.", b"system.posix_acl", b"security.capability")
_BATCH: Final = 64  # files for one piece of work
_THREADS_MAX: Final = 4
_PIECE: Final = 1 << 20


class Found(NamedTuple):
    """A path as it is now, without the digest of its content."""

    item: Item
    changed: int  # ctime, nanoseconds since the epoch


def make(paths: Paths, entry: Entry) -> None:
    when = seals.now()
    place = paths.store / entry.file_name
    found = _scan(place)
    digests = _digests((place, path) for path, it in found.items() if it.item.is_file)
    for (_, path), digest in digests.items():
        if digest == UNREADABLE:
            raise Failed(f"{place}/{path}: cannot be read", "look at the file system and its disk")
    items = {path: _whole(it.item, digests.get((place, path), "")) for path, it in found.items()}
    document = json.dumps({"version": _VERSION, "items": items}, separators=(",", ":"))
    content = zlib.compress(document.encode(), _COMPRESSION)
    write_atomically(seals.path_of(paths, entry), content, durable=False, mtime_ns=when)


def read(paths: Paths, entry: Entry) -> Manifest | None:
    """The manifest of an entry; None where there is none, or none that is as this version writes it."""
    try:
        document = json.loads(zlib.decompress(seals.path_of(paths, entry).read_bytes()))
        return _from_json(document)
    except (OSError, ValueError, zlib.error, TypeError, AttributeError):
        return None


def differences(
    paths: Paths, entries: Mapping[Entry, Manifest], since: Mapping[Entry, int]
) -> dict[Entry, list[Difference]]:
    """In what entries are not as their manifests say; what cannot be read is not.

    Of those in `since`, only files are read that were touched at that time (nanoseconds) or later.
    """
    found: dict[Entry, dict[str, Found]] = {}
    reported: dict[Entry, list[Difference]] = {}
    for entry in entries:
        try:
            found[entry] = _scan(paths.store / entry.file_name)
        except Failed as error:
            reported[entry] = [Difference("/", f"cannot be read: {error.message}")]
    asked = [
        (paths.store / entry.file_name, path)
        for entry, it in found.items()
        for path in _comparable(it, entries[entry], since.get(entry, 0))
    ]
    digests = _digests(asked)
    for entry, it in found.items():
        place = paths.store / entry.file_name
        items = {path: _whole(known.item, digests.get((place, path), "")) for path, known in it.items()}
        reported[entry] = entries[entry].differences(items)
    return reported


def _scan(place: Path) -> dict[str, Found]:
    """Everything in a directory, itself included, following none of its links; or an image file."""
    try:
        top = os.fsencode(place)
        return {os.fsdecode(path[len(top) + 1 :]): _look_at(path, status) for path, status in walk(top)}
    except OSError as error:
        raise Failed.of(error, file_of(error, place), "look at the file system and its disk") from error


def _look_at(path: bytes, status: os.stat_result) -> Found:
    mode = status.st_mode
    item = Item(
        mode,
        status.st_uid,
        status.st_gid,
        status.st_size if stat.S_ISREG(mode) else 0,
        os.fsdecode(os.readlink(path)) if stat.S_ISLNK(mode) else "",  # noqa: PTH115 - no object for each path
        tuple((os.fsdecode(name), value.hex()) for name, value in read_xattrs(path, _XATTRS).items()),
    )
    return Found(item, status.st_ctime_ns)


def _comparable(found: Mapping[str, Found], manifest: Manifest, since: int) -> Iterator[str]:
    """The files whose content is to be read: touched since then, and of the size they had."""
    for path, it in found.items():
        was = manifest.items.get(path)
        if it.changed >= since and it.item.is_file and was and was.is_file and was.size == it.item.size:
            yield path


def _whole(item: Item, digest: str) -> Item:
    return item._replace(content=digest) if digest else item


def _digests(files: Iterable[tuple[Path, str]]) -> dict[tuple[Path, str], str]:
    todo = list(files)
    if len(todo) <= _BATCH:
        return dict(_hash(todo))
    batches = [todo[start : start + _BATCH] for start in range(0, len(todo), _BATCH)]
    threads = min(_THREADS_MAX, len(os.sched_getaffinity(0)), len(batches))
    with workers(threads) as pool:
        return {file: digest for done in pool.map(_hash, batches) for file, digest in done}


def _hash(files: list[tuple[Path, str]]) -> list[tuple[tuple[Path, str], str]]:
    buffer = bytearray(_PIECE)
    view = memoryview(buffer)
    done = []
    for place, path in files:
        termination.check()
        found = hashlib.sha256()
        try:
            descriptor = os.open(f"{place}/{path}" if path else place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                while count := os.readv(descriptor, [buffer]):
                    found.update(view[:count])
            finally:
                os.close(descriptor)
            done.append(((place, path), found.hexdigest()))
        except OSError:
            done.append(((place, path), UNREADABLE))
    return done


def _from_json(document: Any) -> Manifest | None:  # noqa: ANN401 - JSON
    if document.get("version") != _VERSION:
        return None
    items = {path: Item._make([*it[:-1], tuple(map(tuple, it[-1]))]) for path, it in document["items"].items()}
    return Manifest(items) if "" in items else None
