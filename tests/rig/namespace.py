"""A private mount namespace in which the real systemd-sysext merges onto /usr, and nobody outside sees it.

systemd-sysext forks a worker with a namespace of its own and moves the finished overlay out of it, so propagation
must be shared inside; and it needs a mount of its own on /run. Overlays on /etc and /var/lib take the mount points
that are missing: made on the machine itself they would be in the way of another namespace, or left behind.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

# The node's directories that a test may change, each bound to a scratch directory on a real disk.
_PRIVATE: Final = (
    "/etc/containers/registries.conf.d",
    "/etc/extensions",
    "/etc/livelayer",
    "/var/lib/containers",
    "/var/lib/extensions",
    "/var/lib/livelayer",
)
_SET_UP: Final = """
set -e
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs tmpfs /run
for directory in /etc /var/lib; do
    mkdir -p "$SCRATCH/overlays$directory/upper" "$SCRATCH/overlays$directory/work"
    layers="lowerdir=$directory,upperdir=$SCRATCH/overlays$directory/upper,workdir=$SCRATCH/overlays$directory/work"
    mount -t overlay overlay -o "$layers" "$directory"
done
for directory in $PRIVATE; do
    mkdir -p "$directory" "$SCRATCH$directory"
    mount --bind "$SCRATCH$directory" "$directory"
done
echo ready
exec cat
"""


class Namespace:
    """A namespace that lives as long as the context."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        environment = {**os.environ, "PRIVATE": " ".join(_PRIVATE), "SCRATCH": str(self._scratch)}
        # It ends when its input does, so also when this process is killed.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _SET_UP],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._holder
        self._holder.kill()
        self._holder.communicate()

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs a program inside."""
        assert self._holder
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *arguments]

    def run(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a program inside; `status` is what it must exit with, None: anything."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=300)
        if status is not None and done.returncode != status:
            raise AssertionError(f"{arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    @property
    def root(self) -> Path:
        """The root directory as it is inside, mounts and all; absolute symlinks in it lead out of it."""
        assert self._holder
        return Path(f"/proc/{self._holder.pid}/root")

    def path(self, absolute: str) -> Path:
        """Where the files of a private directory lie outside."""
        return Path(f"{self._scratch}{absolute}")
