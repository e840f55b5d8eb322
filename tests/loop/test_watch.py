"""The daemon as a real process on a miniature node: every way in which a configuration is saved is seen."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from watchdog.events import (
    DirModifiedEvent,
    FileClosedEvent,
    FileClosedNoWriteEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileOpenedEvent,
    FileSystemEvent,
)

from reconciler.loop.watch import Directories
from reconciler.model.kind import Kind
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.paths import Paths

ONE = "docker://registry/one:v1"
TWO = "docker://registry/two:v1"
JUST_ONE = f"extensions: {{one: {{source: '{ONE}'}}}}\n"
JUST_TWO = f"extensions: {{two: {{source: '{TWO}'}}}}\n"


@contextmanager
def _daemon(paths: Paths, *around: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [*around, sys.executable, "-m", "reconciler", "--root", str(paths.root), "watch"]
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


@pytest.fixture
def filled(paths: Paths) -> Paths:
    """A node whose store has two extensions, one of them configured."""
    fill_store(paths, ONE, "one", "a")
    fill_store(paths, TWO, "two", "b")
    configure(paths, JUST_ONE)
    return paths


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def _placed(paths: Paths) -> list[str]:
    return sorted(os.listdir(paths.links(Kind.SYSEXT)))


def _save_in_place(main: Path) -> None:
    main.write_text(JUST_TWO)


def _save_by_rename(main: Path) -> None:
    other = main.with_name("extensions.yaml.swp")
    other.write_text(JUST_TWO)
    other.replace(main)


def _move_from_another_directory(main: Path) -> None:
    other = main.parent.parent / "elsewhere"
    other.write_text(JUST_TWO)
    other.replace(main)


def _remove_and_write(main: Path) -> None:
    main.unlink()
    time.sleep(0.3)
    main.write_text(JUST_TWO)


def _replace_the_directory(main: Path) -> None:
    main.parent.rename(main.parent.with_name("old"))
    time.sleep(0.3)
    main.parent.mkdir()
    main.write_text(JUST_TWO)


def _add_a_dropin(main: Path) -> None:
    (main.parent / "extensions.d/10.yaml").write_text(f"{JUST_TWO[:-2]}, one: null}}\n")


def _add_a_dropin_in_a_directory_that_was_not_there(main: Path) -> None:
    directory = main.parent.parent.parent / "usr/lib/livelayer/extensions.d"
    directory.mkdir(parents=True)
    (directory / "10.yaml").write_text(f"{JUST_TWO[:-2]}, one: null}}\n")


def _swap_a_linked_dropin(main: Path) -> None:
    """As mounted config maps do: the file is a link through a link that is swapped."""
    dropins = main.parent / "extensions.d"
    (dropins / "..1").mkdir()
    (dropins / "..1/10.yaml").write_text("{}\n")
    (dropins / "..data").symlink_to("..1")
    (dropins / "10.yaml").symlink_to("..data/10.yaml")
    time.sleep(0.5)
    (dropins / "..2").mkdir()
    (dropins / "..2/10.yaml").write_text(f"{JUST_TWO[:-2]}, one: null}}\n")
    (dropins / "..tmp").symlink_to("..2")
    (dropins / "..tmp").replace(dropins / "..data")


def _lead_away(main: Path, text: str) -> Path:
    """The directory of the configuration becomes a link to a release of it, through a link that is swapped later."""
    releases = main.parents[2] / "srv/releases"
    for number, content in enumerate((JUST_ONE, text), 1):
        (releases / f"{number}/livelayer").mkdir(parents=True)
        (releases / f"{number}/livelayer/extensions.yaml").write_text(content)
    (releases / "current").symlink_to("1")
    main.parent.rename(main.parent.with_name("old"))
    main.parent.symlink_to("/srv/releases/current/livelayer")
    time.sleep(1)
    return releases


def _swap_a_link_above(main: Path) -> None:
    releases = _lead_away(main, JUST_TWO)
    (releases / "new").symlink_to("2")
    (releases / "new").replace(releases / "current")


def _write_behind_links(main: Path) -> None:
    releases = _lead_away(main, JUST_ONE)
    (releases / "1/livelayer/extensions.yaml").write_text(JUST_TWO)


def _lead_to_what_comes_later(main: Path) -> None:
    main.unlink()
    main.symlink_to("/srv/later/extensions.yaml")
    (main.parents[2] / "srv").mkdir()
    time.sleep(0.5)
    (main.parents[2] / "srv/later").mkdir()
    time.sleep(0.5)
    (main.parents[2] / "srv/later/extensions.yaml").write_text(JUST_TWO)


def _write_what_a_link_leads_to(main: Path) -> None:
    elsewhere = main.parents[2] / "elsewhere.yaml"
    main.replace(elsewhere)
    main.symlink_to("../../elsewhere.yaml")
    time.sleep(0.5)
    elsewhere.write_text(JUST_TWO)


@pytest.mark.commands
@pytest.mark.parametrize(
    "save",
    [
        _save_in_place,
        _save_by_rename,
        _move_from_another_directory,
        _remove_and_write,
        _replace_the_directory,
        _add_a_dropin,
        _add_a_dropin_in_a_directory_that_was_not_there,
        _swap_a_linked_dropin,
        _swap_a_link_above,
        _write_behind_links,
        _lead_to_what_comes_later,
        _write_what_a_link_leads_to,
    ],
)
def test_every_way_of_saving_is_seen(filled: Paths, save: Callable[[Path], None]) -> None:
    with _daemon(filled):
        assert _eventually(lambda: _placed(filled) == ["one"])
        save(filled.main_files[0])
        assert _eventually(lambda: _placed(filled) == ["two"])


@pytest.mark.commands
@pytest.mark.parametrize("limit", ["max_inotify_watches", "max_inotify_instances"])
def test_where_the_kernel_tells_of_no_changes_it_is_said_and_looked_for_them(filled: Paths, limit: str) -> None:
    """A user namespace has limits of its own (namespaces(7))."""
    script = f'echo 0 > /proc/sys/user/{limit}; exec "$@"'
    with _daemon(filled, "unshare", "--user", "--map-root-user", "sh", "-c", script, "sh") as process:
        assert _eventually(lambda: _placed(filled) == ["one"])
        time.sleep(1)
        configure(filled, JUST_TWO)
        assert _eventually(lambda: _placed(filled) == ["two"])
        process.terminate()
        _, told = process.communicate(timeout=100)
    assert told.count("changes of the configuration are not told by the kernel: inotify") == 1
    assert "looking every 5 s instead" in told


@pytest.mark.commands
def test_cloud_configs_are_watched_with_all_below_them(filled: Paths) -> None:
    """The daemon learns from its first run where they are."""
    configure(filled, f"settings: {{cloud_config: [/oem]}}\n{JUST_ONE}")
    two = f"#cloud-config\nlivelayer:\n  {JUST_TWO}"
    with _daemon(filled):
        assert _eventually(lambda: _placed(filled) == ["one"])
        (filled.root / "oem").mkdir()
        (filled.root / "oem/50.yaml").write_text(two)
        assert _eventually(lambda: _placed(filled) == ["one", "two"])
        (filled.root / "oem/50.yaml").unlink()
        assert _eventually(lambda: _placed(filled) == ["one"])
        (filled.root / "oem/below").mkdir()
        time.sleep(0.5)
        (filled.root / "oem/below/50.yml").write_text(two)
        assert _eventually(lambda: _placed(filled) == ["one", "two"])


@pytest.mark.commands
def test_a_removed_dropin_is_seen(filled: Paths) -> None:
    dropin = filled.dropin_dirs[0] / "10.yaml"
    dropin.write_text(JUST_TWO)
    with _daemon(filled):
        assert _eventually(lambda: _placed(filled) == ["one", "two"])
        dropin.unlink()
        assert _eventually(lambda: _placed(filled) == ["one"])


@pytest.mark.commands
def test_it_rests_when_nothing_changes(filled: Paths) -> None:
    """A run writes its status into a watched directory, and must not wake itself."""
    filled.runtime.mkdir(parents=True)
    with _daemon(filled) as process:
        assert _eventually(filled.status.exists)
        time.sleep(0.5)
        before = filled.status.stat().st_mtime_ns
        filled.main_files[0].read_text()
        time.sleep(1)
        assert filled.status.stat().st_mtime_ns == before
        process.terminate()
        assert process.wait(100) == 0


@pytest.mark.commands
def test_a_broken_file_is_survived(filled: Paths) -> None:
    with _daemon(filled):
        assert _eventually(lambda: _placed(filled) == ["one"])
        filled.main_files[0].write_text("extensions: [")
        assert _eventually(lambda: filled.status.exists() and "no valid YAML" in filled.status.read_text())
        assert _placed(filled) == ["one"]
        filled.main_files[0].write_text(JUST_TWO)
        assert _eventually(lambda: _placed(filled) == ["two"])


@pytest.mark.commands
def test_a_hangup_is_a_reason_to_look_again_and_none_to_end(filled: Paths) -> None:
    with _daemon(filled) as process:
        assert _eventually(lambda: _placed(filled) == ["one"] and filled.status.exists())
        for _ in range(2):
            (filled.links(Kind.SYSEXT) / "one").unlink()  # of which no watch tells
            process.send_signal(signal.SIGHUP)
            assert _eventually(lambda: _placed(filled) == ["one"])
        assert process.poll() is None


@pytest.mark.commands
@pytest.mark.parametrize(("start", "ends"), [(["env", "--default-signal=HUP"], True), (["nohup"], False)])
def test_a_hangup_ends_a_run_and_its_skopeo(filled: Paths, tmp_path: Path, start: list[str], *, ends: bool) -> None:
    (fifo, pid_file) = (tmp_path / "fifo", tmp_path / "pid")
    os.mkfifo(fifo)
    slow = tmp_path / "bin/skopeo"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nread line < {fifo}\necho asked >&2\nexit 1\n")
    slow.chmod(0o755)
    configure(filled, "extensions: {three: {source: 'docker://registry/three:v1'}}")
    command = [*start, sys.executable, "-m", "reconciler", "--root", str(filled.root), "apply"]
    environment = {**os.environ, "PATH": f"{slow.parent}:{os.environ['PATH']}"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert _eventually(lambda: pid_file.exists() and bool(pid_file.read_text()))
        process.send_signal(signal.SIGHUP)
        if not ends:
            fifo.write_text("go on\n")
        assert process.wait(100) == (130 if ends else 1)
        assert process.stderr
        assert (b"ended by SIGHUP" if ends else b"asked") in process.stderr.read()
    assert _eventually(lambda: not Path(f"/proc/{pid_file.read_text().strip()}").exists())


@pytest.mark.commands
def test_systemd_is_told_of_readiness_status_life_and_end(filled: Paths, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        with _daemon(filled, NOTIFY_SOCKET=address, WATCHDOG_USEC="200000") as process:
            messages = _receive_until(manager, "STATUS=in sync: 1 extensions")
            messages += _receive_until(manager, "WATCHDOG=1")  # again and again, so also after the first run
            process.send_signal(signal.SIGTERM)
            messages += _receive_until(manager, "STOPPING=1")
            assert process.wait(100) == 0
    assert any("READY=1" in message for message in messages)


def _receive_until(manager: socket.socket, words: str) -> list[str]:
    messages: list[str] = []
    while not messages or words not in messages[-1]:
        messages.append(manager.recv(4096).decode())
    return messages


@pytest.mark.commands
def test_a_terminated_daemon_ends_in_the_middle_of_a_fetch_and_leaves_nothing(filled: Paths, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    slow = tmp_path / "bin/skopeo"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 300\n")
    slow.chmod(0o755)
    with _daemon(filled, PATH=f"{slow.parent}:{os.environ['PATH']}") as process:
        configure(filled, "extensions: {three: {source: 'docker://registry/three:v1'}}")
        assert _eventually(lambda: pid_file.exists() and bool(pid_file.read_text()))
        process.terminate()
        assert process.wait(100) == 0
    assert _eventually(lambda: _is_gone(pid_file.read_text().strip()))
    assert not filled.staging.exists() or not list(filled.staging.iterdir())


def _is_gone(pid: str) -> bool:
    """Dead, though whoever inherited it may not have looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def directories(filled: Paths) -> Iterator[tuple[Directories, threading.Event]]:
    """The watched directories of a node, and what they wake."""
    wake = threading.Event()
    watched = Directories(filled, wake)
    yield watched, wake
    watched.stop()


