"""What is in an entry of the store as it was placed, path by path, and in what it differs by now."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, printable

if TYPE_CHECKING:
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.entry import Entry

_KINDS: Final = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}
_SHOWN: Final = 3  # differences in one sentence
UNREADABLE: Final = "?"  # in place of a file's digest


class Item(NamedTuple):
    """One path. Times and the number of links are not part of it: they make no other extension.

    These are the fields of the record on disk, and the type is as lstat(2) has it, since by hand anything may be put
    there, a socket too. That is why no other record of a file serves here.
    """

    mode: int  # type and permissions as lstat(2) has them
    uid: int
    gid: int
    size: int = 0  # bytes, of a regular file
    content: str = ""  # the hexadecimal digits of a regular file's SHA-256, or where a symbolic link leads
    xattrs: tuple[tuple[str, str], ...] = ()  # names, in order, and values

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


Items: TypeAlias = Mapping[str, Item]
"""By paths relative to the entry; the entry itself, a directory or an image file, is the empty one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What one path is, in place of what it was."""

    path: str | None  # as the merged overlay has it; None: the image file
    what: str

    def __str__(self) -> str:
        return printable(f"{self.path or 'the image file'} {self.what}")


@dataclass(frozen=True, slots=True)
class Verified:
    """How a placed extension compares with its manifest."""

    ident: ExtensionId
    entry: Entry
    files: int
    bytes: int
    differences: tuple[Difference, ...]
    error: Failed | None = None  # it cannot be compared

    @property
    def is_intact(self) -> bool:
        return not self.differences and self.error is None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an entry was when it was sealed."""

    items: Items

    @property
    def files(self) -> int:
        return sum(1 for item in self.items.values() if item.is_file)

    @property
    def bytes(self) -> int:
        return sum(item.size for item in self.items.values() if item.is_file)

    def differences(self, found: Items) -> list[Difference]:
        """What is not as it was, in the order of the paths; of a directory that came or went, not what is in it.

        The content of files is compared where `found` has it.
        """
        differing = {
            path: what
            for path in self.items.keys() | found.keys()
            if (what := _difference(self.items.get(path), found.get(path)))
        }
        one_sided = {path for path in differing if path not in self.items or path not in found}
        inner = {path for path in one_sided if path.rpartition("/")[0] in one_sided}
        image = "" if self.items[""].is_file else None
        shown = sorted(differing.keys() - inner)
        return [Difference(None if path == image else f"/{path}", differing[path]) for path in shown]


def summary(found: Sequence[Difference]) -> str:
    more = len(found) - _SHOWN
    shown = ", ".join(map(str, found[:_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown


def _difference(was: Item | None, now: Item | None) -> str:
    """What happened to one path; empty: nothing."""
    if was is None or now is None:
        return "is gone" if was else "was added"
    if stat.S_IFMT(was.mode) != stat.S_IFMT(now.mode):
        return f"is {_kind(now)}, not {_kind(was)}"
    return _other_access(was, now) or _other_content(was, now)


def _other_access(was: Item, now: Item) -> str:
    if (was.uid, was.gid) != (now.uid, now.gid):
        return f"belongs to {now.uid}:{now.gid}, not to {was.uid}:{was.gid}"
    if was.mode != now.mode:
        return f"has the mode {stat.S_IMODE(now.mode):04o}, not {stat.S_IMODE(was.mode):04o}"
    return "has other extended attributes" if was.xattrs != now.xattrs else ""


def _other_content(was: Item, now: Item) -> str:
    if stat.S_ISLNK(was.mode):
        return "" if was.content == now.content else f"leads to {now.content}, not to {was.content}"
    if now.content == UNREADABLE:
        return "cannot be read"
    is_other = was.size != now.size or (now.content and was.content != now.content)
    return "has another content" if is_other else ""


def _kind(item: Item) -> str:
    return _KINDS.get(stat.S_IFMT(item.mode), "something unknown")
