"""The desired state as one host has it: its os-release fills what the configuration left open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, ReconcilerError
from reconciler.model.config.placeholders import fill, has_placeholders, value_on
from reconciler.model.content.source import parse_source

if TYPE_CHECKING:
    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.config.part import Part
    from reconciler.model.config.placeholders import Template
    from reconciler.model.fit.release import Host


def for_host(desired: DesiredState, host: Host) -> DesiredState:
    """The desired state with all placeholders filled; an extension for which that cannot be done says why."""
    if not any(part.template for item in desired.extensions for part in item.parts):
        return desired
    return replace(desired, extensions=tuple(_for_host(item, host) for item in desired.extensions))


def _for_host(wanted: Wanted, host: Host) -> Wanted:
    return replace(wanted, parts=tuple(_part_for(part, host) for part in wanted.parts))


def _part_for(part: Part, host: Host) -> Part:
    if part.template is None:
        return part
    try:
        return _filled(part, part.template, host)
    except ReconcilerError as error:
        return replace(part, unresolved=error)
    except ValueError as error:
        return replace(part, unresolved=Invalid(f"{part.text}: {error}", "look at this host's os-release"))


def _filled(part: Part, template: Template, host: Host) -> Part:
    text = fill(template.source, lambda name: value_on(name, host))
    source = parse_source(text)
    version = part.version
    if template.version is not None and has_placeholders(template.version):
        from reconciler.model.content.version import parse_range

        version_text = fill(template.version, lambda name: value_on(name, host))
        version = parse_range(version_text, prereleases=template.prereleases)
    return replace(part, text=source.text if source.is_web else text, source=source, version=version)