@pytest.mark.parametrize(
    ("make", "matters"),
    [
        (lambda it: FileClosedEvent(str(it.main_files[0])), True),
        (lambda it: FileModifiedEvent(str(it.main_files[0])), True),
        (lambda it: FileMovedEvent("/tmp/x", str(it.main_files[0])), True),
        (lambda it: FileClosedEvent(str(it.dropin_dirs[0] / "10.yaml")), True),
        (lambda it: FileClosedEvent(str(it.main_files[1])), True),
        (lambda it: DirModifiedEvent(str(it.dropin_dirs[1])), True),
        (lambda it: DirModifiedEvent(str(it.config_dirs[0])), True),
        (lambda it: DirModifiedEvent(str(it.config_dirs[1])), False),
        (lambda it: DirModifiedEvent(str(it.config_dirs[1].parent)), False),
        (lambda it: FileOpenedEvent(str(it.main_files[0])), False),
        (lambda it: FileClosedNoWriteEvent(str(it.main_files[0])), False),
        (lambda it: FileClosedEvent(str(it.status)), False),
        (lambda it: FileClosedEvent(str(it.lock)), False),
        (lambda it: FileMovedEvent(str(it.runtime / ".status.json.1"), str(it.status)), False),
        (lambda it: FileClosedEvent(str(it.root / "etc/passwd")), False),
    ],
)
def test_only_changes_of_configuration_wake(
    filled: Paths,
    directories: tuple[Directories, threading.Event],
    make: Callable[[Paths], FileSystemEvent],
    matters: bool,  # noqa: FBT001
) -> None:
    watched, wake = directories
    watched.on_any_event(make(filled))
    assert wake.is_set() is matters


def test_directories_come_and_go(filled: Paths, directories: tuple[Directories, threading.Event]) -> None:
    watched, wake = directories
    for _ in range(2):
        watched.rearm()
        shutil.rmtree(filled.config_dirs[0])
        watched.rearm()
        filled.dropin_dirs[0].mkdir(parents=True)
        watched.rearm()
        wake.clear()
        (filled.dropin_dirs[0] / "10.yaml").touch()
        assert wake.wait(100)


def test_a_file_that_is_named_is_watched(filled: Paths) -> None:
    named, wake = filled.root / "srv/named.yaml", threading.Event()
    named.parent.mkdir()
    watched = Directories(filled, wake, named)
    try:
        watched.rearm()
        named.write_text(JUST_TWO)
        assert wake.wait(100)
    finally:
        watched.stop()
