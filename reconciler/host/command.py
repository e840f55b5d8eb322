"""The one place where programs are started: through `sh`, without a terminal, with a timeout, nothing cut off."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sh

from reconciler.errors import Failed, ReconcilerError, Unavailable
from reconciler.host import termination

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Buffer

_MIN_COMPLAINTS: Final = 1 << 16
_running: Final[dict[int, Any]] = {}  # by process; each addition and removal is one atomic operation
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ran to its end, well or not."""

    status: int  # exit status; negative: killed by that signal
    stdout: bytes
    stderr: str
    complete: bool = True  # False: it printed more than was to be kept

    @property
    def complaint(self) -> str:
        """The last thing it said on stderr: what a person needs to read first."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status} without a message"


class _Bounded(BytesIO):
    """Keeps the first bytes written to it, and takes the rest without keeping it."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self.complete = True

    def write(self, data: Buffer, /) -> int:
        room = self._most - self.tell()
        super().write(memoryview(data)[:room])
        self.complete = self.complete and len(memoryview(data)) <= room
        return len(memoryview(data))


def available(program: str) -> bool:
    """Whether a program is on PATH."""
    return shutil.which(program, path=_environment({})["PATH"]) is not None


def run(
    program: str,
    *arguments: str,
    timeout: float,
    env: Mapping[str, str] | None = None,
    most: int = sys.maxsize,
) -> Finished:
    """Run a program to its end.

    Args:
        program: a name on PATH.
        arguments: passed as they are; no shell is involved.
        timeout: seconds until its process group is killed.
        env: variables on top of this process's own.
        most: bytes to keep of what it prints, and of what it complains; the rest is dropped.

    Raises:
        Failed: the program is not there.
        Unavailable: it did not end in time.
    """
    environment = _environment(env or {})
    command = _find(program, environment["PATH"])
    stdout, stderr = _Bounded(most), _Bounded(max(most, _MIN_COMPLAINTS))
    running: Any = None
    try:
        with termination.deferred(), Path(os.devnull).open("rb") as nothing:
            running = command(
                *arguments,
                _in=nothing,
                _out=stdout,
                _err=stderr,
                _env=environment,
                _bg=True,
                _bg_exc=False,
                _tty_out=False,
                _new_group=True,
                _return_cmd=True,
            )
        with _known(running):
            status = _wait(running, program, timeout)
    except BaseException:
        if running is not None:
            _kill(running)
        raise
    return Finished(status, stdout.getvalue(), stderr.getvalue().decode(errors="replace"), stdout.complete)


def kill_running() -> None:
    """Kill every program that some thread waits for; those that are about to be started as soon as they are."""
    for running in list(_running.values()):
        _kill_group(running)


@contextmanager
def _known(running: Any) -> Iterator[None]:  # noqa: ANN401 - sh has no types
    """List a program as running, for `kill_running`."""
    _running[running.pid] = running
    try:
        if termination.is_requested():
            _kill_group(running)
        yield
    finally:
        _running.pop(running.pid, None)


def check(finished: Finished, doing: str) -> Finished:
    """Insist on exit status 0.

    Raises:
        Failed: with the program's own words.
    """
    if finished.status != 0:
        raise Failed(f"{doing} failed: {finished.complaint}")
    return finished


def _find(program: str, path: str) -> Any:  # noqa: ANN401 - sh has no types
    found = shutil.which(program, path=path)
    if found is None:
        raise Failed(f"the program {program} is not on this machine", f"install the package that has {program}")
    return sh.Command(found)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours, with messages in English; a systemd service has no HOME, where skopeo looks for credentials."""
    inherited = {"PATH": _PATH, "HOME": "/root", **os.environ}
    return {**inherited, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **extra}


def _wait(running: Any, program: str, timeout: float) -> int:  # noqa: ANN401 - sh has no types
    """Wait for the exit status.

    sh's own timeout looks only every 100 ms whether the program has ended, and does not kill what it has started.
    """
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _kill_group(running)

    timer = threading.Timer(timeout, expire)
    timer.daemon = True
    timer.start()
    try:
        running.wait()
    except sh.ErrorReturnCode as error:
        if expired.is_set():
            raise _timed_out(program, timeout) from None
        return int(error.exit_code)
    finally:
        timer.cancel()
    return 0


def _kill_group(running: Any) -> None:  # noqa: ANN401 - sh has no types
    try:
        os.killpg(running.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of it is gone, which is what was wanted


def _kill(running: Any) -> None:  # noqa: ANN401 - sh has no types
    """Never leave a program behind: not when this process is told to stop either."""
    _kill_group(running)
    try:
        running.wait()
    except sh.ErrorReturnCode:
        return


def _timed_out(program: str, timeout: float) -> ReconcilerError:
    return Unavailable(f"{program} did not finish within {timeout:.0f} s", "look at the network and the load")
