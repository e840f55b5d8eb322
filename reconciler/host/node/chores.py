"""The programs by which a running system takes up what was merged onto it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final, assert_never

from reconciler.errors import Failed
from reconciler.host.base.command import Finished, available, run
from reconciler.model.facts.needs import Chore, Needs

_TIMEOUT: Final = 90.0  # seconds
_UDEV: Final = Path("/run/udev/control")
_NETWORKD: Final = Path("/run/systemd/netif/state")
_DBUS: Final = Path("/run/dbus/system_bus_socket")
_BUS: Final = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
_READ_ONLY: Final = (
    "/etc is read-only while configuration extensions are merged; do it once without them: "
    "systemd-confext unmerge; {command}; systemd-confext refresh; livelayer activate"
)
_WRITES: Final = "Would write"  # what systemd-sysusers --dry-run says where something is missing


def do_chore(chore: Chore, needs: Needs, *, booting: bool) -> None:
    """Do what an extension's content asks for, where the system has what it is for; Failed says why it was not done.

    While the system is `booting`, lines of tmpfiles.d(5) for the boot count, too.
    """
    command = _command(chore, needs, booting=booting)
    if not command or not (os.path.isabs(command[0]) or available(command[0])):  # noqa: PTH117 - a name or a path
        return
    finished = run(*command, timeout=_TIMEOUT)
    if finished.status != 0 and not _is_superfluous(chore, needs, finished):
        raise Failed(f"{chore}: {finished.complaint}", _hint(command, finished), code="activation.failed")


def _is_superfluous(chore: Chore, needs: Needs, finished: Finished) -> bool:
    """Whether all users are there: systemd-sysusers takes a lock in /etc before it looks."""
    if chore is not Chore.SYSUSERS or not _is_read_only(finished):
        return False
    tried = run("systemd-sysusers", "--dry-run", "--", *needs.sysusers, timeout=_TIMEOUT)
    return tried.status == 0 and _WRITES not in tried.stderr


def _is_read_only(finished: Finished) -> bool:
    return os.strerror(errno.EROFS) in finished.stderr and not os.access("/etc", os.W_OK)


def _command(chore: Chore, needs: Needs, *, booting: bool) -> tuple[str, ...]:
    """Programs look for files of these names as always: what the administrator put over one counts."""
    match chore:
        case Chore.SYSUSERS:
            command: tuple[str, ...] = ("systemd-sysusers", "--", *needs.sysusers) if needs.sysusers else ()
        case Chore.TMPFILES:
            boot = ("--boot",) if booting else ()
            command = ("systemd-tmpfiles", "--create", *boot, "--", *needs.tmpfiles) if needs.tmpfiles else ()
        case Chore.LDCONFIG:
            command = ("ldconfig", "-X")  # the cache alone: links belong to the extension, which is read-only
        case Chore.UDEV:
            command = ("udevadm", "control", "--reload") if _UDEV.exists() else ()
        case Chore.DBUS:
            command = ("busctl", "--system", "call", *_BUS) if _DBUS.exists() else ()
        case Chore.NETWORKD:
            command = ("networkctl", "reload") if _NETWORKD.exists() else ()
        case Chore.MANAGER:
            command = ("systemctl", "--no-ask-password", "daemon-reload")
        case _:
            assert_never(chore)
    return command


def _hint(command: tuple[str, ...], finished: Finished) -> str:
    if _is_read_only(finished):
        return _READ_ONLY.format(command=" ".join(it for it in command if it != "--"))
    return f"mend what it says, then: livelayer activate (it is tried again by later runs, too); it was {command[0]}"
