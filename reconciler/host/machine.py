"""What this node is: its os-release, its machine, its systemd."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed
from reconciler.model.release import Host, parse_release

if TYPE_CHECKING:
    from reconciler.paths import Paths

_OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")
_KAIROS_RELEASE: Final = "/etc/kairos-release"
_SHARED_LIBRARY: Final = re.compile(r"libsystemd-shared-(\d+)")


def read_host(paths: Paths) -> Host:
    """The facts about a node that decide which extensions fit.

    Raises:
        Failed: there is no os-release or no systemd below the root.
    """
    return Host(_os_release(paths), os.uname().machine, systemd_version(paths))


def is_kairos(paths: Paths) -> bool:
    """Whether the node runs Kairos: it has a release file of its own, before 2024 keys in os-release instead."""
    if paths.under(_KAIROS_RELEASE).exists():
        return True
    try:
        return any(key.startswith("KAIROS_") for key in _os_release(paths))
    except Failed:
        return False


def systemd_version(paths: Paths) -> int:
    """The version of the systemd installed below the root.

    Read off the name of its library, which costs no process and also holds for a root that is not running.

    Raises:
        Failed: there is no systemd.
    """
    versions = [int(match[1]) for name in _library_names(paths) if (match := _SHARED_LIBRARY.match(name))]
    if versions:
        return max(versions)
    if paths.is_running_system:
        return _ask_systemd_sysext()
    raise Failed(f"{paths.root}: no systemd is installed there", "check the path given to --root")


def _library_names(paths: Paths) -> list[str]:
    """Fedora and its kin keep the library in /usr/lib/systemd, Debian in the multi-arch directory's."""
    names: list[str] = []
    for library in ("/usr/lib", "/usr/lib64"):
        directory = paths.under(library)
        for place in (directory / "systemd", *directory.glob("*-linux-gnu*/systemd")):
            if place.is_dir():
                names += os.listdir(place)  # noqa: PTH208 - names are all that is needed, on the no-op path
    return names


def _ask_systemd_sysext() -> int:
    from reconciler.host.command import check, run

    words = check(run("systemd-sysext", "--version", timeout=30), "systemd-sysext --version").stdout.split()
    return int(re.sub(rb"\D.*", b"", words[1]))


def _os_release(paths: Paths) -> dict[str, str]:
    for name in _OS_RELEASE:
        try:
            return parse_release(paths.under(name).read_text(errors="replace"))
        except OSError:
            continue
    raise Failed(f"{paths.root}: there is no os-release file", "extensions are matched against /etc/os-release")
