"""Merges an image's layers into one tar archive, in one pass over each of them, the topmost layer first.

A member is passed on unless something above it hides it, so that nothing is unpacked and each name comes once. The
result is the tree that `unpack` makes. What one pass cannot decide, because it depends on the order of
members or on what a lower layer has, is not decided here but told, for the caller to take the long way:

- names that occur twice in a layer, and members beneath something that is no directory;
- names whose parents are or may be symbolic links;
- hard links to what the same layer does not have, or to what an upper layer has replaced;
- everything that `unpack` refuses when it comes to the file system.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from reconciler.dataclass import dataclass
from reconciler.host.layers import whiteouts
from reconciler.host.layers.budget import Budget, Exceeded
from reconciler.host.layers.readlayer import opened
from reconciler.host.layers.staging import parts_of, split
from reconciler.host.layers.unpack import unpack
from reconciler.host.layers.whiteouts import Whiteout
from reconciler.host.tar.attributes import CAPABILITY, kept
from reconciler.host.tar.decompress import Refused
from reconciler.host.tar.reader import Member
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.permissions import Permissions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from reconciler.host.layers.arrival import Blobs
    from reconciler.model.content.limits import Limits
    from reconciler.model.content.ociread import Layer

    MemberContent: TypeAlias = tuple[Member, Iterable[memoryview]]
    """A member, and the stored part of its content if it is a file."""

Made = TypeVar("Made")

_PART_MAX: Final = 255  # bytes; NAME_MAX of every Linux file system
_NAME_MAX: Final = 3000  # below PATH_MAX with room for wherever the image is unpacked
_LINK_MAX: Final = 4095
_XATTRS_MAX: Final = 1 << 15  # bytes of a member's attributes together; ext4 takes less, btrfs and xfs more of each
_CAPABILITY_SIZE: Final = 20  # of version 2, which means the same in every user namespace
_CAPABILITY_VERSION: Final = b"\0\0\2"
_USUAL: Final = (b"user.", b"trusted.")
_ROOT: Final = b"./"


class Entangled(Exception):
    """The layers cannot be merged in one pass."""


def flatten(  # noqa: PLR0913, PLR0917 - the image, and two ways to use it
    layers: Sequence[Layer],
    blob_of: Blobs,
    scratch: Path,
    limits: Limits,
    use_members: Callable[[Flattened], Made],
    use_tree: Callable[[Path], Made],
) -> Made:
    """Let an image be used member by member or, where one pass is not enough, as a tree unpacked in `scratch`.

    The lowest layer is the first, and a tar archive is one layer. The caller removes `scratch`, and what
    `use_members` has begun where the tree is used instead.
    """
    if (made := in_one_pass(layers, blob_of, limits, use_members)) is not None:
        return made
    tree = scratch / "tree"
    if tree.exists():
        shutil.rmtree(tree)
    tree.mkdir()
    tree.chmod(0o755)
    unpack(layers, blob_of, tree, limits)
    return use_tree(tree)


def in_one_pass(
    layers: Sequence[Layer], blob_of: Blobs, limits: Limits, use: Callable[[Flattened], Made]
) -> Made | None:
    """What `use` makes of an image's members; None: one pass is not enough."""
    flattened = Flattened(layers, blob_of, limits)
    try:
        with closing(flattened.members):  # what an error leaves unread has threads and files
            try:
                made = use(flattened)
            except Refused as error:  # while a member's content was read: the layer is to be checked as a whole
                flattened.members.throw(error)
                raise
            for _ in flattened.members:  # what was left unread is checked all the same
                pass
            return made
    except Entangled:
        return None


@dataclass(frozen=True, slots=True)
class _Layer:
    """What the layer that is being read has had so far."""

    # All but directories, with their name in the merged image.
    files: dict[bytes, bytes | None] = field(default_factory=dict)
    directories: set[bytes] = field(default_factory=set)
    # What its whiteouts and files hide of lower layers: names with all beneath them, and the content of directories.
    gone: set[bytes] = field(default_factory=set)
    opaque: set[bytes] = field(default_factory=set)
    entered: dict[bytes, _Place] = field(default_factory=dict)  # parents, by the names that the archive has for them


