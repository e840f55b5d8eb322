"""A private mount namespace in which the real systemd-sysext merges onto /usr, and nobody outside sees it.

systemd-sysext prepares the overlay in a namespace of its own and moves it out of there, so propagation has to be
shared inside, though private towards this machine; and it fails where /run is not a mount. /etc and /var/lib are
overlays, so that mount points are made and files are written without a trace on this machine. Where extensions lie is
bound to a directory on a real disk: the kernel stacks no more than two overlays, and a store wants real xattrs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BOUND: Final = ("/etc/extensions", "/etc/livelayer", "/var/lib/confexts", "/var/lib/extensions", "/var/lib/livelayer")
"""The directories on a real disk, each of them a mount: renames and hard links do not cross from one to another."""

_SET_UP: Final = """
set -e
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
for directory in /etc /var/lib; do
    layers="$SCRATCH/overlay$directory"
    mkdir -p "$layers/upper" "$layers/work"
    mount -t overlay -o "lowerdir=$directory,upperdir=$layers/upper,workdir=$layers/work" overlay "$directory"
done
for directory in $BOUND; do
    mkdir -p "$directory" "$SCRATCH/bound$directory"
    mount --bind "$SCRATCH/bound$directory" "$directory"
done
echo ready
exec cat
"""
_RUN_SECONDS: Final = 120
_KILL_SECONDS: Final = 10


class Namespace:
    """A namespace that lives as long as the context; `scratch` is an empty directory on a real disk, no tmpfs."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        environment = {**os.environ, "BOUND": " ".join(BOUND), "SCRATCH": str(self._scratch)}
        # The holder ends with its input, so also when this process is killed.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _SET_UP],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != "ready\n":
            raise AssertionError(f"no private mount namespace: {self._holder.communicate()[1]}")
        return self

    def __exit__(self, *_: object) -> None:
        """End all that runs inside; the mounts go with the last process."""
        assert self._holder
        inside = _mount_namespace(self._holder.pid)
        assert inside != _mount_namespace(os.getpid())
        deadline = time.monotonic() + _KILL_SECONDS
        while others := [pid for pid in _processes_in(inside) if pid != self._holder.pid]:
            assert time.monotonic() < deadline, f"these do not end: {others}"
            for pid in others:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self._holder.communicate(timeout=_KILL_SECONDS)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs a program inside, for a Popen of one's own; signals reach the program itself."""
        assert self._holder
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *argv]

    def run(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        input: str = "",  # noqa: A002 - as subprocess.run calls it
        timeout: float = _RUN_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside, with `env` on top of this process's environment."""
        done = subprocess.run(
            self.command(*argv),
            env={**os.environ, **(env or {})},
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{argv}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, source: str, *argv: str) -> str:
        """Run Python source inside, with the interpreter and the modules of this process; returns what it prints."""
        return self.run(sys.executable, "-c", source, *argv, env={"PYTHONPATH": os.pathsep.join(sys.path)}).stdout

    def path(self, absolute: str) -> Path:
        """A file inside, as seen from here; an absolute link on the way leads out, to this machine's files."""
        assert self._holder
        return Path(f"/proc/{self._holder.pid}/root{absolute}")

    def write(self, absolute: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, parents included."""
        path = self.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


def _mount_namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/mnt").readlink())


def _processes_in(namespace: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and _mount_namespace(int(entry.name)) == namespace:
                yield int(entry.name)
