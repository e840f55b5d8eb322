"""A whole machine with a kernel of its own, in qemu: for device-mapper and for power cuts.

The processor is emulated, so it works inside any machine, and slowly. There is no network, and no initial RAM disk,
since Debian's cloud kernel has NVMe and ext4 built in. A small agent inside runs commands that come over a virtio
port, one JSON object a line.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.rig.node import debian_root

if TYPE_CHECKING:
    from types import TracebackType

_PACKAGES: Final = (
    *("linux-image-cloud-amd64", "udev"),
    # What makes disk images, and what systemd loads at run time to read and verify them.
    *("systemd-repart", "squashfs-tools", "erofs-utils", "openssl", "libcryptsetup12", "systemd-container"),
)
# What a boot under emulation would spend half its time on, and no test looks at.
_MASKED: Final = (
    *("dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service"),
    *("sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount"),
    *("sys-kernel-tracing.mount", "modprobe@configfs.service", "modprobe@drm.service", "modprobe@efi_pstore.service"),
    *("modprobe@fuse.service", "getty@tty1.service", "serial-getty@ttyS0.service", "systemd-logind.service"),
    "systemd-udev-trigger.service",
)
_BOOT_SECONDS: Final = 240
_COMMAND_SECONDS: Final = 240
_UNIT: Final = """\
[Unit]
Description=Run what comes over the virtio port

[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/rig_agent.py
WorkingDirectory=/
Environment=HOME=/root

[Install]
WantedBy=multi-user.target
"""
_AGENT: Final = """\
import base64, glob, json, os, pathlib, subprocess

# The kernel's own name, since udev may name it later; it can be opened once only.
port = os.open(*glob.glob("/dev/vport*"), os.O_RDWR)
asked, answers = os.fdopen(port, "rb"), os.fdopen(os.dup(port), "w")

def answer(document):
    print(json.dumps(document), file=answers, flush=True)

def execute(arguments):
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, errors="backslashreplace",
                              stdin=subprocess.DEVNULL)
    except OSError as error:
        return {"status": 127, "stdout": "", "stderr": str(error)}
    return {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

def write(path, content, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)

answer("ready")
for line in asked:
    match json.loads(line):
        case {"run": arguments}:
            answer(execute(arguments))
        case {"write": path, "content": content, "mode": mode}:
            write(pathlib.Path(path), base64.b64decode(content), mode)
            answer("written")
"""


def guest_root() -> Path:
    """The root of a Debian with kernel and systemd 257; to be copied, not to be booted."""
    return debian_root("trixie", *_PACKAGES)


class Guest:
    """A machine whose disk is made from the tree `root`, which becomes its own; `root` has to have a kernel.

    The disk outlives the machine: after `kill` a further `boot` finds what had reached it. What the guest wrote and
    did not sync yet is lost then, as in a power cut; the order of what had left it is kept, unlike in some real ones.
    """

    def __init__(self, root: Path, *, disk_bytes: int = 4 << 30, memory_mib: int = 1024) -> None:
        self.disk = root.parent / f"{root.name}.disk"
        self.console = root.parent / f"{root.name}.console"
        self._memory_mib = memory_mib
        (self._kernel,) = Path(root, "boot").glob("vmlinuz-*")
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._answers = b""
        _prepare(root)
        _make_disk(root, self.disk, disk_bytes)

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def boot(self) -> None:
        """Switch on and wait until nothing is starting any more."""
        self._channel, port = socket.socketpair()
        self._answers = b""
        with port, self.console.open("ab") as console:
            self._process = subprocess.Popen(
                # It does not outlive the tests, whatever ends them.
                ["setpriv", "--pdeathsig=KILL", *self._command(port.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=[port.fileno()],
            )
        assert self._answer(_BOOT_SECONDS) == "ready"
        self.run("systemctl", "is-system-running", "--wait", status=None)

    def kill(self) -> None:
        """Cut the power."""
        if self._process and self._channel:
            self._process.kill()
            self._process.wait()
            self._channel.close()
            self._process = self._channel = None

    def run(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a program inside; `status` is what it must exit with, None: anything."""
        answer = self._ask({"run": arguments})
        done = subprocess.CompletedProcess(arguments, answer["status"], answer["stdout"], answer["stderr"])
        if status is not None and done.returncode != status:
            raise AssertionError(f"{arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def write(self, absolute: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file inside."""
        data = content.encode() if isinstance(content, str) else content
        self._ask({"write": absolute, "content": base64.b64encode(data).decode(), "mode": mode})

    def copy_in(self, origin: Path, absolute: str) -> None:
        """Copy a file into the guest."""
        self.write(absolute, origin.read_bytes(), origin.stat().st_mode & 0o7777)

    def journal(self, unit: str) -> str:
        """What a unit logged in this boot."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def _command(self, port: int) -> list[str]:
        kernel = "root=/dev/nvme0n1 rw console=ttyS0 panic=-1 loglevel=4 mitigations=off"
        return [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            # A model without AVX: qemu 7.2 emulates it wrongly, and the C library would use it for strings.
            *("-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "Nehalem"),
            *("-smp", "2", "-m", str(self._memory_mib), "-serial", "stdio"),
            *("-kernel", str(self._kernel), "-append", kernel),
            # What the guest has written out survives qemu's end in any case; so syncing costs nothing.
            *("-drive", f"file={self.disk},format=raw,if=none,id=disk,cache=unsafe"),
            *("-device", "nvme,serial=root,drive=disk"),
            *("-chardev", f"socket,id=agent,fd={port}", "-device", "virtio-serial"),
            *("-device", "virtserialport,chardev=agent"),
        ]

    def _ask(self, request: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
        assert self._channel, "the guest is off"
        self._channel.settimeout(_COMMAND_SECONDS)
        self._channel.sendall(json.dumps(request).encode() + b"\n")
        return self._answer(_COMMAND_SECONDS)

    def _answer(self, seconds: float) -> Any:  # noqa: ANN401  # JSON
        assert self._channel
        self._channel.settimeout(seconds)
        while b"\n" not in self._answers:
            try:
                received = self._channel.recv(1 << 16)
            except TimeoutError:
                raise AssertionError(f"no answer within {seconds} s\n{self._last_words()}") from None
            if not received:
                raise AssertionError(f"the guest is gone\n{self._last_words()}")
            self._answers += received
        line, _, self._answers = self._answers.partition(b"\n")
        return json.loads(line)

    def _last_words(self) -> str:
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-60:])


def _prepare(root: Path) -> None:
    """Put the agent in, and leave out of the first boot what is not worth its time."""
    system = root / "etc/systemd/system"
    for unit in _MASKED:
        (system / unit).symlink_to("/dev/null")
    for directory in ("etc", "var"):
        (root / directory / ".updated").touch()
    agent = root / "usr/local/lib/rig_agent.py"
    agent.parent.mkdir(parents=True, exist_ok=True)
    agent.write_text(_AGENT)
    (system / "rig-agent.service").write_text(_UNIT)
    wants = system / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "rig-agent.service").symlink_to("../rig-agent.service")


def _make_disk(root: Path, disk: Path, size: int) -> None:
    with disk.open("wb") as file:
        file.truncate(size)
    options = ["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"]
    subprocess.run(["mkfs.ext4", "-q", *options, "-d", str(root), str(disk)], check=True)
