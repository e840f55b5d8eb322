"""A directory to unpack in, and everything around it, looked at before and after."""

from __future__ import annotations

import os
import resource
import socket
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from reconciler.errors import ReconcilerError
from reconciler.host.layers.unpack import unpack
from reconciler.model.content.ociread import Layer
from tests.host import tars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reconciler.model.content.limits import Limits
    from tests.host.hostile.cases import Case, Packed

Use: TypeAlias = "Callable[[Sequence[Layer], Callable[[str], Path], Path, Limits], None]"
Look = dict[str, tuple[object, ...]]
_MEMORY = 256 << 20
# Python's own words, which tell a user nothing.
_NOISE = ("Traceback", "<class", "object at 0x", "Error(", " b'", ' b"', "(b'", "Errno", "dict_", "NoneType")


def look(path: Path) -> tuple[object, ...]:
    """All that can be seen of one path without opening what is not a file."""
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    data = path.read_bytes() if kind == stat.S_IFREG else os.readlink(path) if kind == stat.S_IFLNK else None
    names = os.listxattr(path, follow_symlinks=False)
    owner = (status.st_uid, status.st_gid, status.st_ino, status.st_nlink if kind == stat.S_IFREG else 0)
    return (kind, stat.S_IMODE(status.st_mode), *owner, status.st_mtime_ns, data, sorted(names))


def look_around(base: Path, inside: Path | None = None) -> Look:
    """Everything at and below `base`, except `inside` and what is below it."""
    found: Look = {".": look(base)}
    for here, subdirectories, files in os.walk(base):
        for name in [*subdirectories, *files]:
            path = Path(here, name)
            if path != inside:
                found[str(path.relative_to(base))] = look(path)
        if inside and inside.parent == Path(here):
            subdirectories.remove(inside.name)
    return found


class Surroundings:
    """A target amid sentinels: files, directories, links, a FIFO and a socket."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.target = base / "staging/fetch/tree"
        self.outside = base / "outside"
        self._blobs = base / "blobs"
        self.target.mkdir(parents=True, mode=0o700)
        (self.outside / "inner").mkdir(parents=True)
        self._blobs.mkdir()
        for path in (self.outside / "sentinel", self.outside / "inner/sentinel", base / "sentinel", base / "x"):
            path.write_text("untouched")
        (base / "staging/sentinel").write_text("untouched")
        (self.outside / "link").symlink_to("inner/sentinel")
        os.mkfifo(self.outside / "fifo")
        _leave_socket(self.outside)

    def attempt(self, case: Case, use: Use = unpack) -> str | None:
        """Unpack; return the message, or None where there was nothing to refuse. What is around must stay.

        `use` may do something else with the layers, inside the target.
        """
        layers = [self._store(packed) for packed in case.build(str(self.outside))]
        before = look_around(self.base, self.target)
        with bounded_memory():
            message = message_of(lambda: use(layers, self._blob, self.target, case.limits))
        assert look_around(self.base, self.target) == before
        return message

    def contents(self) -> dict[str, str]:
        return tars.contents(self.target)

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest

    def _store(self, packed: Packed) -> Layer:
        layer = layer_of(packed)
        self._blob(layer.digest).write_bytes(packed.blob)
        return layer


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let this process grow by little more than the largest window a decoder may have, or get a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def layer_of(packed: Packed) -> Layer:
    size = len(packed.blob) if packed.size is None else packed.size
    return Layer(packed.digest or tars.digest(packed.blob), size, "", packed.diff_id)


def message_of(attempt: Callable[[], None]) -> str | None:
    """The one message of an attempt, which must be for people; None: it went well."""
    try:
        attempt()
    except ReconcilerError as error:
        message, hint = error.message, error.hint
    else:
        return None
    check_words(message)
    check_words(hint or "")
    return message


def check_words(text: str) -> None:
    """One printable line of a bearable length, in words for people."""
    assert text.isprintable()
    assert 0 < len(text) < 1000
    assert not any(noise in text for noise in _NOISE), text


def _leave_socket(directory: Path) -> None:
    """A socket's address is short: it is bound from within its directory."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(before)
