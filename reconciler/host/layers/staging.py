"""The tree that layers are unpacked into: finding places in it without ever leaving it.

The image may contain any symbolic link. The kernel never follows one of them here: parents are resolved by lstat and
readlink as in a chroot to the image's root, and what is created is created exclusively below a directory known to be
real. The tree must be private to this process; nobody else may change it meanwhile.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.host.base.walk import mode_of, walk
from reconciler.host.tar import attributes
from reconciler.host.tar.decompress import Refused, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.errors import Invalid

T = TypeVar("T")

_HOPS_MAX: Final = 40  # as the kernel counts symbolic links
# Directories above one another, and steps on the way through links. The kernel limits only the length of a path, but
# each part costs a lookup as long as the way to it, and Python's own functions recurse.
DEPTH_MAX: Final = 256
_NOWHERE: Final = {b"", b"."}
_IMPLIED_MODE: Final = 0o755
_IMPLIED_TIME: Final = 0  # not the present one: the same image gives the same tree on every node


class Staging:
    """A tree under construction, layer by layer. Paths are absolute bytes, names come from archives."""

    def __init__(self, target: Path, count: Callable[[bytes], None] | None = None) -> None:
        """`count` is told the name of every parent that comes into being unasked; what it raises is passed on."""
        self._count = count
        self.root: Final = os.fsencode(target.resolve(strict=True))
        # What this layer has put into the tree: True its own members, False what it merely has members beneath or
        # behind (directories it did not mention, links of lower layers it went through).
        self.written: dict[bytes, bool] = {self.root: True}
        # What is wrong with devices and the like, which have stand-ins that a higher layer may still remove; by path.
        self.specials: dict[bytes, Invalid] = {}
        self.pruned: set[bytes] = set()  # directories that this layer's whiteouts have rid of what lower layers had
        self._directories: dict[bytes, bytes] = {b"": self.root}  # names of real directories to their paths
        self._steps = 0  # that following links has taken for the present name
        self._times: dict[bytes, int] = {self.root: _IMPLIED_TIME}  # of directories, set when all is in place
        self._root_mode = _IMPLIED_MODE
        self._given: tuple[int, int, int] | None = _given_to_new_files(self.root)

    def begin_layer(self) -> None:
        """From now on, everything here belongs to a lower layer."""
        self.written = {self.root: True}
        self.pruned = set()
        self._directories = {b"": self.root}

    def finish(self) -> None:
        """Set what further unpacking would have changed again."""
        for path, time in self._times.items():
            os.utime(path, ns=(time, time), follow_symlinks=False)
        os.chmod(self.root, self._root_mode)  # noqa: PTH101 - paths are bytes here

    # Finding

    def place(self, name: bytes) -> bytes:
        """Where a member of this name goes. Parents that are missing come into being."""
        path = self.find(name, create=True)
        assert path  # noqa: S101 - parents have come into being
        return path

    def find(self, name: bytes, *, create: bool = False) -> bytes | None:
        """Where something of this name would be; None where a parent is missing."""
        directory, base = split(name)
        parent = self._directories.get(directory) or self.find_directory(directory, create=create)
        return parent and (parent + b"/" + base if base else self.root)

    def find_directory(self, name: bytes, *, create: bool = False) -> bytes | None:
        """The real directory that members named `name/...` go to; None where there is none and none is created."""
        if name in self._directories:
            return self._directories[name]
        self._steps = 0
        *parents, base = parts_of(name) or [b""]
        parent = self._directories.get(b"/".join(parents))
        # To begin at the root each time would let deep directories take hours.
        above = here = parent or self.root
        for part in filter(None, [base] if parent else [*parents, base]):
            path = here + b"/" + part
            inside = self._through(path) or (self._imply(path) if create else None)
            if inside is None:
                return None
            above, here = here, inside
        if here.count(b"/") - self.root.count(b"/") > DEPTH_MAX:  # by links to links
            raise Refused(f"is more than {DEPTH_MAX} directories deep")
        self._directories[name] = here
        self._directories[b"/".join(parents)] = above
        return here

    def _through(self, path: bytes) -> bytes | None:
        """The real directory that `path` is or leads to; None: there is none yet, or a file in its place."""
        mode = mode_of(path)
        if stat.S_ISDIR(mode):
            return path
        return self._follow(path) if stat.S_ISLNK(mode) else None

    def _follow(self, link: bytes) -> bytes:
        """Resolve a symbolic link to a directory, as in a chroot, except that `..` at the root is not forgiven."""
        here, _, base = link.rpartition(b"/")
        todo, hops = [base], 0
        while todo:
            part = todo.pop()
            if part in _NOWHERE:
                continue
            if part == b"..":
                here = self._above(here, link)
                continue
            path = here + b"/" + part
            mode = mode_of(path)
            self._steps += 1
            if stat.S_ISDIR(mode) and self._steps <= DEPTH_MAX:
                here = path
                continue
            hops += 1
            if not stat.S_ISLNK(mode) or hops > _HOPS_MAX or self._steps > DEPTH_MAX:
                reason = "is a symbolic link that leads to no directory in the image"
                raise Refused(f"its parent {self.shown(link)} {reason}")
            self.mark(path, own=False)
            target = os.readlink(path)  # noqa: PTH115 - paths are bytes here
            if target.startswith(b"/"):
                here = self.root
            todo += reversed(target.split(b"/"))
        return here

    def _above(self, here: bytes, link: bytes) -> bytes:
        if here == self.root:
            raise Refused(f"its parent {self.shown(link)} is a symbolic link that leads out of the image")
        return here.rpartition(b"/")[0]

    def shown(self, path: bytes) -> str:
        """A path as the image has it, for messages."""
        return shown(path[len(self.root) + 1 :])

    # Changing

    def mark(self, path: bytes, *, own: bool) -> None:
        """Remember that this layer wrote `path`, or something beneath or behind it."""
        written = self.written
        written[path] = own or written.get(path, False)
        parent = path.rpartition(b"/")[0]
        while parent not in written:
            written[parent] = False
            parent = parent.rpartition(b"/")[0]

    def create(self, path: bytes, make: Callable[[bytes], T]) -> T:
        """Call `make`, which must not overwrite; what was there before goes."""
        try:
            return make(path)
        except FileExistsError:
            self.remove(path)
            return make(path)

    def gives(self, uid: int, gid: int, mode: int) -> bool:
        """Whether a file created here has this owner and, if it is asked for, this mode, with nothing more to do."""
        return self._given is not None and self._given == (uid, gid, mode | self._given[2])

    def expect_inheritance(self) -> None:
        """From now on, new files may get group or access list from their directory."""
        self._given = None

    def make_directory(self, path: bytes) -> int:
        """A descriptor of the directory at `path`, new or, without its extended attributes, the one that is there."""
        try:
            os.mkdir(path, 0o700)  # noqa: PTH102 - paths are bytes here
        except FileExistsError:
            if not stat.S_ISDIR(mode_of(path)):
                self.remove(path)
                return self.make_directory(path)
            attributes.clear_xattrs(path)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def set_time(self, path: bytes, time: int) -> None:
        """A directory gets its time in the end."""
        self._times[path] = time

    def set_root(self, mode: int, time: int) -> None:
        """Take the image's wishes for its root as far as the store can bear them: ours to write, others to read."""
        self._root_mode = mode & 0o755 | 0o700
        self._times[self.root] = time

    def make_implied(self, path: bytes) -> None:
        """Make the directory at `path` one that no layer describes."""
        descriptor = self.make_directory(path)
        try:
            attributes.own(descriptor, 0, 0, _IMPLIED_MODE)
        finally:
            os.close(descriptor)
        self._times[path] = _IMPLIED_TIME

    def remove(self, path: bytes) -> None:
        """Remove whatever is at `path`, with all beneath it; nothing there is fine."""
        mode = mode_of(path)
        if stat.S_ISDIR(mode):
            self._remove_tree(path)
        elif mode:
            os.unlink(path)  # noqa: PTH108 - paths are bytes here
            self.specials.pop(path, None)
        if mode and not stat.S_ISREG(mode):
            self._directories = {b"": self.root}

    def _imply(self, path: bytes) -> bytes:
        """A parent without a member of its own; a lower layer's file gives way as it does to a directory member."""
        if self.written.get(path) and mode_of(path):
            raise Refused(f"its parent {self.shown(path)} is a file of the same layer")
        if self._count:
            self._count(path[len(self.root) + 1 :])
        self.make_implied(path)
        return path

    def _remove_tree(self, path: bytes) -> None:
        """Not shutil.rmtree, which recurses and does not take the times along."""
        directories = []
        for here, status in walk(path):
            if stat.S_ISDIR(status.st_mode):
                directories.append(here)
            else:
                os.unlink(here)  # noqa: PTH108 - paths are bytes here
                self.specials.pop(here, None)
        for directory in reversed(directories):
            os.rmdir(directory)  # noqa: PTH106 - paths are bytes here
            self._times.pop(directory, None)


def _given_to_new_files(directory: bytes) -> tuple[int, int, int]:
    """Owner, group and those permissions that the umask, or an access list of the store's, leaves."""
    path = directory + b"/probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o777)
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 - paths are bytes here
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def split(name: bytes) -> tuple[bytes, bytes]:
    """The parent's name, which may still need `parts_of`, and the last part; both are empty for the root.

    The last part is neither empty otherwise, nor `.` or `..`. A name that begins with a slash, as kaniko and `tar -P`
    write it, is relative to the image's root all the same.
    """
    if not name or b"\0" in name:
        raise Refused("has an empty or unusable name", name)
    directory, _, base = name.rstrip(b"/").rpartition(b"/")
    if base in _NOWHERE or base == b"..":
        *parents, base = parts_of(name) or [b""]
        directory = b"/".join(parents)
    return directory, base


def parts_of(name: bytes) -> list[bytes]:
    parts = [part for part in name.split(b"/") if part not in _NOWHERE]
    if b".." in parts:
        raise Refused("has .. in its name")
    if len(parts) > DEPTH_MAX:
        raise Refused(f"is more than {DEPTH_MAX} directories deep")
    return parts
