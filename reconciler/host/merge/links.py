"""The search directories: livelayer's links in one of them, and what others put into all of them."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed
from reconciler.host.base.durable import make_directory, sync_directory
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan import versioned
from reconciler.model.state.entry import Entry, parse_entry
from reconciler.model.state.observed import Link, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.paths import Paths

_ON_ITS_WAY: Final = (".#", ".livelayer")  # how the name of a link begins and ends until it is in its place
_STORE: Final = "/store/sha256/"  # between the path of a state and the name of an entry


@dataclass(frozen=True, slots=True)
class Found:
    """Everything in the search directories that counts as an extension."""

    links: dict[ExtensionId, Link]
    unmanaged: tuple[Unmanaged, ...]


def read_links(paths: Paths, systemd: int) -> Found:
    """Tell livelayer's own links from everything else."""
    links: dict[ExtensionId, Link] = {}
    unmanaged: list[Unmanaged] = []
    for kind in Kind:
        order = paths.search_dirs(kind, 0)
        for item, directory in _items(paths, kind, systemd):
            link = _link_at(directory / item.name, kind, paths) if directory == paths.links(kind) else None
            if link:
                links[link.ident] = _newer(links[link.ident], link) if link.ident in links else link
            elif other := _other(directory / item.name, item, systemd):
                (name, path), outranks = other, order.index(directory) <= order.index(paths.links(kind))
                unmanaged.append(Unmanaged(name, path, outranks, kind, agent=_is_kairos_agents(path, paths)))
    enabled = {item.name for item in unmanaged if item.agent}
    return Found(links, (*unmanaged, *(it for it in _kept_by_kairos_agent(paths) if it.name not in enabled)))


def read_link(paths: Paths, ident: ExtensionId) -> Link | None:
    """The link of this extension, if there is one and livelayer placed it."""
    found = [link for path in _forms(paths, ident) if (link := _link_at(path, ident.kind, paths))]
    return reduce(_newer, found) if found else None


def restore(paths: Paths, link: Link) -> None:
    """Put a link back as it was, its time too: a merge that was made from it still shows it."""
    place(paths, link.ident, link.entry)
    path = paths.links(link.entry.kind) / link.entry.link_name(link.name)
    os.utime(path, ns=(link.changed, link.changed), follow_symlinks=False)


def place(paths: Paths, ident: ExtensionId, entry: Entry) -> None:
    """Point NAME (or NAME.raw, for an image file) at an entry of the store, in one rename.

    The new link is made in the staging directory: systemd merges hidden names too, so nothing half-made may ever
    lie in a search directory.
    """
    directory = paths.links(ident.kind)
    link = directory / entry.link_name(ident.name)
    for path in _forms(paths, ident):
        if os.path.lexists(path) and _target(path, paths) is None:
            raise Failed(
                f"{path} appeared meanwhile, and livelayer did not place it",
                f"remove {path}",
                code="unmanaged.in-the-way",
            )
    with Failed.on_oserror(f"{link}: cannot be placed", "look at the file system's space and mode"):
        make_directory(directory.resolve())
        _make(paths, link, entry)
        for path in _forms(paths, ident):
            if path != link:
                path.unlink(missing_ok=True)
        sync_directory(directory)


def clean(paths: Paths) -> None:
    """Drop links that were not in their place yet when a run was killed; only the holder of the lock may."""
    for kind in Kind:
        for item in _scan(paths.links(kind)):
            if _is_on_its_way(item):
                path = paths.links(kind) / item.name
                with Failed.on_oserror(f"{path}: cannot be removed", "look at the file system's mode"):
                    path.unlink(missing_ok=True)


def find_state(paths: Paths) -> str | None:
    """The directory of a state whose store links lead to, as the node sees it; None: none tells."""
    for kind in Kind:
        directory = paths.links(kind)
        real = directory.resolve()
        for item in _scan(directory):
            target = os.path.normpath(real / (directory / item.name).readlink()) if item.is_symlink() else ""
            state, store, file_name = target.rpartition(_STORE)
            if store and parse_entry(file_name) and os.path.exists(target):  # noqa: PTH110 - no Path
                return state if paths.is_running_system else f"/{os.path.relpath(state, paths.root)}"
    return None


def remove(paths: Paths, ident: ExtensionId) -> None:
    """Take livelayer's own link away; anything else of that name stays."""
    for link in filter(os.path.lexists, _forms(paths, ident)):
        if _target(link, paths) is None:
            raise Failed(
                f"{link}: livelayer did not place it, so it stays",
                "remove it by hand if it shall go",
                code="unmanaged.in-the-way",
            )
        with Failed.on_oserror(f"{link}: cannot be removed", "look at the file system's mode"):
            link.unlink()
            sync_directory(link.parent)


def _forms(paths: Paths, ident: ExtensionId) -> tuple[Path, Path]:
    """The two names under which systemd would find the extension: as a directory, as an image file."""
    directory = paths.links(ident.kind)
    return directory / ident.name, directory / f"{ident.name}.raw"


