"""Real programs, run for real: status, output, environment, time-outs, nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from reconciler.errors import Failed, Terminated, Unavailable
from reconciler.host.base import command, termination
from reconciler.host.base.command import available, check, drain, feed, path_of, run, script

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.commands


def test_output_and_status_are_kept_apart() -> None:
    finished = run("sh", "-c", "echo out; echo first >&2; echo 'last words' >&2; exit 3", timeout=250)
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"out\n", "first\nlast words\n")
    assert finished.complaint == "last words"
    with pytest.raises(Failed, match="cleaning failed: last words"):
        check(finished, "cleaning")


def test_nothing_is_cut_off() -> None:
    finished = run(
        "sh", "-c", "head -c 5000000 /dev/zero; head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", timeout=250
    )
    assert len(finished.stdout) == 5_000_000
    assert len(finished.stderr) == 100_000


def test_what_nobody_has_a_bound_for_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_OUTPUT", 1000)
    assert run("head", "-c", "1000", "/dev/zero", timeout=250).stdout == bytes(1000)
    with pytest.raises(Failed, match="head prints more than 1000"):
        run("head", "-c", "1001", "/dev/zero", timeout=250)
    finished = run("head", "-c", "1001", "/dev/zero", timeout=250, most=1000)
    assert (finished.stdout, finished.complete) == (bytes(1000), False)


def test_of_many_complaints_the_first_and_the_last_are_kept() -> None:
    many = "head -c 3000000 /dev/zero | tr '\\0' x"
    finished = run("sh", "-c", f"{{ echo first; {many}; echo; echo last; }} >&2; exit 1", timeout=250)
    assert len(finished.stderr) == 1 << 20
    assert finished.stderr.startswith("first\nxxx")
    assert finished.complaint == "last"


def test_a_program_and_what_it_starts_have_a_bound_for_their_memory() -> None:
    script = "import time; time.sleep(.2); print(len(bytearray(300 << 20)))"
    for words in ([script], [f"import subprocess, sys; subprocess.check_call([sys.executable, '-c', {script!r}])"]):
        asked = ("-c", *words)
        assert run(sys.executable, *asked, timeout=250).stdout == b"314572800\n"
        finished = run(sys.executable, *asked, timeout=250, memory=200 << 20)
        assert finished.status == 1
        assert "MemoryError" in finished.stderr
    limits = run("sh", "-c", "sleep .2; ulimit -d; ulimit -Hd", timeout=250, memory=200 << 20)
    assert limits.stdout == b"204800\n204800\n"
    assert run("sh", "-c", "sleep .2; ulimit -d", timeout=250, memory=None).stdout != b"204800\n"


def test_there_is_no_terminal_and_no_input() -> None:
    finished = run("sh", "-c", "for fd in 0 1 2; do test -t $fd && echo tty; done; cat; echo end", timeout=250)
    assert finished.stdout == b"end\n"


def test_messages_are_in_english_and_home_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.delenv("HOME", raising=False)
    assert (
        run("sh", "-c", "echo $LANG $LC_ALL $HOME $X", timeout=250, env={"X": "x"}).stdout
        == b"C.UTF-8 C.UTF-8 /root x\n"
    )


def test_a_killed_program_has_a_negative_status() -> None:
    assert run("sh", "-c", "kill -9 $$", timeout=250).status == -9


def test_a_missing_program_is_told_with_a_way_out() -> None:
    with pytest.raises(Failed, match="no-such-program is not on this machine") as caught:
        run("no-such-program", timeout=250)
    assert caught.value.hint


def test_arguments_are_passed_as_they_are() -> None:
    assert run("printf", "%s|", "a b", "$HOME", "*", "", timeout=250).stdout == b"a b|$HOME|*||"


def test_a_time_out_kills_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    for timeout in (0.5, 5, 50):  # until it was there in time
        with pytest.raises(Unavailable, match="did not finish within"):
            run("sh", "-c", f"sleep 300 & echo $! > {pid_file}; wait", timeout=timeout)
        if pid_file.exists() and pid_file.read_text():
            break
    _wait_until_gone(int(pid_file.read_text()))


def test_a_program_that_is_watched_can_be_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    seen: set[int] = set()

    def watch(process: int, complaints: str) -> bool:
        seen.add(process)
        return "enough" in complaints and pid_file.exists() and bool(pid_file.read_text())

    script = f"echo enough >&2; sleep 300 & echo $! > {pid_file}; wait"
    finished = run("sh", "-c", script, timeout=200, watch=watch)
    assert (finished.status, finished.stderr) == (-signal.SIGKILL, "enough\n")
    assert len(seen) == 1
    _wait_until_gone(int(pid_file.read_text()))


def test_a_watch_that_sees_nothing_wrong_changes_nothing() -> None:
    assert (
        run("sh", "-c", "sleep 0.6; echo done", timeout=200, watch=lambda _process, _told: False).stdout == b"done\n"
    )


def test_a_signal_ends_the_program_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def terminate(*_: object) -> NoReturn:
        raise Terminated("SIGALRM")

    previous = signal.signal(signal.SIGALRM, terminate)
    try:
        for seconds in (0.5, 5, 50):  # until it was there in time
            signal.setitimer(signal.ITIMER_REAL, seconds)
            with pytest.raises(Terminated):
                run("sh", "-c", f"sleep 300 & echo $! > {pid_file}; wait", timeout=250)
            if pid_file.exists() and pid_file.read_text():
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    _wait_until_gone(int(pid_file.read_text()))


def test_a_signal_at_the_very_start_ends_the_program_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the fork and the moment that the process is known, an exception would leave it behind."""
    started: list[Any] = []
    real = command._find("sleep", os.environ["PATH"])  # noqa: SLF001

    def start(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - sh has no types
        started.append(real(*arguments, **options))
        signal.raise_signal(signal.SIGTERM)
        return started[0]

    monkeypatch.setattr(command, "_find", lambda *_: start)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous = [signal.getsignal(number) for number in numbers]
    termination.install()
    try:
        with pytest.raises(Terminated, match="SIGTERM"):
            run("sleep", "300", timeout=250)
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
    _wait_until_gone(started[0].pid)


def _wait_until_gone(pid: int) -> None:
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("a child survived")


@pytest.mark.commands
def test_no_more_is_kept_than_wanted() -> None:
    """The rest is taken all the same, so that the program comes to its end."""
    done = run("sh", "-c", "yes | head -c 5000000; echo end >&2", timeout=250, most=1000)
    assert (done.status, len(done.stdout), done.complete, done.complaint) == (0, 1000, False, "end")
    assert run("sh", "-c", "printf 12345", timeout=250, most=5).complete


@pytest.mark.commands
def test_whether_a_program_is_there() -> None:
    assert available("sh")
    assert not available("there-is-no-such-program")


def _pour(count: int) -> Callable[[int], None]:
    """Write that many bytes, as a pipe takes them."""

    def write(descriptor: int) -> None:
        rest = memoryview(bytes(count))
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    return write


def test_a_program_is_fed() -> None:
    finished = feed("sh", "-c", "wc -c; echo done >&2", write=_pour(5_000_000), timeout=250)
    assert (finished.status, finished.stdout.strip(), finished.complaint) == (0, b"5000000", "done")


def test_a_fed_program_that_fails_is_heard() -> None:
    finished = feed(
        "sh", "-c", "head -c 10 >/dev/null; echo 'no more' >&2; exit 4", write=_pour(5_000_000), timeout=250
    )
    assert (finished.status, finished.complaint) == (4, "no more")


def test_a_fed_program_must_read_everything() -> None:
    with pytest.raises(Failed, match="head ended before it had read everything"):
        feed("head", "-c", "10", write=_pour(5_000_000), timeout=250)


def test_a_fed_program_has_its_time() -> None:
    with pytest.raises(Unavailable, match="did not finish within"):
        feed("sleep", "300", write=_pour(5_000_000), timeout=0.5)
    with pytest.raises(Unavailable, match="did not finish within"):
        feed("sleep", "300", write=_pour(10), timeout=0.5)


def test_what_the_writer_raises_ends_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def write(_: int) -> NoReturn:
        while not pid_file.exists() or not pid_file.read_text().endswith("\n"):
            time.sleep(0.01)
        raise Terminated("SIGTERM")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Terminated):
        feed("sh", "-c", f"echo $$ > {pid_file}; cat; sleep 300", write=write, timeout=250)
    _wait_until_gone(int(pid_file.read_text()))
    assert len(os.listdir("/proc/self/fd")) == before


