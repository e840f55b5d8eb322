"""Findings as a SARIF log (Static Analysis Results Interchange Format 2.1.0, OASIS), which code hosts show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.lint.rule import Finding, Rule

_VERSION: Final = "2.1.0"
_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_log(
    findings: Mapping[str, Sequence[Finding]], rules: Sequence[Rule], version: str, directories: frozenset[str]
) -> dict[str, Any]:
    """The log of one run; `directories` are those of the subjects whose files a reader can open."""
    places = {rule.id: number for number, rule in enumerate(rules)}
    driver = {"name": "livelayer", "version": version, "rules": [_descriptor(rule) for rule in rules]}
    results = [
        _result(subject, finding, places[finding.rule.id], opens=subject in directories)
        for subject, found in findings.items()
        for finding in found
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": _VERSION, "runs": [run]}


def _descriptor(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.title}."},
        "help": {"text": f"{rule.hint}. See {rule.documentation}."},
        "defaultConfiguration": {"level": str(rule.severity)},
    }


def _result(subject: str, finding: Finding, place: int, *, opens: bool) -> dict[str, Any]:
    uri = f"{subject.rstrip('/')}/{finding.path}" if opens and finding.path else subject
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": quote(uri, safe="/:@", errors="surrogateescape")}}
    }
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path, "kind": "member"}]
    where = f"{finding.path}: " if finding.path else ""
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": place,
        "level": str(finding.rule.severity),
        "message": {"text": f"{where}{finding.message}"},
        "locations": [location],
    }
