"""Merges an image's layers into one tar archive, in one pass over each of them, the topmost layer first.

A member is passed on unless something above it hides it, so that nothing is unpacked and each name comes once. The
result is the tree that `layers.flatten` makes. What one pass cannot decide, because it depends on the order of
members or on what a lower layer has, is not decided here but told, for the caller to take the long way:

- names that occur twice in a layer, and members beneath something that is no directory;
- names whose parents are or may be symbolic links;
- hard links to what the same layer does not have, or to what an upper layer has replaced;
- everything that `flatten` refuses when it comes to the file system.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.host.base import termination
from reconciler.host.layers import whiteouts
from reconciler.host.layers.budget import Budget, Exceeded
from reconciler.host.layers.readlayer import read_layer
from reconciler.host.layers.staging import parts_of, split
from reconciler.host.layers.whiteouts import Whiteout
from reconciler.host.tar.attributes import CAPABILITY, kept
from reconciler.host.tar.decompress import Refused
from reconciler.host.tar.reader import Kind, Member, members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from reconciler.host.layers.arrival import Blobs
    from reconciler.host.tar.decompress import Content
    from reconciler.model.content.limits import Limits
    from reconciler.model.content.ociread import Layer

    Sink: TypeAlias = Callable[[Member, Iterable[memoryview]], None]
    """Takes each member of the merged image, with the stored part of a file's content."""

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


def merge(layers: Sequence[Layer], blob_of: Blobs, sink: Sink, limits: Limits) -> Mapping[bytes, Kind]:
    """Give `sink` every member of the merged image; directories that no layer describes and the root come last.

    Returns:
        What the image has, by name; hard links as what they lead to. The root's name is empty.

    Raises:
        Entangled: one pass is not enough.
        Invalid: a layer is damaged, is not what its digests say, or takes more than the limits allow.
        Failed: a blob cannot be read.
    """
    merger = _Merger(sink, limits)
    for layer in reversed(layers):
        merger.begin_layer()
        read_layer(layer, blob_of(layer.digest), merger.budget, merger.take)
    merger.finish()
    return merger.names


@dataclass(frozen=True, slots=True)
class _Layer:
    """What the layer that is being read has had so far."""

    files: dict[bytes, bytes | None] = field(
        default_factory=dict
    )  # all but directories; their name in the merged image
    directories: set[bytes] = field(default_factory=set)
    # What its whiteouts and files hide of lower layers: names with all beneath them, and the content of directories.
    gone: set[bytes] = field(default_factory=set)
    opaque: set[bytes] = field(default_factory=set)
    entered: dict[bytes, _Place] = field(default_factory=dict)  # parents, by the names that the archive has for them


class _Place(NamedTuple):
    """A parent of members."""

    name: bytes
    closed: bool  # upper layers hide all that lower layers have in it


