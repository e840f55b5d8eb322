"""How much of its limits an image has used, counted while it streams, before anything is written.

One budget serves all layers of one image, and every reader of `tarstream.members`. Few steps for each call, since
there are as many calls as members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.tar.attributes import CAPABILITY
from reconciler.host.tar.decompress import Refused
from reconciler.model.content.limits import size_text
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from reconciler.host.tar.reader import Member
    from reconciler.model.content.limits import Limits

# Bytes. What unpacks to less does no harm, and well-compressing small layers are common.
_RATIO_FROM: Final = 64 << 20
# Names are kept in memory while a layer is unpacked. Of a whole Debian they are 60 bytes long on average.
_NAME_MEAN_MAX: Final = 256
_SETUID: Final = 0o6000
ALLOW_SETUID: Final = "if the image is to be trusted with that: settings.limits.setuid: true"


class Exceeded(Refused):
    """An image would take more than this node's limits allow; `hint` says which setting to raise."""

    def __init__(self, reason: str, hint: str, member: bytes | None = None) -> None:
        super().__init__(reason, member)
        self.hint = hint


class Budget:
    """The limits of one image, and what of them is used."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.has_told = False  # of attributes that are left out
        self._size = 0
        self._holes = 0
        self._members = 0
        self._names = 0
        self._names_max = limits.members * _NAME_MEAN_MAX
        self._stream = 0
        self._stream_max = 0

    def begin_layer(self, blob_size: int) -> None:
        """From now on, a layer is read whose blob has this many bytes."""
        self._stream = 0
        self._stream_max = max(_RATIO_FROM, self._limits.ratio * blob_size)

    def unpacked(self, count: int) -> None:
        """Count bytes of the layer's decompressed stream, whatever they turn out to be."""
        self._stream += count
        if self._stream > self._stream_max:
            limit = f"{self._limits.ratio} times its size, the limit for {size_text(_RATIO_FROM)} and more"
            raise Exceeded(f"it unpacks to more than {limit}", _raise("ratio"))

    def member(self, member: Member) -> None:
        """Count a member before it is unpacked."""
        self.name(member.name)
        self._size += member.size
        if member.xattrs:
            self._size += sum(map(len, member.xattrs.values()))
        limits = self._limits
        if self._size > limits.size:
            raise _too_large("takes the extension to", self._size, limits, member.name)
        if member.sparse and member.sparse.size > limits.size:
            raise _too_large("is sparse and has", member.sparse.size, limits, member.name)
        if not limits.setuid and (member.mode & _SETUID or member.xattrs):
            _refuse_privileges(member)

    def holes(self, member: Member) -> None:
        """Count the holes of a sparse file, where they are read as if they were data."""
        assert member.sparse  # noqa: S101 - the caller has looked
        self._holes += member.sparse.size - member.size
        if self._holes > self._limits.size:
            raise _too_large("takes the holes of sparse files to", self._holes, self._limits, member.name)

    def name(self, name: bytes) -> None:
        """Count something that comes into being: a member, or a parent directory that no member describes."""
        self._members += 1
        self._names += len(name)
        if self._members > self._limits.members:
            reason = f"is one more than the {self._limits.members} files, directories and links an extension may have"
            raise Exceeded(reason, _raise("members"), name)
        if self._names > self._names_max:
            each = f"for each of the {self._limits.members} that an extension may have"
            reason = f"has one name too many: they are longer than {_NAME_MEAN_MAX} bytes {each}"
            raise Exceeded(reason, _raise("members"), name)


def _too_large(verb: str, size: int, limits: Limits, name: bytes) -> Exceeded:
    most = f"the {size_text(limits.size)} that an extension may take"
    return Exceeded(f"{verb} {size_text(size)} unpacked, more than {most}", _raise("size"), name)


def _refuse_privileges(member: Member) -> None:
    """On a directory the bits give nobody a privilege, and links have the mode of what they lead to."""
    if member.kind is FileKind.FILE and member.mode & _SETUID:
        raise Exceeded("is a setuid or setgid program, which this node does not allow", ALLOW_SETUID, member.name)
    if CAPABILITY in member.xattrs:
        raise Exceeded("has file capabilities, which this node does not allow", ALLOW_SETUID, member.name)


def _raise(setting: str) -> str:
    return f"if the image is to be trusted: raise settings.limits.{setting}"
