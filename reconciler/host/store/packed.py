"""What goes into an image file while it is made: counted on, looked at, and passed on as a tar archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.layers.flatten import Entangled
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import FileTree, printable
from reconciler.model.kind import RELEASE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.host.layers.flatten import MemberContent
    from reconciler.host.tar.reader import Member

_KEPT_MAX: Final = 1 << 17  # bytes of a release file; longer ones are refused anyway
_FILES_MAX: Final = 128  # release files; more than a hundred are refused anyway, before any of them is read


class ReleaseKeeper:
    """Lets members pass, and keeps what is in release files."""

    def __init__(self, *directories: str) -> None:
        """`directories` are those of release files."""
        self.kept: Final[dict[bytes, bytes]] = {}
        self.xattrs: Final[dict[bytes, Mapping[bytes, bytes]]] = {}
        self._directories = tuple(map(str.encode, directories))
        self._prefixes = tuple(f"{it}/{RELEASE_PREFIX}".encode() for it in directories)

    def watch(self, members: Iterable[MemberContent]) -> Iterator[MemberContent]:
        for member, chunks in members:
            yield member, self._keep(member, chunks) if member.name.startswith(self._prefixes) else chunks

    def _keep(self, member: Member, chunks: Iterable[memoryview]) -> Iterable[memoryview]:
        if member.kind is FileKind.HARD_LINK:
            if member.link not in self.kept:
                raise Entangled  # its content has gone by
            self.kept[member.name] = self.kept[member.link]
            self.xattrs[member.name] = self.xattrs[member.link]
            return chunks
        if member.sparse:
            raise Entangled
        is_below = member.name.rpartition(b"/")[0] not in self._directories
        if member.kind is not FileKind.FILE or is_below:
            return chunks  # none of the release files
        self.xattrs[member.name] = member.xattrs
        return self._copied(member.name, chunks, _KEPT_MAX if len(self.kept) < _FILES_MAX else 0)

    def _copied(self, name: bytes, chunks: Iterable[memoryview], most: int) -> Iterator[memoryview]:
        self.kept[name] = b""
        for chunk in chunks:
            self.kept[name] += chunk[: most - len(self.kept[name])]
            yield chunk


class PackedTree(FileTree):
    """The tree that a merged image is, from the names that were written."""

    def __init__(self, names: Mapping[bytes, FileKind], releases: ReleaseKeeper) -> None:
        super().__init__()
        self._names = names
        self._releases = releases

    def listed(self, directory: str) -> Mapping[str, FileKind]:
        prefix = f"{directory}/".encode() if directory else b""
        start = len(prefix)
        return {
            printable(name[start:]): kind
            for name, kind in self._names.items()
            if len(name) > start and name.startswith(prefix) and b"/" not in name[start:]
        }

    def read(self, path: str, most: int) -> bytes:
        return self._releases.kept[path.encode()][:most]

    def xattr(self, path: str, name: str) -> bytes:
        """See FileTree."""
        return self._releases.xattrs[path.encode()].get(name.encode(), b"")
