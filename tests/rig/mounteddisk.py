"""A disk's file system, mounted where nobody else sees it; and programs that run where it is seen."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_HOLD: Final = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && echo ready && exec cat"


class MountedDisks:
    """Disks below a root, for the time of the context. What a power cut left in a journal is replayed."""

    def __init__(self, root: Path, mounts: Sequence[tuple[Path, str, str]]) -> None:
        """`mounts` are a disk, its place below `root`, and the kind of its file system."""
        self._root = root
        self._mounts = mounts
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        # It ends when its input does, so also when this process is killed.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == "ready\n"
        try:
            for disk, place, kind in self._mounts:
                self.mount(disk, self._root / place, kind, "loop")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for _, place, _ in reversed(self._mounts):
                    self.run("umount", str(self._root / place))
        finally:
            self._end()

    @property
    def inner_root(self) -> Path:
        """The root, for those inside."""
        return self._root

    @property
    def root(self) -> Path:
        """The root, for those outside."""
        return self.seen(self._root)

    def seen(self, inside: Path) -> Path:
        """A path of those inside, for those outside. It must not be resolved: it would lose its namespace."""
        assert self._holder
        return Path(f"/proc/{self._holder.pid}/root{inside}")

    def mount(self, what: Path, place: Path, kind: str, options: str) -> None:
        """Mount something more; by its place for those inside."""
        self.run("mkdir", "--parents", str(place))
        self.run("mount", "-t", kind, "-o", options, str(what), str(place))

    def run(self, *arguments: str) -> str:
        """Run a program inside; returns what it said."""
        assert self._holder
        inside = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *arguments]
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise AssertionError(f"{arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def _end(self) -> None:
        assert self._holder
        self._holder.kill()
        self._holder.communicate()
