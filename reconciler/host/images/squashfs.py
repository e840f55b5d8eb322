"""Looks into squashfs with unsquashfs (squashfs-tools)."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import Finished, available, run
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import FileTree, odd_name, printable, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PROGRAM: Final = "unsquashfs"
PACKAGE: Final = "squashfs-tools"
_XATTRS: Final = "rdsquashfs"
_MAX_XATTRS: Final = 1 << 16  # bytes, of one file
_TIMEOUT: Final = 120.0  # seconds
_MAX_LISTING: Final = 32 << 20  # bytes, of one directory and what leads there
_NODES: Final = {b"-": FileKind.FILE, b"d": FileKind.DIRECTORY, b"l": FileKind.SYMLINK}
# Kind and mode, owner, size or device, date, time; the path follows.
_DETAILS: Final = rb"([-dlbcps])\S{9} \S+ +[0-9]+(?:, *[0-9]+)? \S+ \S+ "


class SquashfsTree(FileTree):
    """A squashfs at some place in a file.

    unsquashfs prints names as they are, line breaks included, each below the name it is told to give the root. Nobody
    who makes an image can know that name, so no file's name can pass for a line.
    """

    def __init__(self, file: Path, offset: int) -> None:
        super().__init__()
        self._file = file
        self._offset = offset
        self._root = secrets.token_hex(16)
        self._entry = re.compile(_DETAILS + self._root.encode() + rb"(?:/(.*))?", re.DOTALL)

    def check(self) -> None:
        self._run(("-lls",), (), most=0)

    def listed(self, directory: str) -> Mapping[str, FileKind]:
        depth = directory.count("/") + 2 if directory else 1
        paths = (directory,) if directory else ()
        done = self._run(("-lls", "-max-depth", str(depth)), paths, most=_MAX_LISTING)
        if not done.complete:
            raise unreadable("squashfs", f"its directory /{directory} has no end")
        return dict(self._entries(done.stdout, f"{directory}/".encode() if directory else b""))

    def read(self, path: str, most: int) -> bytes:
        return self._run(("-cat",), (path,), most=most).stdout

    def xattr(self, path: str, name: str) -> bytes:
        """See FileTree. It takes the other tools of squashfs, for a file that is nothing but one."""
        if self._offset or not available(_XATTRS):
            return b""
        done = run(_XATTRS, "--xattr", f"/{path}", str(self._file), timeout=_TIMEOUT, most=_MAX_XATTRS)
        found = (line.partition(b"=") for line in done.stdout.splitlines())
        return next((value for key, _, value in found if key == name.encode()), b"")

    def _entries(self, listing: bytes, prefix: bytes) -> Iterator[tuple[str, FileKind]]:
        for line in listing.removesuffix(b"\n").split(b"\n"):
            entry = self._entry.fullmatch(line)
            if entry is None:
                raise odd_name(line)
            path = entry[2] or b""
            if entry[1] == b"l":
                path = path.partition(b" -> ")[0]
            name = path.removeprefix(prefix)
            if name and path.startswith(prefix) and b"/" not in name:
                yield printable(name), _NODES.get(entry[1], FileKind.SPECIAL)

    def _run(self, what: tuple[str, ...], paths: tuple[str, ...], most: int) -> Finished:
        options = ("-no-progress", "-no-wildcards", "-processors", "1", "-dest", self._root)
        place = ("-offset", str(self._offset), str(self._file))
        done = run(PROGRAM, *what, *options, *place, *paths, timeout=_TIMEOUT, most=most)
        if done.status != 0:
            raise unreadable("squashfs", done.complaint)
        return done
