"""The one place where programs are started: through `sh`, without a terminal, with a bound for all that they take."""

from __future__ import annotations

import fcntl
import os
import resource
import shlex
import shutil
import signal
import threading
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sh

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, NotInstalled, Unavailable
from reconciler.host.base import termination
from reconciler.host.base.intervals import at_intervals
from reconciler.host.base.onhost import is_hosts
from reconciler.model.content.limits import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import FileIO
    from typing import IO, TypeAlias

    from typing_extensions import Buffer

    Watch: TypeAlias = Callable[[int, str], bool]
    """Told a program's process and what it has complained of so far, now and then; whether it is to be killed."""

_MIN_COMPLAINTS: Final = 1 << 16
_COMPLAINTS: Final = 1 << 20  # bytes of them, the first and the last
_OUTPUT: Final = 32 << 20  # bytes that a program prints for which nobody says how many
_MEMORY: Final = 2 << 30  # bytes of data of a process, without what it shares and maps from files
_LOOK: Final = 0.25  # seconds between two looks at a program that is watched
_PIPE: Final = 1 << 20  # bytes; the most that the kernel gives without a privilege
_running: Final[dict[int, Any]] = {}  # by process; each addition and removal is one atomic operation
_WITHOUT_HELPERS: Final = dict.fromkeys(("mount", "umount"), " --internal-only")  # programs such as mount.tmpfs
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


class _Ends:
    """Keeps the first and the last bytes written to it: the reason for a failure is in either."""

    def __init__(self, most: int) -> None:
        self._first, self._last = _Bounded(most // 2), bytearray()
        self._half = most // 2

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data)
        room = self._half - self._first.tell()
        self._first.write(view[:room])
        self._last += view[room:][-self._half :]
        del self._last[: -self._half]
        return len(view)

    def getvalue(self) -> bytes:
        return self._first.getvalue() + self._last


def available(program: str) -> bool:
    return next(_found(program, _search_path()), None) is not None


def path_of(program: str) -> str:
    """Where a program of the host is, for wrappers and scripts that start it themselves and would look on PATH."""
    return _path_of(program, _search_path())


def script(text: str, *programs: str) -> tuple[str, ...]:
    """The beginning of a command line for a shell script, which finds these programs of the host, and no others.

    Their names are functions, with _ for -, so a script must not `exec` them. They look on PATH for what they start.
    """
    path = shlex.quote(_hosts_first(_search_path()))
    commands = {it: f"{shlex.quote(path_of(it))}{_WITHOUT_HELPERS.get(it, '')}" for it in programs}
    lines = [f'{name.replace("-", "_")}() {{ PATH=$hosts_path {it} "$@"; }}' for name, it in commands.items()]
    return (path_of("sh"), "-c", "\n".join((f"hosts_path={path} PATH=/nonexistent", *lines, text)))


def anyones(program: str) -> str:
    """The path of a program that a user asks for, which an extension may have brought; its name, if there is none."""
    return shutil.which(program, path=_search_path()) or program


