"""What an extension can do to a host beyond having files there, kind by kind."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Power(StrEnum):
    """A kind of it, by its key in `settings.limits`."""

    LIVELAYER = "livelayer"
    GENERATORS = "generators"
    HOOKS = "hooks"
    UNITS = "units"
    MANAGER = "manager"
    DBUS = "dbus"
    POLKIT = "polkit"
    LOGIN = "login"
    SYSUSERS = "sysusers"
    TMPFILES = "tmpfiles"
    UDEV = "udev"
    MODULES = "modules"
    MODPROBE = "modprobe"
    SYSCTL = "sysctl"
    PRELOAD = "preload"
    SHADOWING = "shadowing"


# Refused unless a node allows it: livelayer would not be the administrator's any more.
REFUSED: Final = frozenset({Power.LIVELAYER})
