"""The content-addressed store: entries are complete or absent, whatever happens to the run that makes them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import Failed, ReconcilerError
from reconciler.host.base.durable import (
    drop_leftovers,
    make_directory,
    read_json,
    sync_directory,
    sync_filesystem,
    write_json,
)
from reconciler.host.base.exchange import exchange
from reconciler.host.images.directorytree import DirectoryTree
from reconciler.host.store import seals
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.filetree import read_contents as read_tree
from reconciler.model.images.imageformat import FileSystem, ImageFormat, Top, Volume
from reconciler.model.kind import RELEASE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.kind import Kind
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths


@contextmanager
def stage(paths: Paths) -> Iterator[Path]:
    """A private directory on the store's file system, gone at the end whatever happens."""
    with Failed.on_oserror(f"{paths.staging}: cannot be used", "look at the file system's space and mode"):
        paths.staging.mkdir(parents=True, exist_ok=True)
        paths.staging.chmod(0o700)
        directory = Path(tempfile.mkdtemp(prefix="fetch-", dir=paths.staging))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def new_tree(tree: Path) -> None:
    """An empty directory to unpack into, in place of one that was begun; its root is as /usr's parent ought to be."""
    if tree.exists():
        shutil.rmtree(tree)
    tree.mkdir()
    tree.chmod(0o755)


def prepare(paths: Paths) -> None:
    """Make the state directory, and drop what runs that were killed have left; only the holder of the lock may."""
    make_state_directory(paths)
    with Failed.on_oserror(f"{paths.store.parent}: cannot be made", "look at what is in its place"):
        paths.store.parent.mkdir(mode=0o700, exist_ok=True)
    _clean_staging(paths)
    volatile = (paths.public_status.parent, paths.runtime)
    lasting = (paths.state, paths.store, paths.generations, paths.images, paths.transfers, paths.catalogs)
    for directory in (*volatile, *lasting, *paths.records_of_entries):
        drop_leftovers(directory)


def make_state_directory(paths: Paths) -> None:
    """For root alone: the store keeps old versions, setuid programs with known holes among them."""
    with Failed.on_oserror(f"{paths.state}: cannot be made", "look at the file system's mode"):
        make_directory(paths.state.parent)
        paths.state.mkdir(mode=0o700, exist_ok=True)


def _clean_staging(paths: Paths) -> None:
    """As far as it goes: what cannot be removed is in nobody's way."""
    with suppress(OSError):
        for leftover in list(paths.staging.iterdir()):
            shutil.rmtree(leftover, ignore_errors=True)  # of a link or a file it does nothing
            with suppress(OSError):
                leftover.unlink(missing_ok=True)


def commit(
    paths: Paths, made: Path, entry: Entry, contents: Contents | None = None, *, replace: bool = False
) -> None:
    """Make a finished tree or image file an entry of the store.

    One that is there already is as good, unless it cannot be read as what it should be: then this one replaces it.

    With `replace` it does so in any case: a tree goes to `Paths.replaced` in one step, since an overlay may show it.
    """
    target = paths.store / entry.file_name
    if not entry.format.is_file:
        inspect(made, entry.kind)
    with Failed.on_oserror(f"{target}: cannot be stored", "look at the disk's space"):
        paths.store.mkdir(parents=True, exist_ok=True)
        is_there = _contents(target, entry) is not None  # not so an image file without its record
        if contents:
            write_json(_record(target), _as_json(contents))
        sync_filesystem(made)
        if replace and target.is_dir() and made.is_dir():
            _exchange(paths, made, target, entry.kind)
        elif replace or not is_there:
            if not is_there:
                seals.forget(paths, entry)  # of one that has gone: made anew, an image file has other bytes
            _make_way(target, made)
            made.rename(target)
        sync_directory(paths.store)


def _exchange(paths: Paths, made: Path, target: Path, kind: Kind) -> None:
    exchange(made, target)
    paths.replaced.mkdir(mode=0o700, exist_ok=True)
    made.rename(paths.replaced / f"{kind}-{time.time_ns()}")


def _make_way(target: Path, made: Path) -> None:
    """Move away what is no entry; it goes with the directory in which this one was made."""
    if os.path.lexists(target) and not target.is_file():
        target.rename(made.with_name("replaced"))
    elif os.path.lexists(target) and made.is_dir():
        target.unlink()


def read_contents(paths: Paths, entries: Iterable[Entry]) -> dict[Entry, Contents]:
    place = paths.store
    found = {entry: _contents(place / entry.file_name, entry) for entry in set(entries)}
    return {entry: contents for entry, contents in found.items() if contents}


def has(paths: Paths, entry: Entry) -> bool:
    return (paths.store / entry.file_name).exists()


def _contents(path: Path, entry: Entry) -> Contents | None:
    """An image file is looked into once, when it comes; without the record of that it is as good as not there."""
    if entry.format.is_file:
        return _from_json(read_json(_record(path))) if path.is_file() else None
    try:
        return inspect(path, entry.kind) if path.is_dir() else None
    except ReconcilerError:  # the disk is broken there, or what is there is none by the rules of today
        return None


def _record(image: Path) -> Path:
    return image.with_name(f"{image.name}.json")


def _as_json(contents: Contents) -> dict[str, Any]:
    record = asdict(contents)
    if contents.image:
        record["image"]["partitions"] = sorted(contents.image.partitions)
    return record


def _from_json(record: Any) -> Contents | None:  # noqa: ANN401 - JSON
    """A record that is not as we write it is none."""
    try:
        image = record["image"]
        return Contents(
            record["releases"],
            tuple(record["misplaced"] if "misplaced" in record else record["strays"]),  # its former name
            bool(record["has_os_release"]),
            tuple(record["units"]),
            _image_from_json(image) if image else None,
            tuple(record.get("kernels", ())),
            tuple(record.get("lax", ())),  # earlier versions did not look
            tuple(record.get("links", ())),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _image_from_json(record: Any) -> ImageFormat:  # noqa: ANN401 - JSON
    volumes = tuple(
        Volume(**{**it, "file_system": FileSystem(it["file_system"]), "top": Top(it["top"])})
        for it in record["volumes"]
    )
    return ImageFormat(volumes, record["sector_size"], frozenset(record["partitions"]))


def inspect(tree: Path, kind: Kind) -> Contents:
    return read_tree(DirectoryTree(tree), kind)


def give_release_name(tree: Path, kind: Kind, name: str) -> None:
    """Give a sole release file of another name also under this one (`rename: true`)."""
    releases = inspect(tree, kind).releases
    if len(releases) != 1 or name in releases:
        return
    directory = tree / kind.traits.releases
    wanted = directory / f"{RELEASE_PREFIX}{name}"
    with Failed.on_oserror(f"{wanted}: cannot be made"):
        wanted.hardlink_to(directory / f"{RELEASE_PREFIX}{next(iter(releases))}")