def run(  # noqa: PLR0913 - a program, its surroundings and its bounds
    program: str,
    *arguments: str,
    timeout: float,
    env: Mapping[str, str] | None = None,
    most: int | None = None,
    watch: Watch | None = None,
    memory: int | None = _MEMORY,
    directory: Path | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        program: a name on PATH, where what merged extensions have there does not count; or a path, where it does.
        arguments: passed as they are; no shell is involved.
        timeout: seconds until its process group is killed, which is `Unavailable`.
        env: variables on top of this process's own.
        most: bytes to keep of what it prints; the rest is dropped. None: it is an error if there are very many.
        watch: may kill it earlier, which is no error here; called in a thread of its own.
        memory: bytes that each of its processes may have for its data; None: as many as it likes.
        directory: where it works, if that matters.
    """
    wanted = _OUTPUT if most is None else most
    beginning = _started(program, arguments, env, wanted, memory=memory, directory=directory)
    with beginning as started, started.watched(watch):
        finished = started.finish(timeout)
    if most is None and not finished.complete:
        raise Failed(f"{program} prints more than {size_text(_OUTPUT)}", "look at what it is given")
    return finished


def feed(
    program: str,
    *arguments: str,
    write: Callable[[int], None],
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program as `run` does, and write what it reads from its standard input; not to read all is a failure.

    `write` is given the descriptor to write to, which it must not close. What it raises ends the program; the
    program's own end, by itself or by a timeout, ends it by a BrokenPipeError that it must let pass.
    """
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as pipe, os.fdopen(reading, "rb", buffering=0) as source:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
        with _started(program, arguments, env, source=source) as started:
            source.close()  # from now on, the program alone can read: when it ends, writing fails
            return started.finish(timeout, lambda: _write_all(pipe, write))


def drain(
    program: str,
    *arguments: str,
    read: Callable[[int], None],
    timeout: float,
) -> Finished:
    """Run a program as `run` does, and read what it writes to its standard output.

    `read` is given the descriptor to read from, which it must not close. What it raises ends the program; what it
    leaves unread is read and dropped.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as pipe, os.fdopen(writing, "wb", buffering=0) as sink:
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE)
        with _started(program, arguments, None, sink=sink) as started:
            sink.close()  # from now on, the program alone can write: when it ends, so does what is read
            return started.finish(timeout, lambda: _read_all(pipe, read))


def _read_all(pipe: FileIO, read: Callable[[int], None]) -> bool:
    """Read to the end, which a program that still writes would wait for."""
    read(pipe.fileno())
    while pipe.read(_PIPE):
        pass
    return True


def _write_all(pipe: FileIO, write: Callable[[int], None]) -> bool:
    """Whether everything was taken."""
    with pipe, suppress(BrokenPipeError):
        write(pipe.fileno())
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Started:
    program: str
    running: Any  # sh has no types
    stdout: _Bounded
    stderr: _Ends

    def finish(self, timeout: float, meanwhile: Callable[[], bool] = lambda: True) -> Finished:
        _running[self.running.pid] = self.running
        try:
            if termination.is_requested():
                _kill_group(self.running)
            status, taken = _wait(self.running, self.program, timeout, meanwhile)
        finally:
            _running.pop(self.running.pid, None)
        if not taken and status == 0:
            raise Failed(f"{self.program} ended before it had read everything")
        return Finished(status, self.stdout.getvalue(), self.complaints, self.stdout.complete)

    @property
    def complaints(self) -> str:
        return self.stderr.getvalue().decode(errors="replace")

    @contextmanager
    def watched(self, watch: Watch | None) -> Iterator[None]:
        if watch is None:
            yield
            return

        def look() -> bool:
            if is_to_end := watch(self.running.pid, self.complaints):
                _kill_group(self.running)
            return is_to_end

        with at_intervals(_LOOK, look, "watch"):
            yield


@contextmanager
def _started(  # noqa: PLR0913 - a program, and what its three streams are
    program: str,
    arguments: tuple[str, ...],
    env: Mapping[str, str] | None,
    most: int = _MIN_COMPLAINTS,
    *,
    source: IO[bytes] | None = None,
    sink: IO[bytes] | None = None,
    memory: int | None = _MEMORY,
    directory: Path | None = None,
) -> Iterator[_Started]:
    """Start a program; an exception inside kills it."""
    environment = _environment(env or {})
    command = _find(program, environment["PATH"])
    if os.sep not in program:
        environment["PATH"] = _hosts_first(environment["PATH"])
    stdout, stderr = _Bounded(most), _Ends(min(max(most, _MIN_COMPLAINTS), _COMPLAINTS))
    running: Any = None
    try:
        with Path(os.devnull).open("rb") as nothing, termination.deferred():
            running = command(
                *arguments,
                _in=source or nothing,
                _out=sink or stdout,
                _err=stderr,
                _env=environment,
                _cwd=directory and str(directory),
                _bg=True,
                _bg_exc=False,
                _tty_out=False,
                _new_group=True,
                _return_cmd=True,
            )
            _limit_memory(running.pid, memory)
        yield _Started(program, running, stdout, stderr)
    except BaseException:
        if running is not None:
            _kill(running)
        raise


def _limit_memory(process: int, memory: int | None) -> None:
    """Of the process and of all that it starts. Not in the child before it is a program: there are other threads."""
    if memory is None:
        return
    with suppress(ProcessLookupError, PermissionError):  # it has ended, or runs as somebody else
        soft, hard = resource.prlimit(process, resource.RLIMIT_DATA)
        bounds = [it for it in (soft, hard, memory) if it != resource.RLIM_INFINITY]
        resource.prlimit(process, resource.RLIMIT_DATA, (min(bounds), min(bounds)))


def kill_running() -> None:
    """Kill every program that some thread waits for; those that are about to be started as soon as they are."""
    for running in list(_running.values()):
        _kill_group(running)


def check(finished: Finished, doing: str) -> Finished:
    """Insist on exit status 0; the error has the program's own words."""
    if finished.status != 0:
        raise Failed(f"{doing} failed: {finished.complaint}")
    return finished


def _find(program: str, path: str) -> Any:  # noqa: ANN401 - sh has no types
    return sh.Command(_path_of(program, path))


def _path_of(program: str, path: str) -> str:
    for found in _found(program, path):
        return found
    raise _not_installed(program, path)


def _not_installed(program: str, path: str) -> NotInstalled:
    reason, hint = "is not on this machine", f"install the package that has {program}"
    if shutil.which(program, path=path):
        reason = "comes with an extension, and livelayer runs none of those"
        hint += " into the OS"
    return NotInstalled(f"the program {program} {reason}", hint)


def _found(program: str, path: str) -> Iterator[str]:
    """Where the program is in the search path, those places aside where a merged extension has put it."""
    if os.sep in program:
        return iter([program] if shutil.which(program) else [])
    candidates = (shutil.which(program, path=place) for place in dict.fromkeys(path.split(os.pathsep)))
    return (it for it in candidates if it and is_hosts(it))


def _hosts_first(path: str) -> str:
    """Where our own scripts look: extensions may have namesakes of the programs of the OS in /usr/local."""
    return os.pathsep.join(sorted(path.split(os.pathsep), key=lambda it: it.startswith("/usr/local/")))


def _search_path() -> str:
    return _environment({})["PATH"]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours, with messages in English; a systemd service has no HOME, where skopeo looks for credentials."""
    inherited = {"PATH": _PATH, "HOME": "/root", **os.environ}
    return {**inherited, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **extra}


def _wait(running: Any, program: str, timeout: float, meanwhile: Callable[[], bool]) -> tuple[int, bool]:  # noqa: ANN401 - sh has no types
    """Call `meanwhile`, then wait for the exit status; return that and what the call returned.

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
        result = meanwhile()
        status = _exit_status(running)
    finally:
        timer.cancel()
    if status != 0 and expired.is_set():
        hint = "look at the network and the load"
        raise Unavailable(f"{program} did not finish within {timeout:.0f} s", hint, code="program.timeout")
    return status, result


def _exit_status(running: Any) -> int:  # noqa: ANN401 - sh has no types
    try:
        running.wait()
    except sh.ErrorReturnCode as error:
        return int(error.exit_code)
    return 0


def _kill_group(running: Any) -> None:  # noqa: ANN401 - sh has no types
    with suppress(ProcessLookupError):  # all of it is gone, which is what was wanted
        os.killpg(running.pid, signal.SIGKILL)


def _kill(running: Any) -> None:  # noqa: ANN401 - sh has no types
    """Never leave a program behind: not when this process is told to stop either."""
    _kill_group(running)
    _exit_status(running)
