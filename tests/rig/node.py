"""A whole node: Debian's systemd as PID 1, booted with systemd-nspawn from a root of its own.

Roots are made once by mmdebstrap and kept; each test boots a copy. The node shares the network, so that it reaches a
registry on loopback.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections import defaultdict
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.luck import IS_LONG
from tests.rig.once import CACHE, once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROJECT: Final = Path(__file__).parent.parent.parent
_PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "kmod", "python3", "python3-venv"),
    *("skopeo", "ca-certificates", "make", "strace"),
)
_OPTIONS: Final = (
    # A release that is not current any more has an expired Release file.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--customize-hook=rm -rf $1/var/cache/apt/archives $1/var/lib/apt/lists",
)
_BOOT_SECONDS: Final = 90
_LOOP_MAJOR: Final = 7
# Where tests leave something on a node, beside /usr and /run.
_CHANGED: Final = (
    *("etc/livelayer", "etc/extensions", "etc/systemd/system", "etc/kairos-release", "oem", "srv", "usr/local/bin"),
    *("var/lib/confexts", "var/lib/extensions", "var/lib/kairos", "var/lib/livelayer"),
)
_UNMERGE: Final = """
for kind in sysext confext; do ! command -v systemd-$kind >/dev/null || systemd-$kind unmerge; done
rm -rf /run/begun /run/confexts /run/extensions /run/livelayer /run/systemd/system/* /run/systemd/transient/*
"""
# Nodes in one control group remove each other's: then systemd cannot spawn ("No such file or directory").
_OWN_CGROUP: Final = """
[ ! -e "${1%/*}/cgroup.procs" ] || { mkdir -p "$1" && echo $$ > "$1/cgroup.procs"; }
shift
exec "$@"
"""
_INSIDE: Final = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")


@cache
def _as_services_do() -> tuple[str, ...]:
    """What runs a program with no more than livelayer's services may do; in the long mode, every livelayer."""
    if not IS_LONG:
        return ()
    values = defaultdict[str, list[str]](list)
    for line in (PROJECT / "systemd/hardening.conf").read_text().splitlines():
        key, is_set, value = line.partition("=")
        if is_set and not key.startswith("#"):
            values[key].append(value)
    properties = (f"--property={key}={' '.join(it)}" for key, it in values.items())
    return ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *properties)


def debian_root(suite: str, *packages: str) -> Path:
    """The root of a minimal Debian with systemd, Python, skopeo and more; made once, complete or absent."""
    options = ["--variant=minbase", f"--include={','.join((*_PACKAGES, *packages))}", *_OPTIONS]
    key = hashlib.sha256(" ".join(options).encode()).hexdigest()[:12]

    def make(root: Path) -> None:
        command = ["mmdebstrap", "--quiet", *options, suite, str(root)]
        # No initial RAM disk, if there is a kernel: it would take longer to make than the root.
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env={**os.environ, "INITRD": "No"})

    return once(CACHE, f"{suite}-{key}", make)


def copy_root(origin: Path, root: Path) -> None:
    """A root of one's own. Files below /usr are shared as hard links: nothing writes into them, they are replaced."""
    root.mkdir(mode=0o755)
    tops = [str(path) for path in origin.iterdir() if path.name != "usr"]
    subprocess.run(["cp", "--archive", *tops, str(root)], check=True)
    subprocess.run(["cp", "--archive", "--link", str(origin / "usr"), str(root)], check=True)


def spare_generators(root: Path) -> None:
    """Mask the generators that find nothing in a container: each of the many reloads would start all of them."""
    masks = root / "etc/systemd/system-generators"
    masks.mkdir()
    for path in (root / "usr/lib/systemd/system-generators").iterdir():
        if path.name != "systemd-fstab-generator":
            (masks / path.name).symlink_to("/dev/null")


def install_livelayer(root: Path, wheel: Path, dependencies: Path) -> None:
    """Install from this checkout as a user would: the wheel, on the node's own Python, through `make install`.

    `dependencies` holds the wheels of what it needs, since a node need not reach an index.
    """
    source = root / "usr/src/livelayer"
    source.mkdir(parents=True)
    for name in ("Makefile", "config", "systemd", "docs", "system-packages.txt"):
        origin = PROJECT / name
        if origin.is_dir():
            shutil.copytree(origin, source / name)
        else:
            shutil.copy2(origin, source / name)
    shutil.copytree(PROJECT / "build/man", source / "build/man")
    shutil.copytree(dependencies, source / "wheels")
    shutil.copy2(wheel, source / "wheels")
    offline = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=wheels", "PIP_ROOT_USER_ACTION=ignore")
    make = ("make", "--directory=/usr/src/livelayer", "install", f"PACKAGE=wheels/{wheel.name}")
    run_in_root(root, *offline, *make)


def run_in_root(root: Path, *arguments: str, options: Sequence[str] = ()) -> None:
    """Run a program in a root that is not booted; `options` are systemd-nspawn's."""
    inside = ["systemd-nspawn", *_nspawn_options(root), *options, "--pipe"]
    done = subprocess.run([*inside, *_INSIDE, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}")


def _nspawn_options(root: Path) -> list[str]:
    """Each root a machine of its own name: two of one name share a directory in /run."""
    name = f"livelayer-{os.getpid()}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
    return ["--quiet", "--register=no", "--keep-unit", f"--machine={name}", f"--directory={root}"]


class Node:
    """A booted node; its files are at `root`, also while it is off."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        self._options = options  # systemd-nspawn's
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._idle_units: set[str] = set()  # that are active after a boot without any extension
        self._cursor = ""  # what the journal had when the node was reset
        self._cgroup = _cgroup_of(root)

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()

    def boot(self) -> None:
        """Switch on and wait until nothing is starting any more."""
        with (self.root.parent / f"{self.root.name}.console").open("ab") as console:
            self._process = subprocess.Popen(
                # SIGTERM powers it off; SIGKILL would leave it running.
                [
                    *("sh", "-c", _OWN_CGROUP, "sh", str(self._cgroup)),
                    "setpriv",
                    "--pdeathsig=TERM",
                    "systemd-nspawn",
                    *_nspawn_options(self.root),
                    *self._options,
                    "--boot",
                ],
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self._wait_for("a leader", self._find_leader)
        self._wait_for(
            "a manager", lambda: self.run("test", "-S", "/run/systemd/private", status=None).returncode == 0
        )
        self.run("systemctl", "is-system-running", "--wait", status=None)
        self._idle_units = self._idle_units or self._active_units()

    def reset(self, origin: Path) -> None:
        """Whatever a test did, be as after a boot from a copy of `origin`."""
        if self._process is None:
            self.boot()
        if left := sorted(self._active_units() - self._idle_units):
            self.run("systemctl", "stop", *left, status=None)
        self.run("sh", "-c", _UNMERGE)
        for place in _CHANGED:
            subprocess.run(["rm", "-rf", str(self.root / place)], check=True)
            if (origin / place).exists():
                subprocess.run(["cp", "--archive", str(origin / place), str(self.root / place)], check=True)
        self.run(
            "sh",
            "-c",
            "systemctl daemon-reload && systemctl reset-failed && systemd-tmpfiles --create livelayer.conf",
        )
        shown = self.run("journalctl", "--quiet", "--lines=1", "--show-cursor", "--output=cat").stdout
        self._cursor = shown.rpartition("-- cursor: ")[2].strip()

    def _active_units(self) -> set[str]:
        kinds = "--type=path,service,socket,timer"
        listed = self.run("systemctl", "list-units", kinds, "--plain", "--no-legend", "--state=active,activating")
        return {line.split()[0] for line in listed.stdout.splitlines()}

    def power_off(self) -> None:
        """Switch off cleanly."""
        if self._process is None:
            return
        self.run("systemctl", "poweroff", status=None)
        try:
            self._process.wait(timeout=_BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._process = None
        _remove_cgroup(self._cgroup)

    def reboot(self) -> None:
        """Switch off and on."""
        self.power_off()
        self.boot()

    def run(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a program on the node; `status` is what it must exit with, None: anything."""
        if arguments[0] == "livelayer":
            arguments = (*_as_services_do(), *arguments)
        command = ["nsenter", f"--target={self._leader}", "--all", "--wdns=/", *_INSIDE, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL
        )
        if status is not None and done.returncode != status:
            raise AssertionError(f"{arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def path(self, absolute: str) -> Path:
        """A file of the node, from outside."""
        return self.root / absolute.lstrip("/")

    def write(self, absolute: str, text: str) -> None:
        """Write a file of the node, from outside."""
        path = self.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def journal(self, unit: str) -> str:
        """What a unit logged in this boot, since the node was reset."""
        since = [f"--after-cursor={self._cursor}"] if self._cursor else []
        return self.run("journalctl", "--boot", "--no-pager", "--output=cat", f"--unit={unit}", *since).stdout

    def make_loop_devices(self, count: int = 64) -> None:
        """Device nodes that a container has not, for image files; it must have been given /dev/loop-control."""
        for number in range(count):
            device = Path(f"/proc/{self._leader}/root/dev/loop{number}")
            if not device.exists():
                os.mknod(device, stat.S_IFBLK | 0o660, os.makedev(_LOOP_MAJOR, number))

    def _find_leader(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise AssertionError(f"nspawn ended with status {self._process.returncode}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._leader = next((int(child) for child in children if _is_init(child)), 0)
        return self._leader != 0

    def _wait_for(self, what: str, condition: object) -> None:
        assert callable(condition)
        deadline = time.monotonic() + _BOOT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"the node has no {what} after {_BOOT_SECONDS} s")
            time.sleep(0.05)


def _cgroup_of(root: Path) -> Path:
    """The control group for a node, where this machine has cgroup2."""
    tops = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    top = next((it for it in tops if (it / "cgroup.procs").exists()), tops[-1])
    return top / f"livelayer-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}"


def _remove_cgroup(top: Path) -> None:
    """As far as the kernel lets it go: an empty one is in nobody's way."""
    with suppress(OSError):
        for directory in sorted((top, *(it for it in top.rglob("*") if it.is_dir())), reverse=True):
            directory.rmdir()


def _is_init(process: str) -> bool:
    """Whether a child of nspawn's has become the node's PID 1: the second and last number of NSpid is 1."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        executable = Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return False
    ids = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return len(ids) > 1 and ids[-1] == "1" and executable == "systemd"
