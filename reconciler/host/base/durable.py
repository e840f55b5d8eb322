"""Files that are complete or absent, also after a power cut."""

from __future__ import annotations

import ctypes
import json
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import Failed
from reconciler.host.base.intervals import at_intervals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_INTERVAL: Final = 2.0  # seconds between two write-outs; each costs a commit of the journal
_PRIVATE: Final = 0o600  # of a record: it may have what only root may read, and is not for others to act upon
PUBLIC: Final = 0o644
_TEMPORARY: Final = re.compile(r"\..+\.[0-9]+")  # as `write_atomically` calls files


def make_directory(path: Path) -> None:
    """A directory that all may look into, its missing parents too, whatever the mask of the caller is."""
    for directory in (*reversed(path.parents), path):
        if not directory.is_dir():
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)


def write_atomically(
    path: Path, content: bytes, *, durable: bool = True, mtime_ns: int | None = None, mode: int = _PRIVATE
) -> None:
    """Replace a file by rename; `durable` also orders it before later writes by fsync (needless on tmpfs).

    It has its mode, whatever the mask of the caller is, and `mtime_ns` as its time from the first moment on.
    """
    with _replacing(path, "written") as temporary:
        make_directory(path.parent)
        with open(temporary, "wb", opener=_open_private) as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            if mtime_ns is not None:
                os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            sync_directory(path.parent)


def _open_private(path: str, flags: int) -> int:
    """Not for a moment for others to read; nor one that somebody else has put there to be written to."""
    return os.open(path, flags | os.O_NOFOLLOW, _PRIVATE)


@contextmanager
def _replacing(path: Path, done: str) -> Iterator[Path]:
    """The name of a file that is to replace another one; after an error, that is still there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
    except OSError as error:
        with suppress(OSError):  # a disk that is broken may refuse that, too; the next run sees to it
            temporary.unlink()
        look = "look at the file system's space and mode"
        hint = f"remove it: {path}" if isinstance(error, IsADirectoryError) else look
        raise Failed.of(error, f"{path}: cannot be {done}", hint) from error


def drop_leftovers(directory: Path) -> None:
    """Remove the files that were to replace others when their run was killed.

    Nobody may be writing there; what cannot be removed waits for another time.
    """
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as items:
        for item in items:
            if _TEMPORARY.fullmatch(item.name) and item.is_file(follow_symlinks=False):
                with suppress(OSError):
                    os.unlink(item.path)  # noqa: PTH108 - no need of a Path


def link_atomically(path: Path, target: str) -> None:
    """Let a symlink lead there, in place of whatever file is there; one that does is left alone."""
    with _replacing(path, "linked") as temporary:
        if path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115 - compared as text
            return
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(path)


def write_json(path: Path, document: object, *, durable: bool = True, mode: int = _PRIVATE) -> None:
    content = json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
    write_atomically(path, content, durable=durable, mode=mode)


def read_json(path: Path) -> Any:  # noqa: ANN401 - the caller knows the shape
    """Read a record of our own; None where it is missing or damaged, since every record can be made anew."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # the last one: brackets in brackets, thousands of them
        return None


def sync_directory(path: Path) -> None:
    """Make renames, creations and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Write out everything on the file system of `path`: one syncfs(2) instead of an fsync per unpacked file.

    Since Linux 5.8 syncfs reports what the kernel could not write.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        errors = sync_descriptor(descriptor, path)
    finally:
        os.close(descriptor)
    if errors:
        raise errors[0]


def sync_descriptor(descriptor: int, path: Path) -> list[Failed]:
    """As `sync_filesystem` for an open descriptor of `path`, which is told of every error since it was opened."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor) == 0:
        return []
    return [Failed(f"{path}: cannot be written out: {os.strerror(ctypes.get_errno())}", "look at the disk")]


@contextmanager
def written_out_early(directory: Path) -> Iterator[None]:
    """Write out the file system of `directory` now and then for the time of the context: little is left for the end.

    The kernel tells each error once, so it must not get lost here: it is raised at the end.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    errors: list[Failed] = []

    def write_out() -> list[Failed]:
        errors.extend(sync_descriptor(descriptor, directory))
        return errors

    try:
        with at_intervals(_INTERVAL, write_out, "write-out"):
            yield
    finally:
        os.close(descriptor)
    if errors:
        raise errors[0]
