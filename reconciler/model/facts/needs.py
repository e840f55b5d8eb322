"""What a running system has to do for an extension once it is merged, as its files and its release file tell."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.kind import UNIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_RELOAD: Final = "EXTENSION_RELOAD_MANAGER"  # of a release file, systemd 255 on
RESTART_UNITS: Final = "EXTENSION_RESTART_UNITS"  # systemd 262 on
RELOAD_UNITS: Final = "EXTENSION_RELOAD_OR_RESTART_UNITS"
RESTARTED: Final = (RESTART_UNITS, RELOAD_UNITS)


class Chore(StrEnum):
    """What may have to be done for an extension, by the program that does it; in this order."""

    SYSUSERS = "systemd-sysusers"
    TMPFILES = "systemd-tmpfiles"
    LDCONFIG = "ldconfig"
    UDEV = "udevadm"
    DBUS = "busctl"
    NETWORKD = "networkctl"
    MANAGER = "systemctl daemon-reload"


CHORES: Final = frozenset[str](Chore)

_TOPS: Final = r"(?:usr/lib|usr/local/lib|etc)"
_SHARES: Final = r"(?:usr/share|usr/local/share|etc)"
# Where the manuals of these programs say that they look, as far as extensions reach it: regular expressions of whole
# relative paths. A run in sync compiles none of them.
PLACES: Final = {
    Chore.SYSUSERS: rf"{_TOPS}/sysusers\.d/[^/]+\.conf",
    Chore.TMPFILES: rf"{_TOPS}/tmpfiles\.d/[^/]+\.conf",  # noqa: S108 - no temporary file
    Chore.LDCONFIG: r"usr/(?:local/)?lib(?:32|64|x32)?/(?:[a-z0-9_]+-linux-[a-z0-9]+/)?[^/]+\.so(?:\.[^/]*)?"
    r"|etc/ld\.so\.conf\.d/[^/]+\.conf",
    Chore.UDEV: rf"{_TOPS}/udev/rules\.d/[^/]+\.rules",
    Chore.DBUS: rf"{_SHARES}/dbus-1/(?:system\.d|system-services)/[^/]+",
    Chore.NETWORKD: rf"{_TOPS}/systemd/network/.+",
    Chore.MANAGER: rf"{_TOPS}/systemd/(?:system|system-generators)/.+",
}
_UNIT_FILE: Final = rf"{_TOPS}/systemd/system/({UNIT.pattern})"


@dataclass(frozen=True, slots=True)
class Needs:
    """What an extension's content asks for."""

    chores: frozenset[Chore] = frozenset()
    sysusers: tuple[str, ...] = ()  # its own files, by name
    tmpfiles: tuple[str, ...] = ()
    units: tuple[str, ...] = ()  # that it brings


def needs_of(files: Iterable[str], release: Mapping[str, str]) -> Needs:
    """What follows from an extension's files, by their paths without a leading slash, and its release file."""
    listed = sorted(files)
    patterns = {chore: re.compile(pattern) for chore, pattern in PLACES.items()}
    found = {chore: [it for it in listed if pattern.fullmatch(it)] for chore, pattern in patterns.items()}
    chores = {chore for chore, paths in found.items() if paths}
    if release.get(_RELOAD) == "1":
        chores.add(Chore.MANAGER)
    sysusers, tmpfiles = (_names(found[it]) for it in (Chore.SYSUSERS, Chore.TMPFILES))
    units = {match[1] for it in found[Chore.MANAGER] if (match := re.fullmatch(_UNIT_FILE, it))}
    return Needs(frozenset(chores), sysusers, tmpfiles, tuple(sorted(units)))


def _names(paths: Iterable[str]) -> tuple[str, ...]:
    """Names of files, since systemd's programs find by name the one that counts."""
    return tuple(sorted({path.rpartition("/")[2] for path in paths}))


def declared(release: Mapping[str, str], key: str) -> tuple[str, ...]:
    """The units that a release file names in a field such as EXTENSION_RESTART_UNITS= (systemd 262)."""
    return tuple(unit for unit in release.get(key, "").split() if UNIT.fullmatch(unit) and not unit.startswith("-"))