def _collect(into: list[bytes], most: int | None = None) -> Callable[[int], None]:
    """Read what a program prints, all of it or its beginning."""

    def read(descriptor: int) -> None:
        while (most is None or sum(map(len, into)) < most) and (piece := os.read(descriptor, 1 << 16)):
            into.append(piece)

    return read


def test_a_program_is_drained() -> None:
    pieces: list[bytes] = []
    done = drain("sh", "-c", "yes | head -c 5000000; echo done >&2; exit 3", read=_collect(pieces), timeout=250)
    assert (done.status, done.stdout, done.complaint) == (3, b"", "done")
    assert len(b"".join(pieces)) == 5_000_000


def test_what_is_left_unread_is_dropped() -> None:
    assert drain("sh", "-c", "yes | head -c 5000000", read=_collect([], 10), timeout=250).status == 0


def test_a_drained_program_has_its_time() -> None:
    with pytest.raises(Unavailable, match="did not finish within"):
        drain("sleep", "300", read=_collect([]), timeout=0.5)


def test_what_the_reader_raises_ends_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def read(descriptor: int) -> NoReturn:
        os.read(descriptor, 1)
        raise Terminated("SIGTERM")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Terminated):
        drain("sh", "-c", f"echo $$ > {pid_file}; yes", read=read, timeout=250)
    _wait_until_gone(int(pid_file.read_text()))
    assert len(os.listdir("/proc/self/fd")) == before


def test_scripts_of_ours_find_programs_of_the_os_before_others_of_their_names() -> None:
    """What a user asks for by its path finds them as ever."""
    path = {"PATH": "/x:/usr/local/sbin:/usr/sbin:/usr/bin"}
    for program, found in (("sh", "/x:/usr/sbin:/usr/bin:/usr/local/sbin"), ("/usr/bin/sh", path["PATH"])):
        assert run(program, "-c", "echo $PATH", timeout=250, env=path).stdout.decode().strip() == found


def test_a_script_finds_the_programs_that_it_names_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they were found before, whatever comes first on its PATH meanwhile."""
    begin = script('cat "$1"; ls / && exit 1; systemd_run --version', "cat", "systemd-run")
    for name in ("cat", "ls"):
        (tmp_path / name).write_text("#!/bin/sh\necho seized\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "text").write_text("content\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    finished = run(*begin, "name", str(tmp_path / "text"), timeout=250)
    assert finished.stdout.decode().startswith("content\nsystemd ")
    assert "seized" not in finished.stdout.decode()
    assert "ls" in finished.stderr


def test_programs_that_are_not_there_are_named() -> None:
    with pytest.raises(Failed, match="the program no-such-program is not on this machine"):
        script("", "no-such-program")
    assert path_of("sh").endswith("/sh")
