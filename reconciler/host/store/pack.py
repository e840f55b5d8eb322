"""One image file from the layers of an image or from a directory: straight from the stream where possible."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed
from reconciler.host.images.directorytree import DirectoryTree
from reconciler.host.images.write.erofs import write_erofs
from reconciler.host.images.write.squashfs import write_squashfs
from reconciler.host.layers.flatten import Entangled, flatten
from reconciler.host.store import entries as store
from reconciler.host.store.packed import PackedTree, ReleaseKeeper
from reconciler.host.store.pathlists import of_flattened
from reconciler.host.tar.fromtree import write_tree
from reconciler.host.tar.writer import TarWriter
from reconciler.model.content.format import Format
from reconciler.model.fit.filetree import read_contents
from reconciler.model.images.imageformat import FileSystem, ImageFormat, Volume
from reconciler.model.kind import RELEASE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.host.layers.arrival import Blobs
    from reconciler.host.layers.flatten import Flattened
    from reconciler.model.content.limits import Limits
    from reconciler.model.content.ociread import Layer
    from reconciler.model.fit.contents import Contents
    from reconciler.model.fit.filekind import FileKind
    from reconciler.model.kind import Kind
    from reconciler.model.plan.collisions import FileList
    from reconciler.model.state.entry import Entry

_SPACE: Final = "look at the space on the store's file system and at its disk"


@dataclass(frozen=True, slots=True)
class Packed:
    """An image file that was made, and what is in it."""

    contents: Contents  # as `store.inspect` would find it
    files: FileList | None  # None: they can be read from it


def pack(  # noqa: PLR0913, PLR0917 - as `flatten`, and what to make of it
    layers: Sequence[Layer], blob_of: Blobs, target: Path, entry: Entry, scratch: Path, limits: Limits
) -> Packed:
    """Make an image file of the tree that layers are, lowest first; after an error there is none.

    The caller removes `scratch`, which is on the store's file system.
    """
    return flatten(
        layers,
        blob_of,
        scratch,
        limits,
        lambda flattened: _pack_members(flattened, target, entry, scratch),
        lambda tree: Packed(pack_tree(tree, target, entry, scratch), None),
    )


def pack_tree(tree: Path, target: Path, entry: Entry, scratch: Path, *, labels: bool = False) -> Contents:
    """Make an image file of a directory, which gets its release file's second name if it is renamed.

    Nobody else may change the directory meanwhile. With `labels`, SELinux labels are this node's, and go along.
    What is inside is returned as `store.inspect` would find it.
    """
    if entry.renamed_to:
        _rename(tree, entry.kind, entry.renamed_to)
    contents = read_contents(DirectoryTree(tree), entry.kind)
    with _making(target):
        _make(target, entry, scratch, lambda writer: write_tree(tree, writer, labels=labels))
        return _described(contents, target, entry)


def _pack_members(flattened: Flattened, target: Path, entry: Entry, scratch: Path) -> Packed:
    """From the stream of members to the program that makes the file; release files are looked at as they pass."""
    releases = ReleaseKeeper(entry.kind.traits.releases)
    found: list[Contents] = []

    def fill(writer: TarWriter) -> None:
        for member, chunks in releases.watch(flattened.members):
            writer.add(member, chunks)
        contents = read_contents(PackedTree(flattened.names, releases), entry.kind)
        found.append(_renamed(contents, flattened.names, writer, entry))

    with _making(target):
        _make(target, entry, scratch, fill)
        return Packed(_described(found[0], target, entry), of_flattened(flattened))


def _renamed(contents: Contents, names: Mapping[bytes, FileKind], writer: TarWriter, entry: Entry) -> Contents:
    """As `store.give_release_name` does it in a tree."""
    wanted = entry.renamed_to
    if wanted is None or len(contents.releases) != 1 or wanted in contents.releases:
        return contents
    ((name, release),) = contents.releases.items()
    path, origin = (f"{entry.kind.traits.releases}/{RELEASE_PREFIX}{item}".encode() for item in (wanted, name))
    if path in names:
        raise Entangled
    writer.add_link(path, origin)
    return replace(contents, releases={wanted: release, name: release})


def _rename(tree: Path, kind: Kind, name: str) -> None:
    """Give the release file a second name, but its directory no new time: the same tree is to give the same file."""
    directory = tree / kind.traits.releases
    before = directory.lstat() if directory.is_dir() else None
    store.give_release_name(tree, kind, name)
    if before:
        os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


def _make(target: Path, entry: Entry, scratch: Path, fill: Callable[[TarWriter], None]) -> None:
    """Have the program for this format make `target` of what `fill` adds."""

    def write(descriptor: int) -> None:
        writer = TarWriter(descriptor)
        fill(writer)
        writer.finish()

    if entry.format is Format.SQUASHFS:
        write_squashfs(target, write)
    else:
        write_erofs(target, write, scratch)


def _described(contents: Contents, target: Path, entry: Entry) -> Contents:
    volume = Volume(FileSystem(entry.format), 0, target.stat().st_size)
    return replace(contents, image=ImageFormat((volume,)))


@contextmanager
def _making(target: Path) -> Iterator[None]:
    """Leave nothing of a file that could not be made, and begin without one that an earlier try has made."""
    with Failed.on_oserror(f"{target}: cannot be made", _SPACE):
        target.unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            target.unlink(missing_ok=True)
            raise
