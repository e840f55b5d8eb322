"""What this node is: its os-release, its machine, its systemd."""

from __future__ import annotations

import logging
import os
import re
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid
from reconciler.host.base.bounded import opened, read_bounded
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.fit.release import LIKE_SINCE, Host
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_UNITS: Final = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
_BOOTED: Final = "/run/systemd/system"
_OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")
_INITRD_RELEASE: Final = "/etc/initrd-release"  # what tells an initrd from a system, to systemd as well
_IN_CONTAINER: Final = "/run/systemd/container"  # PID 1 notes there in what it runs
_SWITCHED: Final = 261  # the systemd that brought systemd.sysext= and systemd.confext=
_NO: Final = frozenset({"0", "no", "n", "false", "f", "off"})
_KAIROS_RELEASE: Final = "/etc/kairos-release"
_BOOT_STATES: Final = ("recovery", "autoreset", "live", "passive", "active")
_LIKE_IN_POINT_RELEASES: Final = range(255, LIKE_SINCE)  # those that were maintained when it came
_SHARED_LIBRARY: Final = re.compile(r"libsystemd-shared-(\d+)")
_PROGRAM_MAX: Final = 16 << 20  # bytes
# For a root without systemd: it knows both kinds, and what it accepts all later ones do.
_ASSUMED_SYSTEMD: Final = 254
# e_machine of ELF files, by uname(2)'s names.
_ELF_MACHINES: Final = {
    3: "i686",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}


def read_other_os(file: Path) -> dict[str, str]:
    """The os-release file of another OS, which a user names."""
    hint = "name the os-release file of the other OS"
    with Invalid.on_oserror(f"{file}: cannot be read", hint):
        fields = read_assignments(read_bounded(file).decode(errors="replace"))
    if not fields:
        raise Invalid(f"{file} is no os-release file", hint)
    return fields


def read_host(paths: Paths) -> Host:
    systemd = systemd_version(paths)
    has_id_like = looks_at_id_like(paths, systemd)
    kernel = os.uname().release if paths.is_running_system else ""
    return Host(
        read_os_release(paths),
        _machine(paths),
        systemd,
        has_id_like=has_id_like,
        kernel=kernel,
        scope="initrd" if os.path.exists(paths.under(_INITRD_RELEASE)) else "system",  # noqa: PTH110 - no-op path
    )


def with_image_support(host: Host) -> Host:
    """With what this node has and demands for image files, which takes asking systemd."""
    from reconciler.host.node import loopdevices
    from reconciler.host.node.imagepolicies import read_policies

    return replace(
        host,
        image_policies=read_policies(host.systemd),
        has_loop_devices=loopdevices.loop_devices_available(),
        has_device_mapper=loopdevices.device_mapper_available(),
    )


def booted_with_systemd() -> bool:
    """See sd_booted(3)."""
    return os.path.isdir(_BOOTED)  # noqa: PTH112 - no object for it, on the no-op path


def merged_at_boot(pulling: Sequence[str]) -> frozenset[Kind]:
    """The kinds whose unit that merges at boot is pulled in by something, by itself or by our own unit."""
    merging = {kind: ("livelayer-boot.service", f"systemd-{kind}.service") for kind in Kind}
    return frozenset(kind for kind, units in merging.items() if _is_any_in(units, pulling))


def activated_at_boot(pulling: Sequence[str]) -> bool:
    """Whether a unit of ours that starts units of extensions is pulled in at boot, soon or once the network is up."""
    return _is_any_in([f"livelayer-{it}.service" for it in ("activate", "boot", "online", "watch")], pulling)


def _is_any_in(units: Iterable[str], directories: Sequence[str]) -> bool:
    return any(os.path.lexists(f"{directory}/{unit}") for unit in units for directory in directories)


def pulling_directories() -> Iterator[str]:
    """Those with links to the units that targets pull in at boot (systemd.unit(5))."""
    for place in _UNITS:
        with suppress(OSError):
            names = os.listdir(place)  # noqa: PTH208 - names are all that is needed, on the no-op path
            yield from (f"{place}/{name}" for name in names if name.endswith((".wants", ".requires", ".upholds")))