def _newer(other: Link, link: Link) -> Link:
    """The later one of two links for one extension: a run that changed its form was killed in between."""
    return replace(link if link.changed >= other.changed else other, doubled=True)


def _link_at(path: Path, kind: Kind, paths: Paths) -> Link | None:
    entry = _target(path, paths)
    name = path.name.removesuffix(".raw")
    if entry is None or entry.kind is not kind or entry.link_name(name) != path.name:
        return None
    # Not the time of the inode's last change: `restore` must be able to give a link its old time back.
    changed = path.lstat().st_mtime_ns
    return Link(name, entry, changed, dangling=not _is_same(path, paths.store / entry.file_name))


def _items(paths: Paths, kind: Kind, systemd: int) -> Iterator[tuple[os.DirEntry[str], Path]]:
    own = paths.links(kind)
    for directory in paths.search_dirs(kind, systemd):
        if directory != own and _is_same(directory, own):
            continue  # one of them is a symlink to the other, so all of it is seen twice
        for item in _scan(directory):
            if not _is_on_its_way(item):
                yield item, directory


def _is_kairos_agents(path: Path, paths: Paths) -> bool:
    """Whether it is a link into the store of Kairos's own extensions, as the initrd makes it for a boot state."""
    try:
        target = path.readlink()
    except OSError:
        return False
    found = paths.under(str(target)) if target.is_absolute() else paths.followed(path.parent / target)
    return os.path.normpath(found).startswith(f"{paths.kairos_extensions}/")


def _kept_by_kairos_agent(paths: Paths) -> Iterator[Unmanaged]:
    """What lies in that store, enabled in this boot or not."""
    for item in _scan(paths.kairos_extensions):
        if item.name.endswith(".raw") and (name := _extension_name(item)):
            path = paths.kairos_extensions / item.name
            yield Unmanaged(name, path, outranks=False, agent=True, searched=False)


def _is_on_its_way(item: os.DirEntry[str]) -> bool:
    beginning, end = _ON_ITS_WAY
    return item.name.startswith(beginning) and item.name.endswith(end) and item.is_symlink()


def _make(paths: Paths, link: Path, entry: Entry) -> None:
    temporary = paths.staging / f"link-{os.getpid()}"
    paths.staging.mkdir(parents=True, exist_ok=True)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(_way(link.parent, paths.store / entry.file_name))
    try:
        temporary.replace(link)
    except OSError as error:
        if error.errno != errno.EXDEV:  # search directory and state on two file systems
            raise
        # systemd takes no name that begins like this one for an image; the link itself is made complete.
        beside = link.with_name(f"{_ON_ITS_WAY[0]}{link.name}{_ON_ITS_WAY[1]}")
        beside.unlink(missing_ok=True)
        beside.symlink_to(temporary.readlink())
        beside.replace(link)
        temporary.unlink()


def _way(directory: Path, content: Path) -> str:
    """What a link holds: relative, so that it also holds when the root is mounted elsewhere.

    Where the directory is a symlink, `..` leads up from where that one leads.
    """
    way = os.path.relpath(content, directory)
    if os.path.realpath(directory / way) == os.path.realpath(content):
        return way
    return os.path.relpath(content, directory.resolve())


def _scan(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as items:
            yield from sorted(items, key=lambda item: item.name)
    except (FileNotFoundError, NotADirectoryError):
        return


def _target(link: Path, paths: Paths) -> Entry | None:
    """The entry a symlink of livelayer's stands for; None for everything else. The link itself is not followed."""
    try:
        target = link.readlink()
    except OSError:
        return None
    entry, store = parse_entry(target.name), os.path.normpath(paths.store)
    if entry is None or os.path.normpath(link.parent / target.parent) == store:
        return entry
    return entry if os.path.realpath(link.parent.resolve() / target.parent) == os.path.realpath(store) else None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except PermissionError:
        raise
    except OSError:
        return False


def _other(path: Path, item: os.DirEntry[str], systemd: int) -> tuple[str, Path] | None:
    """What systemd takes an entry of a search directory for, and where that lies; None: for nothing."""
    if systemd >= versioned.SINCE and item.name.endswith(versioned.ENDING) and item.is_dir():
        version = _version_in(path)
        return (versioned.name_of(item.name), version) if version else None
    name = _extension_name(item)
    return (name, path) if name else None


def _version_in(directory: Path) -> Path | None:
    """The one that systemd takes of a directory of versions."""
    is_right = Path.is_file if versioned.is_of_images(directory.name) else Path.is_dir
    entries = [item.name for item in _scan(directory) if is_right(directory / item.name)]
    taken = versioned.best(directory.name, entries, os.uname().machine)
    return directory / taken if taken else None


def _extension_name(item: os.DirEntry[str]) -> str | None:
    """The name systemd-sysext would merge this under; None: it would not look at it."""
    try:
        mode = item.stat().st_mode
    except OSError:
        return None  # a dangling symlink
    if stat.S_ISDIR(mode):
        return item.name
    if stat.S_ISREG(mode) and item.name.endswith(".raw"):
        return item.name.removesuffix(".raw")
    return item.name if stat.S_ISBLK(mode) else None
