"""Programs that end, or fail, at a chosen system call: strace(1) injects the fault, this reads what came of it.

The program runs in a PID namespace of its own, so that everything it has started dies with it, and is dead when
this returns. A killed call is not carried out. `when` counts per thread, so a fault hits the first thread that comes
so far; what it hit is in the trace. Without --seccomp-bpf where a signal is injected: strace 6.1 loses it then.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.rig.namespace import Namespace

# What changes a file system, as Python, Go and C call it. Opening is not among it: programs do it a thousand times
# before they write, and a file that was opened and not written to is the same as one before the next call.
CALLS: Final = (
    *("rename", "renameat", "renameat2", "symlink", "symlinkat", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "fchown", "fchownat", "utimensat", "setxattr"),
    *("ftruncate", "fallocate", "fsync", "fdatasync", "syncfs", "mount", "umount2", "move_mount", "flock"),
)
_CALL: Final = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<arguments>.*)")
_KILLED: Final = "killed by SIGKILL"
_TIMEOUT: Final = 120.0  # seconds


@dataclass(frozen=True, slots=True, order=True)
class Boundary:
    """A step of a program: just before a system call, the n-th of its name in a thread."""

    call: str
    when: int

    def __str__(self) -> str:
        return f"{self.call}#{self.when}"


class Reach(Enum):
    """Which processes count as the program."""

    ITSELF = ("-f", "-b", "execve")  # its threads; what it starts goes on untraced
    ALL = ("-f",)  # what it has started, too


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and what was traced of it."""

    status: int
    told: str
    trace: str = ""
    killed: bool = False

    @property
    def hit(self) -> str:
        """Where a fault came about."""
        marks = ("= ?", "(INJECTED)")
        return "; ".join(line for line in self.trace.splitlines() if line.endswith(marks))


def kill_after(namespace: Namespace, seconds: float, *arguments: str) -> Ended:
    """Run a program, and kill it with all that it has started after this time if it has not ended."""
    hits: list[bool] = []
    with _started(namespace, *arguments) as process:
        timer = threading.Timer(seconds, lambda: hits.append(_kill(process)))
        timer.start()
        _, told = process.communicate(timeout=_TIMEOUT)
        timer.cancel()
        timer.join()
    return Ended(process.returncode, told, killed=any(hits))


def trace(namespace: Namespace, reach: Reach, *arguments: str, calls: Sequence[str] = CALLS) -> Ended:
    """Run a program undisturbed."""
    return _traced(namespace, [*reach.value, "-y", "-e", f"trace={','.join(calls)}"], arguments)


def kill_at(namespace: Namespace, reach: Reach, boundary: Boundary, *arguments: str, all_of_it: bool = True) -> Ended:
    """Kill the process that comes to a boundary first.

    `all_of_it`: and everything else a moment later; otherwise the others see a program die, and go on.
    """
    inject = f"inject={boundary.call}:signal=KILL:when={boundary.when}"
    options = [*reach.value, "-y", "-e", f"trace={boundary.call}", "-e", inject]
    return _traced(namespace, options, arguments, all_of_it=all_of_it)


def fail_at(
    namespace: Namespace, reach: Reach, boundary: Boundary, error: str, *arguments: str, lasting: bool = False
) -> Ended:
    """Let a system call fail with this error, and those after it, too, if it is `lasting`."""
    inject = f"inject={boundary.call}:error={error}:when={boundary.when}{'+' if lasting else ''}"
    options = [*reach.value, "-y", "-e", f"trace={boundary.call}", "-e", inject]
    return _traced(namespace, options, arguments)


def boundaries(traced: Ended) -> list[Boundary]:
    """All that a traced run came to, as far as counting per thread tells them apart."""
    counts = Counter((it["thread"], it["call"]) for it in _calls(traced))
    most: dict[str, int] = {}
    for (_, call), count in counts.items():
        most[call] = max(count, most.get(call, 0))
    return [Boundary(call, number) for call in sorted(most) for number in range(1, most[call] + 1)]


def boundaries_on(traced: Ended, *below: str) -> list[Boundary]:
    """Those whose arguments name something below one of these paths."""
    counts: Counter[tuple[str, str]] = Counter()
    found = set()
    for it in _calls(traced):
        counts[it["thread"], it["call"]] += 1
        if any(path in it["arguments"] for path in below):
            found.add(Boundary(it["call"], counts[it["thread"], it["call"]]))
    return sorted(found)


def _calls(traced: Ended) -> Iterator[re.Match[str]]:
    return (found for line in traced.trace.splitlines() if (found := _CALL.match(line)))


def _traced(
    namespace: Namespace, options: Sequence[str], arguments: Sequence[str], *, all_of_it: bool = False
) -> Ended:
    with tempfile.TemporaryDirectory(prefix="livelayer-trace-") as scratch:
        pipe = Path(scratch, "pipe")
        os.mkfifo(pipe)
        strace = ("strace", "--quiet=attach,personality", "-o", str(pipe), *options)
        with _started(namespace, *strace, *arguments) as process:
            lines: list[str] = []
            reader = threading.Thread(target=_read, args=(pipe, lines, process if all_of_it else None))
            reader.start()
            _, told = process.communicate(timeout=_TIMEOUT)
            reader.join()
    return Ended(process.returncode, told, "".join(lines), any(_KILLED in line for line in lines))


def _read(pipe: Path, lines: list[str], victim: subprocess.Popen[str] | None) -> None:
    with pipe.open() as traced:
        for line in traced:
            lines.append(line)
            if victim and _KILLED in line:
                _kill(victim)


@contextmanager
def _started(namespace: Namespace, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        namespace.command("unshare", "--pid", "--fork", "--kill-child", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        _kill(process)
        process.communicate()


def _kill(process: subprocess.Popen[str]) -> bool:
    """Kill the first process inside, and with it all others; its parent, this one's child, waits for them."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    except OSError:  # it has ended
        return False
    return bool(children)