def switched_off(systemd: int) -> frozenset[Kind]:
    """The kinds that the running system does not merge, by its kernel command line: that of PID 1 in a container."""
    if systemd < _SWITCHED:
        return frozenset()
    file = "/proc/1/cmdline" if os.path.exists(_IN_CONTAINER) else "/proc/cmdline"  # noqa: PTH110 - as above
    try:
        words = Path(file).read_text(errors="replace").replace("\0", " ").split()
    except OSError:
        return frozenset()
    said = dict(word.partition("=")[::2] for word in words)
    return frozenset(kind for kind in Kind if said.get(f"systemd.{kind}", "").lower() in _NO)


def is_kairos(paths: Paths) -> bool:
    """Whether the node runs Kairos: it has a release file of its own; older ones have keys in os-release."""
    if paths.under(_KAIROS_RELEASE).exists():
        return True
    return any(re.search(r"^KAIROS_", text, re.MULTILINE) for text in _os_release_texts(paths))


def read_boot_state(paths: Paths) -> str:
    """What immucore has marked in the initrd; a node without its marks has been booted as usual."""
    for state in _BOOT_STATES:
        if paths.under(f"/run/cos/{state}_mode").exists():
            return state
    return "active"


def systemd_version(paths: Paths) -> int:
    """Read off the name of its library, which costs no process and also holds for a root that is not running."""
    versions = [int(match[1]) for path in _libraries(paths) if (match := _SHARED_LIBRARY.match(path.name))]
    if versions:
        return max(versions)
    if paths.is_running_system:
        return _ask_systemd_sysext()
    log.warning("%s: no systemd is installed there; the rules of %d are assumed", paths.root, _ASSUMED_SYSTEMD)
    return _ASSUMED_SYSTEMD


def looks_at_id_like(paths: Paths, systemd: int) -> bool:
    """Whether the systemd below the root matches extensions by the host's ID_LIKE.

    Point releases brought it to older versions, whose number does not show in the name of the library. The program
    itself does: it has the name of every field that it looks at.
    """
    if systemd not in _LIKE_IN_POINT_RELEASES:
        return systemd >= LIKE_SINCE
    try:
        return b"ID_LIKE" in read_bounded(paths.under("/usr/bin/systemd-sysext"), _PROGRAM_MAX)
    except OSError:
        return False


def _libraries(paths: Paths) -> Iterator[Path]:
    """Fedora and its kin keep the library in /usr/lib/systemd, Debian in the multi-arch directory's."""
    for library in ("/usr/lib", "/usr/lib64"):
        directory = paths.under(library)
        for place in (directory / "systemd", *directory.glob("*-linux-gnu*/systemd")):
            if place.is_dir():
                names = os.listdir(place)  # noqa: PTH208 - names are all that is needed, on the no-op path
                yield from (place / name for name in names if name.startswith("libsystemd-shared-"))


def _machine(paths: Paths) -> str:
    """The machine the root is for: another one's can be filled, too."""
    if not paths.is_running_system:
        for library in _libraries(paths):
            if machine := _elf_machine(library):
                return machine
    return os.uname().machine


def _elf_machine(path: Path) -> str | None:
    try:
        with opened(path) as file:
            head = file.read(20)
    except OSError:
        return None
    if not head.startswith(b"\x7fELF") or len(head) < 20:  # noqa: PLR2004 - up to e_machine
        return None
    order = "<" if head[5] == 1 else ">"
    return _ELF_MACHINES.get(struct.unpack_from(f"{order}H", head, 18)[0])


def _ask_systemd_sysext() -> int:
    from reconciler.host.base.command import check, run

    words = check(run("systemd-sysext", "--version", timeout=30), "systemd-sysext --version").stdout.split()
    return int(re.sub(rb"\D.*", b"", words[1]))


def read_os_release(paths: Paths) -> dict[str, str]:
    for text in _os_release_texts(paths):
        return read_assignments(text)
    hint = "extensions are matched against /etc/os-release"
    if not paths.is_running_system:
        hint += "; check the path given to --root"
    raise Failed(f"{paths.root}: there is no os-release file", hint, code="host.no-os-release")


def _os_release_texts(paths: Paths) -> Iterator[str]:
    for name in _OS_RELEASE:
        try:
            yield read_bounded(paths.under(name)).decode(errors="replace")
        except (OSError, Invalid):
            continue
