"""Rules about units: LL3xx."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.model.facts.unitfiles import units
from reconciler.model.fit.filekind import FileKind
from reconciler.model.kind import Kind
from reconciler.model.lint.rule import Hit, Hits, Severity, rule
from reconciler.model.lint.rules.files import sysusers

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts

_UPHOLD: Final = (
    "add usr/lib/systemd/system/multi-user.target.d/10-NAME.conf (kind confext: etc/systemd/...) "
    "with [Unit] and Upholds=UNIT, "
    "or list the unit in units.start where the extension is configured"
)


# Services that start before sysinit.target is reached, hence before extensions are merged or beside that.
_EARLY: Final = re.compile(
    r"""systemd-(journald|udevd|udev-trigger|udev-settle|modules-load|sysctl|sysusers|remount-fs|random-seed|binfmt
        |hwdb-update|tmpfiles-setup(-dev(-early)?)?|sysext|confext|fsck.*|cryptsetup@.*|repart|growfs.*|firstboot
        |journal-flush|machine-id-commit|network-generator|vconsole-setup|pcr.*)\.service
    |systemd-(journald|udevd).*\.socket|(kmod-static-nodes|lvm2-.*|apparmor|ldconfig)\.service|.*\.(mount|swap|device)""",
    re.VERBOSE,
)


@rule("LL301", Severity.NOTE, _UPHOLD)
def not_started(facts: ExtensionFacts) -> Hits:
    """Nothing in the extension starts a unit, and it has no [Install] section either."""
    for unit in units(facts):
        if not (unit.starts or unit.pulls or unit.has_install or "@." in unit.name):
            yield Hit("nothing in the extension starts it", unit.path)


@rule("LL302", Severity.WARNING, _UPHOLD)
def only_install(facts: ExtensionFacts) -> Hits:
    """A unit has an [Install] section, which takes effect only where somebody enables it."""
    for unit in units(facts):
        if unit.has_install and not (unit.starts or unit.pulls or "@." in unit.name):
            yield Hit(
                "its [Install] section does nothing by itself, and nothing in the extension starts it", unit.path
            )


@rule("LL303", Severity.WARNING, _UPHOLD)
def only_wanted(facts: ExtensionFacts) -> Hits:
    """A unit is only wanted by a target, which is decided upon before extensions are merged at boot."""
    for unit in units(facts) if facts.kind is Kind.SYSEXT else ():
        if unit.pulls and not unit.starts:
            yield Hit(
                f"{unit.pulls[0]} has no effect on a target that is active when the extension is merged", unit.path
            )


@rule(
    "LL304",
    Severity.WARNING,
    "bring a file in usr/lib/sysusers.d that makes the user, which livelayer has done after a merge; "
    "or set DynamicUser=yes, for hosts without livelayer, too",
)
def missing_user(facts: ExtensionFacts) -> Hits:
    """A unit runs as a user that the extension does not make."""
    made = {words[1] for words in sysusers(facts)}
    for unit in units(facts):
        if unit.user and unit.user not in made and not unit.user.isdigit() and "%" not in unit.user:
            yield Hit(f"it runs as {unit.user}, and hosts may not have that user", unit.path)


@rule("LL305", Severity.WARNING, "bring a unit that restarts it, and list that in units.start")
def early_drop_in(facts: ExtensionFacts) -> Hits:
    """A drop-in is for a unit that starts before extensions are merged."""
    for directory in facts.kind.traits.unit_directories:
        for path, file in facts.below(directory):
            unit, separator, _ = path.removeprefix(f"{directory}/").partition(".d/")
            is_own = f"{directory}/{unit}" in facts.files
            if separator and file.kind is not FileKind.DIRECTORY and _EARLY.fullmatch(unit) and not is_own:
                yield Hit(f"{unit} starts before the merge at boot, and has this only when it is started again", path)
