"""Rules about what has an effect only if something is done after a merge: LL7xx.

What livelayer does of that is in `reconciler.model.facts.needs`; without it systemd does nothing, at boot either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.model.facts.needs import PLACES, Chore
from reconciler.model.fit.filekind import FileKind
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts

_TOPS: Final = r"(?:usr/lib|usr/local/lib|etc)/"
_DONE: Final = {
    "systemd-sysusers": re.compile(PLACES[Chore.SYSUSERS]),
    "systemd-tmpfiles": re.compile(PLACES[Chore.TMPFILES]),
    "ldconfig": re.compile(r"etc/ld\.so\.conf\.d/[^/]+\.conf"),  # of libraries alone there would be too much to say
    "systemd-networkd": re.compile(PLACES[Chore.NETWORKD]),
}
_UDEV: Final = re.compile(PLACES[Chore.UDEV])
_HWDB: Final = re.compile(rf"{_TOPS}udev/hwdb\.d/[^/]+\.hwdb")
_POLKIT: Final = re.compile(
    r"(?:usr/share|usr/local/share|etc)/polkit-1/(?:rules\.d/[^/]+\.rules|actions/[^/]+\.policy)"
)
_MODULES: Final = re.compile(rf"{_TOPS}modules-load\.d/[^/]+\.conf")
_SYSCTL: Final = re.compile(rf"{_TOPS}sysctl\.d/[^/]+\.conf")
_EARLY: Final = {
    "systemd-binfmt.service": re.compile(rf"{_TOPS}binfmt\.d/[^/]+\.conf"),
    "systemd-journald.service": re.compile(rf"{_TOPS}systemd/journald\.conf\.d/[^/]+\.conf"),
    "systemd-udevd.service": re.compile(rf"{_TOPS}systemd/udev\.conf\.d/[^/]+\.conf"),
}
_TOO_EARLY: Final = "has run before the merge, at boot too, with livelayer or without"


@rule("LL701", Severity.NOTE, "bring a unit that does it, if the extension is for hosts without livelayer, too")
def done_by_livelayer(facts: ExtensionFacts) -> Hits:
    """Something takes a program to read it after a merge, which livelayer sees to and others do not."""
    for program, pattern in _DONE.items():
        words = f"livelayer has {program} read it after a merge and a boot; without livelayer nobody does"
        yield from _hits(facts, pattern, words)


@rule("LL702", Severity.NOTE, "bring a unit that runs udevadm trigger, for the devices that it is about")
def udev_rules(facts: ExtensionFacts) -> Hits:
    """Rules of udev count only for devices that appear after the merge."""
    return _hits(
        facts, _UDEV, "livelayer has udev read it, for devices to come; without livelayer udev does when restarted"
    )


@rule("LL703", Severity.WARNING, "bring rules of udev instead, or a unit that runs systemd-hwdb update")
def hardware_database(facts: ExtensionFacts) -> Hits:
    """Entries for the hardware database are inside, which nobody puts into it."""
    return _hits(
        facts, _HWDB, "udev reads what systemd-hwdb has made of such files, and nobody runs that after a merge"
    )


@rule("LL704", Severity.NOTE, "list polkit.service in units.reload where the extension is configured")
def polkit(facts: ExtensionFacts) -> Hits:
    """Rules or actions of polkit count only when polkit is started after the merge."""
    return _hits(facts, _POLKIT, "a polkit that runs reads it when restarted, with livelayer or without")


@rule("LL705", Severity.WARNING, "bring a unit that runs modprobe, and list it in units.start")
def modules_load(facts: ExtensionFacts) -> Hits:
    """A list of modules to load is inside, which is read before extensions are merged."""
    return _hits(facts, _MODULES, f"systemd-modules-load.service {_TOO_EARLY}")


@rule(
    "LL706",
    Severity.WARNING,
    "bring a unit that runs /usr/lib/systemd/systemd-sysctl with it, and list it in units.start",
)
def sysctl(facts: ExtensionFacts) -> Hits:
    """Settings of the kernel are inside, which are read before extensions are merged."""
    return _hits(facts, _SYSCTL, f"systemd-sysctl.service {_TOO_EARLY}")


@rule("LL707", Severity.WARNING, "bring a unit that restarts what reads it, and list it in units.start")
def early_settings(facts: ExtensionFacts) -> Hits:
    """Settings are inside of what starts before extensions are merged."""
    for unit, pattern in _EARLY.items():
        yield from _hits(facts, pattern, f"{unit}, which reads it, {_TOO_EARLY}")


def _hits(facts: ExtensionFacts, pattern: re.Pattern[str], words: str) -> Hits:
    """The same words of every file whose path is of a pattern."""
    for path, file in facts.files.items():
        if file.kind is not FileKind.DIRECTORY and pattern.fullmatch(path):
            yield Hit(words, path)
