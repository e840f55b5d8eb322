"""What an extension is made of: files, links and directories of all its sources, laid over each other."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from reconciler.dataclass import dataclass
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


class Content(NamedTuple):
    """Where the bytes of a file are on this machine; those in memory are few."""

    place: Path | bytes
    offset: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A file, link or directory. Several names of one item are hard links to it.

    It is no member of a tar archive, which has one name and a content that is gone once the stream has passed it.
    """

    kind: FileKind
    mode: int
    uid: int = 0
    gid: int = 0
    mtime_ns: int | None = None  # None: its source fixes none, so the build does
    target: bytes = b""  # of a symbolic link
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    content: Content | None = None  # of a file

    @property
    def is_directory(self) -> bool:
        return self.kind is FileKind.DIRECTORY


DIRECTORY = Item(FileKind.DIRECTORY, 0o755)


def text_file(text: str) -> Item:
    """A file that the build itself writes."""
    content = text.encode()
    return Item(FileKind.FILE, 0o644, content=Content(content, 0, len(content)))


class Assembly:
    """Items by their names: relative to the root, which is not among them, without empty parts, `.` and `..`."""

    def __init__(self, items: Mapping[bytes, Item] | None = None) -> None:
        self._items = dict(items or {})

    def __contains__(self, name: bytes) -> bool:
        return name in self._items

    def get(self, name: bytes) -> Item | None:
        return self._items.get(name)

    def __iter__(self) -> Iterator[tuple[bytes, Item]]:
        """Names and items, parents before what is in them, in an order that depends on nothing else."""
        return iter(sorted(self._items.items(), key=lambda it: it[0].split(b"/")))

    def put(self, name: bytes, item: Item) -> None:
        """Lay one item over what is there, as overlayfs does; parents that are missing come into being."""
        there = self._items.get(name)
        if there and there.is_directory and not item.is_directory:
            self._remove_below(name)
        self._items[name] = item
        parent = name.rpartition(b"/")[0]
        while parent and not ((above := self._items.get(parent)) and above.is_directory):
            self._items[parent] = DIRECTORY
            parent = parent.rpartition(b"/")[0]

    def lay(self, upper: Assembly) -> None:
        for name, item in upper:
            self.put(name, item)

    def files(self) -> Iterator[tuple[bytes, Item]]:
        """What is no directory."""
        return ((name, item) for name, item in self if not item.is_directory)

    def _remove_below(self, name: bytes) -> None:
        prefix = name + b"/"
        for inside in [it for it in self._items if it.startswith(prefix)]:
            del self._items[inside]


class Difference(NamedTuple):
    """What an assembly has that its base has not, or otherwise."""

    added: Assembly
    deleted: tuple[bytes, ...]  # the topmost names that only the base has


def difference(upper: Assembly, base: Assembly, same: Callable[[Content, Content], bool]) -> Difference:
    """Compare what was made of a base with it. Times are not compared: to install a package again changes nothing."""
    added = Assembly()
    for name, item in upper:
        before = base.get(name)
        if before is None or not _is_same(item, before, same):
            _put_with_parents(added, name, upper)
    gone = {name for name, _ in base if name not in upper}
    return Difference(added, tuple(name for name in sorted(gone) if name.rpartition(b"/")[0] not in gone))


def _put_with_parents(added: Assembly, name: bytes, upper: Assembly) -> None:
    parts = name.split(b"/")
    for depth in range(1, len(parts) + 1):
        here = b"/".join(parts[:depth])
        if here not in added and (item := upper.get(here)):
            added.put(here, item)


def _is_same(one: Item, other: Item, same: Callable[[Content, Content], bool]) -> bool:
    if _looks(one) != _looks(other):
        return False
    return one.content is None or other.content is None or same(one.content, other.content)


def _looks(item: Item) -> tuple[object, ...]:
    size = item.content.size if item.content else 0
    return item.kind, item.mode, item.uid, item.gid, item.target, dict(item.xattrs), size
