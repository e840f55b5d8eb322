"""The units an extension brings, and what in it would start them once it is merged (systemd.unit(5)).

When extensions are merged at boot, the service manager has already decided what the boot starts, and it reads its
units anew only if livelayer, or the release file with EXTENSION_RELOAD_MANAGER=1 on systemd 255 and newer, has it do
so. `Upholds=` is looked at all the time and then takes effect; `.wants/` links of an active target do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.kind import template_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.facts.extensionfacts import ExtensionFacts

_STARTABLE: Final = (".service", ".socket", ".timer", ".path", ".mount", ".automount", ".swap")
_TRIGGERS: Final = {".timer": "Unit", ".path": "Unit", ".socket": "Service"}
_PULLS: Final = ("Wants", "Requires", "BindsTo")
_LINKS: Final = {".wants": "Wants", ".requires": "Requires", ".upholds": "Upholds"}
_UPHOLDS: Final = "Upholds"
DBUS_SERVICES: Final = "usr/share/dbus-1/system-services"

Settings = dict[str, list[str]]  # of all sections, by key; what a key says repeatedly is joined


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit file that could be started."""

    name: str
    path: str
    starts: tuple[str, ...] = ()  # what starts it, in words
    pulls: tuple[str, ...] = ()  # what starts it only together with a target that may be active already
    has_install: bool = False
    user: str | None = None  # whom it runs as, where that is neither root nor made for it


@dataclass(frozen=True, slots=True)
class _Cause:
    unit: str  # what is started
    by: str  # what starts it
    words: str
    upholds: bool


def logical_lines(text: str, comments: str = "#;", joint: str = " ") -> Iterator[str]:
    """The lines that are no comments, each with those that continue it, as systemd reads them (`read_line`).

    A carriage return and a NUL end a line, too, and nothing else does; comments within a continued line are left out.
    """
    held = ""
    for raw in re.split(r"\r\n?|\n\r?|\0", text):
        line = raw.lstrip(" \t")
        if line[:1] and line[0] in comments:
            continue
        if line.endswith("\\"):
            held += line[:-1] + joint
            continue
        yield held + line
        held = ""
    yield held


def parse_unit(text: str) -> Settings:
    """The settings of a unit file or drop-in; an empty value drops what was said before."""
    found: Settings = {}
    for line in logical_lines(text):
        key, separator, value = line.partition("=")
        if not separator:
            continue
        words = value.split()
        found[key.strip()] = [*found.get(key.strip(), []), *words] if words else []
    return found


def units(facts: ExtensionFacts) -> list[Unit]:
    """Every unit file in the directories of units that can be started, in the order of their names."""
    files: dict[str, str] = {}
    named: dict[str, str] = {}
    causes = [*_called(facts)]
    for directory in facts.kind.traits.unit_directories:  # a later one goes before, see systemd.unit(5)
        found = {path: file.text for path, file in facts.below(directory) if file.text is not None}
        causes += [*_causes(directory, found), *_linked(facts, directory)]
        named |= {path.rpartition("/")[2]: path for path in found if path.count("/") == directory.count("/") + 1}
        files |= found
    own = {name for name in named if name.endswith(_STARTABLE)}
    return [_unit(name, named[name], parse_unit(files[named[name]] or ""), causes, own) for name in sorted(own)]


def _unit(name: str, path: str, settings: Settings, causes: list[_Cause], own: set[str]) -> Unit:
    mine = [cause for cause in causes if _means(cause.unit, name)]
    sure = [cause.words for cause in mine if cause.upholds or any(_means(cause.by, unit) for unit in own)]
    user = settings.get("User", [])[-1:]
    return Unit(
        name,
        path,
        tuple(sure),
        tuple(cause.words for cause in mine if cause.words not in sure),
        bool({"WantedBy", "RequiredBy", "UpheldBy", "Also", "Alias"} & settings.keys()),
        None if not user or user[0] in {"root", "0"} or _is_true(settings.get("DynamicUser", [])) else user[0],
    )


def _is_true(words: list[str]) -> bool:
    return words[-1:] != [] and words[-1].lower() in {"1", "yes", "y", "true", "t", "on"}


def _means(wanted: str, name: str) -> bool:
    """Whether a name, which may be that of an instance, is that of a unit file, which may be a template."""
    return name in {wanted, template_of(wanted)}


def _causes(directory: str, files: Mapping[str, str | None]) -> Iterator[_Cause]:
    for path, text in files.items():
        place = path.removeprefix(f"{directory}/")
        by = place.partition("/")[0].removesuffix(".d")
        settings = parse_unit(text or "")
        for key in (_UPHOLDS, *_PULLS):
            for unit in settings.get(key, []):
                yield _Cause(unit, by, f"{key}= in {place}", key == _UPHOLDS)
        stem, dot, suffix = by.rpartition(".")
        if trigger := _TRIGGERS.get(f"{dot}{suffix}"):
            for unit in settings.get(trigger) or [f"{stem}.service"]:
                yield _Cause(unit, by, f"triggered by {by}", upholds=True)


def _linked(facts: ExtensionFacts, directory: str) -> Iterator[_Cause]:
    for path, _ in facts.below(directory):
        place, _, name = path.removeprefix(f"{directory}/").rpartition("/")
        for suffix, key in _LINKS.items():
            if place.endswith(suffix) and "/" not in place:
                yield _Cause(name, place.removesuffix(suffix), f"a link in {place}", key == _UPHOLDS)


def _called(facts: ExtensionFacts) -> Iterator[_Cause]:
    for path, file in facts.below(DBUS_SERVICES):
        for unit in parse_unit(file.text or "").get("SystemdService", []):
            yield _Cause(unit, "", f"called over D-Bus by {path.rpartition('/')[2]}", upholds=True)
