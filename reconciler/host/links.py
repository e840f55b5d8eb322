"""The search directories: livelayer's links in one of them, and what others put into all of them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import Failed
from reconciler.host.durable import sync_directory
from reconciler.model.observed import Entry, Link, Unmanaged, parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.paths import Paths


@dataclass(frozen=True, slots=True)
class Found:
    """Everything in the search directories that counts as an extension."""

    links: dict[str, Link]
    unmanaged: tuple[Unmanaged, ...]


def read_links(paths: Paths, systemd: int) -> Found:
    """Tell livelayer's own links from everything else."""
    links: dict[str, Link] = {}
    unmanaged: list[Unmanaged] = []
    directories = paths.search_dirs(systemd)
    for directory in directories:
        outranks = directories.index(directory) <= directories.index(paths.links)
        for item in _scan(directory):
            link = read_link(paths, item.name) if directory == paths.links else None
            if link:
                links[link.name] = link
            elif name := _extension_name(item):
                unmanaged.append(Unmanaged(name, directory / item.name, outranks))
    return Found(links, tuple(unmanaged))


def read_link(paths: Paths, name: str) -> Link | None:
    """The link of this name, if there is one and livelayer placed it."""
    link = paths.links / name
    entry = _target(link, paths)
    if entry is None:
        return None
    # Not the time of the inode's last change: `restore` must be able to give a link its old time back.
    changed = link.lstat().st_mtime_ns
    return Link(name, entry, changed, dangling=not (paths.store / entry.file_name).is_dir())


def restore(paths: Paths, link: Link) -> None:
    """Put a link back as it was, its time too: a merge that was made from it still shows it.

    Raises:
        Failed: see `place`.
    """
    place(paths, link.name, link.entry)
    os.utime(paths.links / link.name, ns=(link.changed, link.changed), follow_symlinks=False)


def place(paths: Paths, name: str, entry: Entry) -> None:
    """Point NAME at an entry of the store, in one rename.

    The new link is made in the staging directory: systemd merges hidden names too, so nothing half-made may ever
    lie in a search directory.

    Raises:
        Failed: something else is in the way, or the file system refuses.
    """
    link = paths.links / name
    if os.path.lexists(link) and _target(link, paths) is None:
        raise Failed(f"{link} appeared meanwhile, and livelayer did not place it", f"remove {link}")
    temporary = paths.staging / f"link-{os.getpid()}"
    try:
        paths.links.mkdir(parents=True, exist_ok=True)
        paths.staging.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(_relative_target(paths, entry))
        _move(temporary, link)
        sync_directory(paths.links)
    except OSError as error:
        raise Failed(
            f"{link}: cannot be placed: {error.strerror}", "look at the file system's space and mode"
        ) from error


def remove(paths: Paths, name: str) -> None:
    """Take livelayer's own link away; anything else of that name stays.

    Raises:
        Failed: it is not livelayer's, or the file system refuses.
    """
    link = paths.links / name
    if not os.path.lexists(link):
        return
    if _target(link, paths) is None:
        raise Failed(f"{link}: livelayer did not place it, so it stays", "remove it by hand if it shall go")
    try:
        link.unlink()
        sync_directory(paths.links)
    except OSError as error:
        raise Failed(f"{link}: cannot be removed: {error.strerror}", "look at the file system's mode") from error


def _relative_target(paths: Paths, entry: Entry) -> str:
    """Relative, so that the link also holds when the root is mounted elsewhere."""
    return os.path.relpath(paths.store / entry.file_name, paths.links)


def _move(temporary: Path, link: Path) -> None:
    try:
        temporary.replace(link)
    except OSError as error:
        if error.errno != 18:  # noqa: PLR2004 - EXDEV: search directory and state on two file systems
            raise
        # A dangling name that ends in nothing systemd knows is no image; the link itself is made complete.
        beside = link.with_name(f".#{link.name}.livelayer")
        beside.unlink(missing_ok=True)
        beside.symlink_to(temporary.readlink())
        beside.replace(link)
        temporary.unlink()


def _scan(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as items:
            yield from sorted(items, key=lambda item: item.name)
    except (FileNotFoundError, NotADirectoryError):
        return


def _target(link: Path, paths: Paths) -> Entry | None:
    """The entry a symlink of livelayer's points to; None for everything else. Nothing is followed."""
    try:
        target = link.readlink()
    except OSError:
        return None
    directory, _, file_name = os.path.normpath(paths.links / target).rpartition("/")
    return parse_entry(file_name) if directory == os.path.normpath(paths.store) else None


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
