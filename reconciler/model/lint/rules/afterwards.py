"""Rules about what has an effect only if something is done after a merge: LL7xx.

What livelayer does of that is in `reconciler.model.plan.activation`; without it systemd does nothing, at boot either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.model.fit.filekind import FileKind
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts

_TOPS: Final = r"(?:usr/lib|usr/local/lib|etc)/"
_DONE: Final = {
    "systemd-sysusers": re.compile(rf"{_TOPS}sysusers\.d/[^/]+\.conf"),
    "systemd-tmpfiles": re.compile(rf"{_TOPS}tmpfiles\.d/[^/]+\.conf"),
    "ldconfig": re.compile(r"etc/ld\.so\.conf\.d/[^/]+\.conf"),
    "systemd-networkd": re.compile(rf"{_TOPS}systemd/network/.+"),
}
_UDEV: Final = re.compile(rf"{_TOPS}udev/rules\.d/[^/]+\.rules")
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
        for path in _matching(facts, pattern):
            yield Hit(
                f"livelayer has {program} read it after a merge and a boot; without livelayer nobody does", path
            )


@rule("LL702", Severity.NOTE, "bring a unit that runs udevadm trigger, for the devices that it is about")
def udev_rules(facts: ExtensionFacts) -> Hits:
    """Rules of udev count only for devices that appear after the merge."""
    for path in _matching(facts, _UDEV):
        yield Hit("livelayer has udev read it, for devices to come; without livelayer udev does when restarted", path)


@rule("LL703", Severity.WARNING, "bring rules of udev instead, or a unit that runs systemd-hwdb update")
def hardware_database(facts: ExtensionFacts) -> Hits:
    """Entries for the hardware database are inside, which nobody puts into it."""
    for path in _matching(facts, _HWDB):
        yield Hit("udev reads what systemd-hwdb has made of such files, and nobody runs that after a merge", path)


@rule("LL704", Severity.NOTE, "list polkit.service in units.reload where the extension is configured")
def polkit(facts: ExtensionFacts) -> Hits:
    """Rules or actions of polkit count only when polkit is started after the merge."""
    for path in _matching(facts, _POLKIT):
        yield Hit("a polkit that runs reads it when restarted, with livelayer or without", path)


@rule("LL705", Severity.WARNING, "bring a unit that runs modprobe, and list it in units.start")
def modules_load(facts: ExtensionFacts) -> Hits:
    """A list of modules to load is inside, which is read before extensions are merged."""
    for path in _matching(facts, _MODULES):
        yield Hit(f"systemd-modules-load.service {_TOO_EARLY}", path)


@rule(
    "LL706",
    Severity.WARNING,
    "bring a unit that runs /usr/lib/systemd/systemd-sysctl with it, and list it in units.start",
)
def sysctl(facts: ExtensionFacts) -> Hits:
    """Settings of the kernel are inside, which are read before extensions are merged."""
    for path in _matching(facts, _SYSCTL):
        yield Hit(f"systemd-sysctl.service {_TOO_EARLY}", path)


@rule("LL707", Severity.WARNING, "bring a unit that restarts what reads it, and list it in units.start")
def early_settings(facts: ExtensionFacts) -> Hits:
    """Settings are inside of what starts before extensions are merged."""
    for unit, pattern in _EARLY.items():
        for path in _matching(facts, pattern):
            yield Hit(f"{unit}, which reads it, {_TOO_EARLY}", path)


def _matching(facts: ExtensionFacts, pattern: re.Pattern[str]) -> list[str]:
    others = (path for path, file in facts.files.items() if file.kind is not FileKind.DIRECTORY)
    return [path for path in others if pattern.fullmatch(path)]
