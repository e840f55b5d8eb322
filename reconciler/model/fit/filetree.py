"""What decides whether an extension may be merged, read from any tree of files without following its links."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid, Malformed
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.kernelmodules import MODULES
from reconciler.model.kind import RELEASE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.kind import Kind

_LOST_AND_FOUND: Final = "lost+found"  # every ext4 has it
_MAX_RELEASE: Final = 64 << 10  # bytes; real ones have a few hundred
_MAX_RELEASES: Final = 100
STRICT: Final = "user.extension-release.strict"  # an extended attribute of release files
_FALSE: Final = frozenset({b"0", b"no", b"n", b"false", b"f", b"off"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Names of which no tool makes anything else; nobody needs to look behind others.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]*")
_EMPTY_HINT: Final = "build the image from the extension's own files only"


class FileTree(ABC):
    """A tree of files that some tool can look into, once for each directory; its links are never followed.

    Paths are relative to its root, which is the empty path.
    """

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, FileKind]] = {}

    def children(self, directory: str) -> Mapping[str, FileKind]:
        """The entries of a directory by name, without `.` and `..`; none where none is, or a link leads there."""
        if directory not in self._known:
            is_there = not directory or self.node(directory) is FileKind.DIRECTORY
            self._known[directory] = self.listed(directory) if is_there else {}
        return self._known[directory]

    def node(self, path: str) -> FileKind | None:
        """What is at a path; None: nothing is, or a link leads there."""
        parent, _, name = path.rpartition("/")
        return self.children(parent).get(name)

    @abstractmethod
    def listed(self, directory: str) -> Mapping[str, FileKind]:
        """As `children`, of a directory that is there."""

    @abstractmethod
    def read(self, path: str, most: int) -> bytes:
        """The content of a file that is there, up to `most` bytes."""

    def xattr(self, path: str, name: str) -> bytes:  # noqa: ARG002 - for those that can tell
        """An extended attribute of a file that is there; empty if it has none, or that cannot be told."""
        return b""


class WithUsr(FileTree):
    """A root with another tree at /usr, as a disk image with a usr partition has it; the root may be missing."""

    def __init__(self, root: FileTree | None, usr: FileTree) -> None:
        super().__init__()
        self._root = root
        self._usr = usr
        place = root.node("usr") if root else FileKind.DIRECTORY
        if place is not FileKind.DIRECTORY:
            raise Invalid("the image's root partition has no directory usr for its usr partition", _EMPTY_HINT)

    def listed(self, directory: str) -> Mapping[str, FileKind]:
        if not directory:
            return {**(self._root.children("") if self._root else {}), "usr": FileKind.DIRECTORY}
        tree, inside = self._at(directory)
        return tree.children(inside)

    def read(self, path: str, most: int) -> bytes:
        tree, inside = self._at(path)
        return tree.read(inside, most)

    def xattr(self, path: str, name: str) -> bytes:
        tree, inside = self._at(path)
        return tree.xattr(inside, name)

    def _at(self, path: str) -> tuple[FileTree, str]:
        top, _, rest = path.partition("/")
        return (self._root, path) if self._root and top != "usr" else (self._usr, rest)


def printable(name: bytes) -> str:
    """A file's name for people: no control characters, whatever bytes it has."""
    text = name.decode(errors="backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def odd_name(beside: bytes) -> Invalid:
    """What to say of a tool's listing with a line that is none, since some name has a line break."""
    words = printable(beside[:80])
    return Invalid(f"the image has a file name with a line break, before '{words}'", _EMPTY_HINT)


def unreadable(what: str, complaint: str) -> Invalid:
    """What to say of a file system that a tool could not read, although the image's headers are well."""
    words = printable(complaint.encode())[:200]
    hint = "build or fetch the image again, and compare its digest with its publisher's"
    return Malformed(f"the image's {what} file system is damaged: {words}", hint)


def read_contents(tree: FileTree, kind: Kind) -> Contents:
    """What a tree holds, as far as it decides whether it may be merged: the one judge of all forms."""
    traits = kind.traits
    releases = _releases(tree, traits.releases)
    misplaced = tuple(sorted(_misplaced(tree, traits.tops)))
    return Contents(
        releases=releases,
        misplaced=misplaced,
        has_os_release=traits.forbidden is not None and tree.node(traits.forbidden) is not None,
        units=tuple(sorted({name for place in traits.unit_directories for name in tree.children(place)})),
        kernels=tuple(sorted(_kernels(tree))) if "usr" in traits.tops else (),
        lax=tuple(name for name in releases if _is_lax(tree, f"{traits.releases}/{RELEASE_PREFIX}{name}")),
        links=tuple(it for it in misplaced if it in traits.tops and tree.node(it) is FileKind.SYMLINK),
    )


def _kernels(tree: FileTree) -> Iterator[str]:
    return (name for name, node in tree.children(MODULES).items() if node is FileKind.DIRECTORY)


def _misplaced(tree: FileTree, tops: frozenset[str]) -> Iterator[str]:
    """Empty directories at the top are a habit of image builders (/proc, /etc) and do nothing."""
    for name, node in tree.children("").items():
        is_directory = node is FileKind.DIRECTORY
        if is_directory and (name in tops or name == _LOST_AND_FOUND):
            continue
        if not is_directory or not _PLAIN.fullmatch(name) or tree.children(name):
            yield name


def _releases(tree: FileTree, directory: str) -> dict[str, dict[str, str]]:
    found = [
        name.removeprefix(RELEASE_PREFIX)
        for name, node in sorted(tree.children(directory).items())
        if name.startswith(RELEASE_PREFIX) and node is FileKind.FILE
    ]
    if len(found) > _MAX_RELEASES:
        hint = "an extension has one release file, of its own name"
        raise Invalid(f"the image has {len(found)} release files", hint)
    return {name: _release(tree, f"{directory}/{RELEASE_PREFIX}{name}") for name in found}


def _is_lax(tree: FileTree, path: str) -> bool:
    """Whether a release file says that the extension's name does not matter."""
    return _PLAIN.fullmatch(path.rpartition("/")[2]) is not None and says_lax(tree.xattr(path, STRICT))


def says_lax(value: bytes) -> bool:
    """Whether the value of `STRICT` is one of systemd's words for false."""
    return value.strip(b"\0").lower() in _FALSE


def _release(tree: FileTree, path: str) -> dict[str, str]:
    """Empty for a name that no extension can have."""
    if not _PLAIN.fullmatch(path.rpartition("/")[2]):
        return {}
    content = tree.read(path, _MAX_RELEASE + 1)
    if len(content) > _MAX_RELEASE:
        hint = "a release file has a few lines, see os-release(5)"
        raise Invalid(f"the image's release file {path} has more than {_MAX_RELEASE >> 10} KiB", hint)
    return read_assignments(content.decode(errors="replace"))