class _Place(NamedTuple):
    name: bytes
    closed: bool  # upper layers hide all that lower layers have in it


class Flattened:
    """The merged image, read as its members are taken."""

    def __init__(self, layers: Sequence[Layer], blob_of: Blobs, limits: Limits) -> None:
        self.names: Final[dict[bytes, FileKind]] = {b"": FileKind.DIRECTORY}
        """What the image has, by name, once all was read; hard links as what they lead to. The root's is empty."""
        self.members: Final = self._read(layers, blob_of)
        """Every member once, with the stored part of a file's content; what no layer describes comes last."""
        self.described: Final[dict[bytes, Permissions]] = {}
        """The directories that a layer describes; others come into being as everybody's to look into."""
        self.links: Final[dict[bytes, bytes]] = {}
        """The targets of what in `names` is a symbolic link."""
        self._budget = Budget(limits)
        self._gone: set[bytes] = set()  # what upper layers hide, as in _Layer
        self._opaque: set[bytes] = set()
        # Names that a layer went through without having said that they are directories: where a lower one has a
        # symbolic link in that place, it leads elsewhere.
        self._passed: set[bytes] = set()
        self._layer = _Layer()

    def _read(self, layers: Sequence[Layer], blob_of: Blobs) -> Generator[MemberContent]:
        for layer in reversed(layers):
            with opened(layer, blob_of(layer.digest), self._budget) as reader:
                for member in reader:
                    merged = self._merge(member)
                    if merged and merged.kind is FileKind.FILE:
                        yield merged, reader.content.chunks(merged.size)
                    elif merged:
                        yield merged, ()
            self._gone |= self._layer.gone
            self._opaque |= self._layer.opaque
            self._layer = _Layer()
        for name, kind in self.names.items():
            if kind is FileKind.DIRECTORY and name not in self.described:
                yield Member(name or _ROOT, kind, 0o755, 0, 0, 0, 0, b"", {}), ()

    def _merge(self, member: Member) -> Member | None:
        """The member as the merged image has it; None: it has nothing of it."""
        if whiteouts.PREFIX in member.name and (whiteout := whiteouts.understand(member.name)):
            if isinstance(whiteout, Whiteout):
                self._hide(whiteout)
            return None
        directory, base = split(member.name)
        place = self._layer.entered.get(directory) or self._enter(directory)
        name = b"%b/%b" % (place.name, base) if place.name else base
        if name in self._layer.files or name in self._layer.directories or len(base) > _PART_MAX:
            raise Entangled
        member = replace(member, name=name, xattrs=_xattrs(member))
        hidden = place.closed or name in self._gone
        if member.kind is FileKind.DIRECTORY:
            return self._directory(member, hidden=hidden)
        return self._leaf(member, hidden=hidden)

    def _directory(self, member: Member, *, hidden: bool) -> Member | None:
        name = member.name
        self._layer.directories.add(name)
        if hidden or self.names.setdefault(name, member.kind) is not member.kind or name in self.described:
            return None
        self.described[name] = Permissions(member.mode, member.uid, member.gid)
        if name:
            return member
        # The root as the store can bear it, as in `Staging.set_root`.
        return replace(member, name=_ROOT, mode=member.mode & 0o755 | 0o700, uid=0, gid=0, xattrs={})

    def _leaf(self, member: Member, *, hidden: bool) -> Member | None:
        """A member that is no directory: of lower layers, it hides what is at its name and beneath it."""
        name, layer = member.name, self._layer
        if not name or name in layer.entered or (member.kind is FileKind.SYMLINK and name in self._passed):
            raise Entangled
        replaced = hidden or name in self.names
        member = self._settled(member)
        layer.files[name] = origin = self._origin(member, replaced=replaced)
        if not replaced and (origin is None or member.kind is FileKind.SPECIAL):
            raise Entangled
        if replaced or origin is None:
            layer.gone.add(name)
            return None
        self.names[name] = member.kind if origin == name else self.names[origin]
        if self.names[name] is FileKind.SYMLINK:
            self.links[name] = member.link if origin == name else self.links[origin]
        return member if origin == name else replace(member, link=origin, xattrs={})

    def _settled(self, member: Member) -> Member:
        """Leave what a file system might refuse to the one that does."""
        if member.kind is FileKind.SYMLINK:
            if not 0 < len(member.link) <= _LINK_MAX or b"\0" in member.link or member.xattrs:
                raise Entangled
            return replace(member, mode=0o777)
        if member.sparse:
            self._budget.holes(member)
        return member

    def _origin(self, member: Member, *, replaced: bool) -> bytes | None:
        """The name that the merged image has for a member's file; None: an upper layer has replaced it."""
        if member.kind is not FileKind.HARD_LINK:
            return None if replaced else member.name
        try:
            target = b"/".join(parts_of(member.link))
        except Refused as error:
            raise Entangled from error
        if target not in self._layer.files:
            raise Entangled
        return self._layer.files[target]

    def _hide(self, whiteout: Whiteout) -> None:
        """Go through a whiteout's parents, which do not come into being by that, and note what it hides."""
        parents = _ancestry(whiteout.directory)
        for name in parents:
            self._go_through(name)
        directory = parents[-1]
        if whiteout.base is None:
            self._layer.opaque.add(directory)
        elif len(whiteout.base) > _PART_MAX:
            raise Entangled
        else:
            self._layer.gone.add(b"%b/%b" % (directory, whiteout.base) if directory else whiteout.base)

    def _enter(self, directory: bytes) -> _Place:
        """Go through a member's parents; those that are missing come into being."""
        layer = self._layer
        place = _Place(b"", b"" in self._opaque)
        for name in _ancestry(directory)[1:]:
            place = layer.entered.get(name) or self._step(name, hidden=place.closed or name in self._gone)
        layer.entered[directory] = place
        return place

    def _step(self, name: bytes, *, hidden: bool) -> _Place:
        self._go_through(name)
        if name not in self.names:
            try:
                self._budget.name(name)
            except Exceeded as error:  # parents are counted otherwise from below; that way decides
                raise Entangled from error
        if not hidden:
            hidden = self.names.setdefault(name, FileKind.DIRECTORY) is not FileKind.DIRECTORY
        place = self._layer.entered[name] = _Place(name, hidden or name in self._opaque)
        return place

    def _go_through(self, name: bytes) -> None:
        if name in self._layer.files:
            raise Entangled
        if name not in self._layer.directories:
            self._passed.add(name)


def _ancestry(directory: bytes) -> list[bytes]:
    """The plain names of the root, and of all directories from there to this one."""
    parts = parts_of(directory)
    names = list(accumulate(parts, lambda above, part: b"%b/%b" % (above, part)))
    if names and (len(names[-1]) > _NAME_MAX or max(map(len, parts)) > _PART_MAX):
        raise Entangled
    return [b"", *names]


def _xattrs(member: Member) -> dict[bytes, bytes]:
    """The extended attributes that a file system surely takes."""
    if not member.xattrs:
        return member.xattrs
    try:
        found = kept(member.xattrs)
    except Refused as error:
        raise Entangled from error
    if member.kind is not FileKind.HARD_LINK and not all(_is_usual(*item, member.kind) for item in found.items()):
        raise Entangled
    if sum(map(len, found.values())) > _XATTRS_MAX:
        raise Entangled
    return found


def _is_usual(name: bytes, value: bytes, kind: FileKind) -> bool:
    if name == CAPABILITY:
        return kind is FileKind.FILE and len(value) == _CAPABILITY_SIZE and value[1:4] == _CAPABILITY_VERSION
    return name.startswith(_USUAL) and name not in _USUAL and len(name) <= _PART_MAX and b"\0" not in name
