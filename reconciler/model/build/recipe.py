"""What an extension shall be that is built: its release file, and the drop-ins that start its services."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.ociread import Platform, platform_for, platform_of
from reconciler.model.kind import RELEASE_PREFIX, UNIT, ExtensionId, is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_VALUE: Final = re.compile(r"[A-Za-z0-9._+-]{1,128}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._+-]*")
_SPECIAL: Final = re.compile(r'["$`\\]')  # to a shell, even in quotation marks
_SCOPES: Final = frozenset({"initrd", "system", "portable"})
_FIRST: Final = ("ID", "VERSION_ID")  # then what depends on the kind, then the rest by name


@dataclass(frozen=True, slots=True)
class Recipe:
    """What was asked for, beside the content. None and empty: the content decides."""

    ident: ExtensionId
    id: str | None = None
    version_id: str | None = None
    level: str | None = None
    architecture: str | None = None  # in systemd's words
    scope: tuple[str, ...] = ()
    reload_manager: bool | None = None
    restart: tuple[str, ...] = ()  # units that the manager restarts after a merge (systemd 262)
    enable: tuple[str, ...] = ()  # units that start with the system

    @property
    def release_path(self) -> str:
        return f"{self.ident.kind.traits.releases}/{RELEASE_PREFIX}{self.ident.name}"

    def check(self) -> None:
        if not is_name(self.ident.name):
            hint = "up to 64 letters, digits and ._+-, the first a letter or digit, not ending in .raw or .v"
            raise Invalid(f"{self.ident.name!r} is no name of an extension", hint)
        for option, value in (("--id", self.id), ("--version-id", self.version_id), ("--sysext-level", self.level)):
            if value is not None and not _VALUE.fullmatch(value):
                raise Invalid(f"{option}: {value!r} is no such value", "it has letters, digits and ._+- only")
        for unit in (*self.restart, *self.enable):
            if not UNIT.fullmatch(unit):
                raise Invalid(f"{unit!r} is no name of a unit", "it looks like ipfs.service")
        for word in self.scope:
            if word not in _SCOPES:
                raise Invalid(f"--scope: {word!r} is no scope", "known are initrd, system, portable")


@dataclass(frozen=True, slots=True)
class Needs:
    """What the content asks of the host it is merged on."""

    architectures: tuple[str, ...] = ()
    reason: str | None = None  # why it takes the system it was built for; None: any will do
    has_units: bool = False
    damaged: tuple[str, ...] = ()  # programs and libraries that cannot be read, so that more may be needed


class Release(NamedTuple):
    """The fields of a release file, and what decided them."""

    fields: Mapping[str, str]
    reason: str

    @property
    def text(self) -> str:
        return "".join(f"{key}={_quoted(value)}\n" for key, value in self.fields.items())


def target_platform(architecture: str | None, machine: str) -> Platform:
    """What images are for an architecture, in systemd's words; None and `_any`: for this machine."""
    if architecture is None or architecture == "_any":
        return platform_of(machine)
    return platform_for(architecture)


def release_of(
    recipe: Recipe, needs: Needs, basis: Mapping[str, str], system: Callable[[], Mapping[str, str]]
) -> Release:
    """What goes into the release file.

    What was asked for goes before all else; `basis` is the release file that the content brought, and `system` gives
    the os-release of the system that it was built for, which is asked for only where it matters.
    """
    traits = recipe.ident.kind.traits
    identity, reason = _identity(recipe, needs, basis, system)
    fields = {**basis, **identity}
    _set(fields, traits.scope, " ".join(recipe.scope))
    _set(fields, "ARCHITECTURE", recipe.architecture or _architecture(needs, basis))
    _check_architecture(fields, needs)
    wants_reload = needs.has_units or bool(recipe.enable) if recipe.reload_manager is None else recipe.reload_manager
    if wants_reload:
        fields["EXTENSION_RELOAD_MANAGER"] = "1"
    elif recipe.reload_manager is False:
        fields.pop("EXTENSION_RELOAD_MANAGER", None)
    _set(fields, "EXTENSION_RESTART_UNITS", " ".join(recipe.restart))
    first = [key for key in (*_FIRST, traits.level, traits.scope, "ARCHITECTURE") if key in fields]
    return Release({key: fields[key] for key in [*first, *sorted(fields.keys() - set(first))]}, reason)


def _identity(
    recipe: Recipe, needs: Needs, basis: Mapping[str, str], system: Callable[[], Mapping[str, str]]
) -> tuple[dict[str, str], str]:
    """ID, VERSION_ID and level, and why these."""
    asked = {"ID": recipe.id, "VERSION_ID": recipe.version_id, recipe.ident.kind.traits.level: recipe.level}
    given = {key: value for key, value in asked.items() if value}
    if recipe.id:
        return given, "as asked for"
    if basis.get("ID"):
        return given, "as its content says"
    if not given and needs.reason is None:
        return {"ID": "_any"}, "nothing in it takes a certain system"
    theirs = system()
    found = {"ID": theirs.get("ID", "linux"), **given}
    if theirs.get("VERSION_ID") and not given:
        found["VERSION_ID"] = theirs["VERSION_ID"]
    return found, needs.reason or "as asked for"


def _architecture(needs: Needs, basis: Mapping[str, str]) -> str:
    if basis.get("ARCHITECTURE"):
        return basis["ARCHITECTURE"]
    found = set(needs.architectures)
    if found == {"x86", "x86-64"}:  # libraries for 32 bits beside the others
        return "x86-64"
    if len(found) > 1:
        listed = ", ".join(sorted(found))
        raise Invalid(f"there are programs for several architectures: {listed}", "say for which with --arch, or _any")
    return next(iter(found), "")


def _check_architecture(fields: Mapping[str, str], needs: Needs) -> None:
    said = fields.get("ARCHITECTURE", "_any")
    if said != "_any" and needs.architectures and said not in needs.architectures:
        listed = ", ".join(needs.architectures)
        raise Invalid(f"the programs are for {listed}, and the extension is to be for {said}", "correct --arch")


def _set(fields: dict[str, str], key: str, value: str) -> None:
    if value:
        fields[key] = value


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return shlex.quote(value) if _SPECIAL.search(value) else f'"{value}"'


def upholds(recipe: Recipe, units: Iterable[str]) -> dict[str, str]:
    """The drop-ins, by their paths, by which multi-user.target starts units, and starts them again when they fail.

    Links in a `.wants` directory would be dropped at boot, when the manager has decided before extensions are merged.
    """
    there = set(units)
    for unit in recipe.enable:
        if unit not in there and _template(unit) not in there:
            known = ", ".join(sorted(there)) or "none"
            raise Invalid(f"--enable-unit: the content has no {unit}", f"its units: {known}")
    directory = f"{recipe.ident.kind.traits.units}/multi-user.target.d"
    name = recipe.ident.name
    return {f"{directory}/10-{name}-{unit}.conf": f"[Unit]\nUpholds={unit}\n" for unit in recipe.enable}


def _template(unit: str) -> str:
    base, _, suffix = unit.rpartition(".")
    return f"{base.partition('@')[0]}@.{suffix}" if "@" in base else unit