class _Merger:
    """What the layers read so far make of the image."""

    def __init__(self, sink: Sink, limits: Limits) -> None:
        self.budget: Final = Budget(limits)
        self.names: Final[dict[bytes, Kind]] = {b"": Kind.DIRECTORY}
        self._sink = sink
        self._described: set[bytes] = set()  # directories whose owner, mode and time are known
        self._gone: set[bytes] = set()  # what upper layers hide, as in _Layer
        self._opaque: set[bytes] = set()
        # Names that a layer went through without having said that they are directories: where a lower one has a
        # symbolic link in that place, it leads elsewhere.
        self._passed: set[bytes] = set()
        self._layer = _Layer()

    def begin_layer(self) -> None:
        """From now on, what was read belongs to upper layers."""
        self._gone |= self._layer.gone
        self._opaque |= self._layer.opaque
        self._layer = _Layer()

    def take(self, content: Content) -> None:
        """Read one layer."""
        for member in members(content):
            termination.check()
            try:
                self.budget.member(member)
                self._merge(member, content)
            except Refused as error:
                error.member = error.member or member.name
                raise

    def finish(self) -> None:
        """Give the directories that no layer describes."""
        for name, kind in self.names.items():
            if kind is Kind.DIRECTORY and name not in self._described:
                self._sink(Member(name or _ROOT, kind, 0o755, 0, 0, 0, 0, b"", {}), ())

    def _merge(self, member: Member, content: Content) -> None:
        if whiteouts.PREFIX in member.name and (whiteout := whiteouts.understand(member.name)):
            if isinstance(whiteout, Whiteout):
                self._hide(whiteout)
            return
        directory, base = split(member.name)
        place = self._layer.entered.get(directory) or self._enter(directory)
        name = b"%b/%b" % (place.name, base) if place.name else base
        if name in self._layer.files or name in self._layer.directories or len(base) > _PART_MAX:
            raise Entangled
        member = replace(member, name=name, xattrs=_xattrs(member))
        if member.kind is Kind.DIRECTORY:
            self._directory(member, hidden=place.closed or name in self._gone)
        else:
            self._leaf(member, content, hidden=place.closed or name in self._gone)

    def _directory(self, member: Member, *, hidden: bool) -> None:
        name = member.name
        self._layer.directories.add(name)
        if hidden or self.names.setdefault(name, Kind.DIRECTORY) is not Kind.DIRECTORY or name in self._described:
            return
        self._described.add(name)
        self._sink(member if name else _root(member), ())

    def _leaf(self, member: Member, content: Content, *, hidden: bool) -> None:
        """A member that is no directory: of lower layers, it hides what is at its name and beneath it."""
        name, layer = member.name, self._layer
        if not name or name in layer.entered or (member.kind is Kind.SYMLINK and name in self._passed):
            raise Entangled
        replaced = hidden or name in self.names
        member = self._settled(member)
        layer.files[name] = origin = self._origin(member, replaced=replaced)
        if not replaced and origin is None:
            raise Entangled
        if replaced:
            layer.gone.add(name)
        elif origin == name:
            self.names[name] = member.kind
            self._sink(member, content.chunks(member.size))
        elif origin is not None:
            self.names[name] = self.names[origin]
            self._sink(replace(member, link=origin, xattrs={}), ())

    def _settled(self, member: Member) -> Member:
        """Leave what a file system might refuse to the one that does."""
        if member.kind is Kind.SYMLINK:
            if not 0 < len(member.link) <= _LINK_MAX or b"\0" in member.link or member.xattrs:
                raise Entangled
            return replace(member, mode=0o777)
        if member.sparse:
            self.budget.holes(member)
        return member

    def _origin(self, member: Member, *, replaced: bool) -> bytes | None:
        """The name that the merged image has for a member's file; None: an upper layer has replaced it."""
        if member.kind is not Kind.HARD_LINK:
            return None if replaced else member.name
        try:
            target = b"/".join(parts_of(member.link))
        except Refused as error:
            raise Entangled from error
        if target not in self._layer.files:
            raise Entangled
        return self._layer.files[target]

    def _hide(self, whiteout: Whiteout) -> None:
        directory = self._pass(whiteout.directory)
        if whiteout.base is None:
            self._layer.opaque.add(directory)
        elif len(whiteout.base) > _PART_MAX:
            raise Entangled
        else:
            self._layer.gone.add(b"%b/%b" % (directory, whiteout.base) if directory else whiteout.base)

    def _pass(self, directory: bytes) -> bytes:
        """Go through a whiteout's parents, which do not come into being by that; return the plain name."""
        names = _ancestry(directory)
        for name in names:
            self._go_through(name)
        return names[-1]

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
            self._count(name)
        if not hidden:
            hidden = self.names.setdefault(name, Kind.DIRECTORY) is not Kind.DIRECTORY
        place = self._layer.entered[name] = _Place(name, hidden or name in self._opaque)
        return place

    def _go_through(self, name: bytes) -> None:
        if name in self._layer.files:
            raise Entangled
        if name not in self._layer.directories:
            self._passed.add(name)

    def _count(self, name: bytes) -> None:
        """Parents are counted otherwise than from below; if they are too many, that way decides."""
        try:
            self.budget.name(name)
        except Exceeded as error:
            raise Entangled from error


def _ancestry(directory: bytes) -> list[bytes]:
    """The plain names of the root, and of all directories from there to this one."""
    parts = parts_of(directory)
    names = list(accumulate(parts, lambda above, part: b"%b/%b" % (above, part)))
    if names and (len(names[-1]) > _NAME_MAX or max(map(len, parts)) > _PART_MAX):
        raise Entangled
    return [b"", *names]


def _root(member: Member) -> Member:
    """The root as the store can bear it, as in `Staging.set_root`."""
    return replace(member, name=_ROOT, mode=member.mode & 0o755 | 0o700, uid=0, gid=0, xattrs={})


def _xattrs(member: Member) -> dict[bytes, bytes]:
    """The extended attributes that a file system surely takes."""
    if not member.xattrs:
        return member.xattrs
    try:
        found = kept(member.xattrs)
    except Refused as error:
        raise Entangled from error
    if member.kind is not Kind.HARD_LINK and not all(_is_usual(*item, member.kind) for item in found.items()):
        raise Entangled
    if sum(map(len, found.values())) > _XATTRS_MAX:
        raise Entangled
    return found


def _is_usual(name: bytes, value: bytes, kind: Kind) -> bool:
    if name == CAPABILITY:
        return kind is Kind.FILE and len(value) == _CAPABILITY_SIZE and value[1:4] == _CAPABILITY_VERSION
    return name.startswith(_USUAL) and name not in _USUAL and len(name) <= _PART_MAX and b"\0" not in name
