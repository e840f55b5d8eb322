"""Looks into erofs with dump.erofs and fsck.erofs (erofs-utils)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import Finished, available, path_of, run
from reconciler.host.images.directorytree import DirectoryTree
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import FileTree, odd_name, printable, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PROGRAM: Final = "dump.erofs"
PACKAGE: Final = "erofs-utils"
FSCK: Final = "fsck.erofs"
_TIMEOUT: Final = 120.0  # seconds
_MAX_LISTING: Final = 32 << 20  # bytes, of one directory
_MAX_EXTRACTED: Final = 4 << 30  # bytes, of one file
_TOO_NEW: Final = re.compile(rb"unrecognized|unidentified|unsupported|not supported")
_HEADING: Final = b"       NID TYPE  FILENAME\n"
_ENTRY: Final = re.compile(rb" *[0-9]+ +([0-9]+)  (.*)", re.DOTALL)
_NODES: Final = {b"1": FileKind.FILE, b"2": FileKind.DIRECTORY, b"7": FileKind.SYMLINK}


def can_look_inside() -> bool:
    """Whether dump.erofs prints files, which it does since erofs-utils 1.8."""
    return available(PROGRAM) and b"--cat" in run(PROGRAM, "--help", timeout=_TIMEOUT, most=1 << 16).stdout


def check(file: Path) -> bool:
    """Check all metadata of a file that is nothing but erofs; False: it uses what this version does not know."""
    done = run(FSCK, str(file), timeout=_TIMEOUT, most=1 << 16)
    if done.status != 0 and _TOO_NEW.search(done.stdout + done.stderr.encode()):
        return False
    _understood(done)
    return True


def extract(file: Path, directory: Path) -> FileTree:
    """Unpack all of it, for versions without another way to see a file's content."""
    limit = f"--fsize={_MAX_EXTRACTED}"
    _understood(
        run("prlimit", limit, path_of(FSCK), f"--extract={directory}", str(file), timeout=_TIMEOUT, most=1 << 16)
    )
    return DirectoryTree(directory)


class ErofsTree(FileTree):
    """A file that is nothing but erofs."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def listed(self, directory: str) -> Mapping[str, FileKind]:
        """See FileTree.

        Names are printed as they are. One with a line break and a line's look adds an entry, which hides none and
        does not exist when it is asked for.
        """
        done = self._run("--ls", directory, _MAX_LISTING)
        _, heading, listing = done.stdout.partition(_HEADING)
        if not heading or not done.complete:
            raise unreadable("erofs", f"its directory /{directory} cannot be read")
        found = list(_entries(listing))
        names = dict(found)
        if len(names) < len(found):
            raise unreadable("erofs", f"its directory /{directory} has two entries of one name")
        return names

    def read(self, path: str, most: int) -> bytes:
        return self._run("--cat", path, most).stdout

    def _run(self, what: str, path: str, most: int) -> Finished:
        """Its exit status is 0 also where it complains."""
        done = run(PROGRAM, what, f"--path=/{path}", str(self._file), timeout=_TIMEOUT, most=most)
        if done.status != 0 or done.stderr.strip():
            raise unreadable("erofs", done.complaint)
        return done


def _understood(done: Finished) -> None:
    if done.status != 0:
        printed = done.stdout.decode(errors="replace").strip().splitlines()
        raise unreadable("erofs", done.complaint if done.stderr.strip() or not printed else printed[-1])


def _entries(listing: bytes) -> Iterator[tuple[str, FileKind]]:
    for line in listing.split(b"\n")[:-1]:
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise odd_name(line)
        if entry[2] not in {b".", b".."}:
            yield printable(entry[2]), _NODES.get(entry[1], FileKind.SPECIAL)
