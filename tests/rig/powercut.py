"""A machine that is woken in the middle of its life, with another disk each time, and whose power is cut.

A whole boot under emulation takes many seconds. So the machine boots once, from a root disk that is never written to,
and loads what it needs; then it is frozen into a file, from which it is woken as often as needed, in a second. Its
other disks are mounted only then. There is no systemd: a shell script is the first process.

The disks are files that qemu writes to at once: what the guest wrote is there after SIGKILL, what it had in memory is
lost. To lose more, as a disk with a cache of its own would, there is a log of all writes: see `writelog`.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.rig.guest import guest_root
from tests.rig.initramfs import write_initramfs
from tests.rig.node import PROJECT, copy_root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_LIBRARY: Final = "usr/local/lib/rig"
_PYTHON: Final = "3.13"  # the guest's
_PLATFORMS: Final = (
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_28_x86_64",
    "manylinux_2_34_x86_64",
)
_MODULES: Final = "overlay xfs btrfs loop erofs"
_INIT: Final = f"""\
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root PYTHONPATH=/{_LIBRARY}
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for directory in /run /tmp /var/tmp /etc/livelayer; do mount -t tmpfs -o mode=0755 tmpfs "$directory"; done
mount --make-rshared /
modprobe --all {_MODULES}
skopeo --version
python3 -B /{_LIBRARY}/powerloop.py 2>&1 | cat  # not a terminal, for which progress would be drawn
echo "the loop has ended"
echo o >/proc/sysrq-trigger
sleep 1000
"""
_FIRST: Final = f"/{_LIBRARY}/init"
# On a machine that has much else to do.
_BOOT_SECONDS: Final = 900
_ANSWER_SECONDS: Final = 600


class PowerLostError(Exception):
    """The machine ended by itself."""


class Machine:
    """One machine, with two disks besides its root; at most one of it runs at a time."""

    def __init__(self, scratch: Path, programs: Sequence[Path], disk_bytes: int) -> None:
        """`programs` go into the guest; the one called `powerloop.py` is started there."""
        self._scratch = scratch
        self._programs = programs
        self._size = disk_bytes
        self._frozen = scratch / "frozen"
        self.console = scratch / "console"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._lines = b""

    def __enter__(self) -> Self:
        root = self._scratch / "root"
        copy_root(guest_root(), root)
        self._install(root)
        (kernel,) = Path(root, "boot").glob("vmlinuz-*")
        shutil.copy(kernel, self._scratch / "kernel")
        write_initramfs(root, self._scratch / "initramfs", ["virtio_blk"], _FIRST)
        _make_root_disk(root, self._scratch / "root.disk")
        shutil.rmtree(root)
        self._freeze()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()

    def new_disk(self, name: str) -> Path:
        """An empty disk; all have one size, since a woken machine knows it already."""
        disk = self._scratch / name
        with disk.open("wb") as file:
            file.truncate(self._size)
        return disk

    def wake(self, disks: Sequence[Path], log: Path | None, orders: dict[str, Any]) -> None:
        """Let it go on from where it was frozen, with disks; `log` is to take what the first one is told to write."""
        self._start(disks, log, "-incoming", f"exec:cat {self._frozen}")
        assert self._channel
        self._channel.sendall(json.dumps(orders).encode() + b"\n")

    def cut(self) -> list[dict[str, Any]]:
        """Cut the power; returns what it had told and nobody had read yet."""
        told = []
        if self._process and self._channel:
            self._process.kill()
            self._process.wait()
            with suppress(PowerLostError):
                while line := self.next_line():
                    told.append(line)
            self._channel.close()
            self._process = self._channel = None
        return told

    def next_line(self, seconds: float = _ANSWER_SECONDS) -> dict[str, Any] | None:
        """The next thing that it tells; None: nothing within the time.

        Raises:
            PowerLostError: it is gone.
        """
        assert self._channel
        deadline = time.monotonic() + seconds
        while b"\n" not in self._lines:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                received = self._channel.recv(1 << 16)
            except TimeoutError:
                return None
            if not received:
                raise PowerLostError(self.last_words())
            self._lines += received
        line, _, self._lines = self._lines.partition(b"\n")
        return dict(json.loads(line))

    def last_words(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-40:])

    def _install(self, root: Path) -> None:
        library = root / _LIBRARY
        declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
        platforms = [f"--platform={it}" for it in _PLATFORMS]
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        how = ["--only-binary=:all:", f"--python-version={_PYTHON}", "--no-compile", f"--target={library}"]
        locked = f"--constraint={PROJECT / 'requirements.lock'}"
        subprocess.run([*pip, *how, *platforms, locked, *declared], check=True)
        shutil.copytree(PROJECT / "reconciler", library / "reconciler")
        for program in self._programs:
            shutil.copy(program, library)
        (root / "etc/livelayer").mkdir()
        (root / _FIRST.removeprefix("/")).write_text(_INIT)
        (root / _FIRST.removeprefix("/")).chmod(0o755)
        compile_all = ["python3", "-m", "compileall", "-q", f"/{_LIBRARY}"]
        subprocess.run(["chroot", str(root), *compile_all], check=True)

    def _freeze(self) -> None:
        disks = [self.new_disk("empty-0"), self.new_disk("empty-1")]
        monitor, port = socket.socketpair()
        with monitor, port:
            chardev = ["-chardev", f"socket,id=monitor,fd={port.fileno()}", "-mon", "chardev=monitor,mode=control"]
            self._start(disks, None, *chardev, inherited=(port.fileno(),))
            ready = self.next_line(_BOOT_SECONDS)
            assert ready == {"ready": True}, f"{ready}\n{self.last_words()}"
            _migrate(monitor, self._frozen)
        self.cut()

    def _start(self, disks: Sequence[Path], log: Path | None, *options: str, inherited: tuple[int, ...] = ()) -> None:
        self._channel, port = socket.socketpair()
        self._lines = b""
        with port, self.console.open("ab") as console:
            self._process = subprocess.Popen(
                # It does not outlive the tests, whatever ends them.
                ["setpriv", "--pdeathsig=KILL", *self._command(port.fileno()), *_drives(disks, log), *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=[port.fileno(), *inherited],
            )

    def _command(self, port: int) -> list[str]:
        words = "console=ttyS0 panic=-1 loglevel=4 mitigations=off raid6_pq.benchmark=0"
        root: dict[str, Any] = {
            "driver": "raw",
            "file": {"driver": "file", "filename": str(self._scratch / "root.disk")},
        }
        root |= {"node-name": "root", "read-only": True}
        return [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            # See `guest` for the model. A single processor: the loop has little for a second one.
            *("-machine", "pc", "-accel", "tcg", "-cpu", "Nehalem", "-smp", "1", "-m", "512", "-serial", "stdio"),
            *(
                "-kernel",
                str(self._scratch / "kernel"),
                "-initrd",
                str(self._scratch / "initramfs"),
                "-append",
                words,
            ),
            *("-blockdev", json.dumps(root), "-device", "virtio-blk-pci,drive=root"),
            *("-chardev", f"socket,id=agent,fd={port}", "-device", "virtio-serial"),
            *("-device", "virtserialport,chardev=agent"),
        ]


def _drives(disks: Sequence[Path], log: Path | None) -> list[str]:
    """The first disk's writes go through a log, if there is one."""
    options = []
    for number, disk in enumerate(disks):
        node: dict[str, Any] = {"driver": "raw", "file": _file(disk)}
        if log and number == 0:
            log.write_bytes(b"")
            node = {"driver": "blklogwrites", "file": node, "log": {"driver": "raw", "file": _file(log)}}
            node |= {"log-sector-size": 512}
        options += ["-blockdev", json.dumps(node | {"node-name": f"disk{number}"})]
        options += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    return options


def _file(path: Path) -> dict[str, Any]:
    """What qemu has written survives its end; so it need not sync."""
    return {"driver": "file", "filename": str(path), "cache": {"no-flush": True}}


def _migrate(monitor: socket.socket, target: Path) -> None:
    """Write the machine's state into a file; afterwards it stands still."""
    with monitor.makefile("rw") as stream:

        def ask(command: str, **arguments: Any) -> Any:  # noqa: ANN401  # JSON
            print(json.dumps({"execute": command, "arguments": arguments}), file=stream, flush=True)
            while "return" not in (answer := json.loads(stream.readline())):
                assert "error" not in answer, answer
            return answer["return"]

        ask("qmp_capabilities")
        ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        ask("migrate", uri=f"exec:cat >{target}")
        while (status := ask("query-migrate").get("status")) != "completed":
            assert status in {None, "setup", "active", "device"}, status
            time.sleep(0.05)


def _make_root_disk(root: Path, disk: Path) -> None:
    with disk.open("wb") as file:
        file.truncate(2 << 30)
    options = ["-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"]
    subprocess.run(["mkfs.ext4", "-q", *options, "-d", str(root), str(disk)], check=True)
