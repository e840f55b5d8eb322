"""The desired state as one host has it: its os-release fills what the configuration left open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, ReconcilerError
from reconciler.model.config.placeholders import Template, fill, has_placeholders, value_on
from reconciler.model.content.source import parse_source

if TYPE_CHECKING:
    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.fit.release import Host


def for_host(desired: DesiredState, host: Host) -> DesiredState:
    """The desired state with all placeholders filled; an extension for which that cannot be done says why."""
    if not any(item.template for item in desired.extensions):
        return desired
    return replace(desired, extensions=tuple(_for_host(item, host) for item in desired.extensions))


def _for_host(wanted: Wanted, host: Host) -> Wanted:
    if wanted.template is None:
        return wanted
    if wanted.parts:
        return _assembled(wanted, tuple(_for_host(part, host) for part in wanted.parts))
    try:
        return _filled(wanted, wanted.template, host)
    except ReconcilerError as error:
        return replace(wanted, unresolved=error)
    except ValueError as error:
        return replace(wanted, unresolved=Invalid(f"{wanted.text}: {error}", "look at this host's os-release"))


def _assembled(wanted: Wanted, parts: tuple[Wanted, ...]) -> Wanted:
    unresolved = next((part.unresolved for part in parts if part.unresolved), None)
    text = ", ".join(part.text for part in parts)
    return replace(wanted, text=text, source=parts[0].source, parts=parts, unresolved=unresolved)


def _filled(wanted: Wanted, template: Template, host: Host) -> Wanted:
    text = fill(template.source, lambda name: value_on(name, host))
    source = parse_source(text)
    version = wanted.version
    if template.version is not None and has_placeholders(template.version):
        from reconciler.model.content.version import parse_range

        version_text = fill(template.version, lambda name: value_on(name, host))
        version = parse_range(version_text, prereleases=template.prereleases)
    return replace(wanted, text=source.text if source.is_web else text, source=source, version=version)
