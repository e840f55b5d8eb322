"""What `inspect` and `lint` say: as lines for people and as JSON documents."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from reconciler.model.content.format import Payload
from reconciler.model.content.limits import size_text
from reconciler.model.facts.extensionfacts import SETGID, SETUID, ExtensionFacts
from reconciler.model.facts.powers import told
from reconciler.model.facts.program import Shape
from reconciler.model.facts.unitfiles import Unit, units
from reconciler.model.fit.filekind import FileKind
from reconciler.model.lint.rule import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.model.facts.hostfit import HostFit

_SHOWN_MAX: Final = 8  # paths of one kind that people are shown
_FITS: Final = {True: "yes", False: "no", None: "cannot be told"}

Rows = list[tuple[str, str]]
Linted = tuple[str, "ExtensionFacts | None", "Sequence[Finding]"]  # what was looked at, and what was found


def inspection_rows(facts: ExtensionFacts, fits: Sequence[HostFit]) -> Rows:
    """Labels and values; a label is empty where the one above still holds."""
    origin = facts.origin
    rows: Rows = [
        ("name", facts.name or "-"),
        ("kind", str(facts.kind)),
        ("source", origin.subject),
        ("format", _format(facts)),
        ("digest", origin.digest or "-"),
    ]
    if origin.index_digest:
        rows.append(("index", origin.index_digest))
    rows += [("size", _size(facts)), ("content", _content(facts))]
    rows += _group("release", _release_lines(facts), "no release file")
    rows += _group("fits", [_fit_line(item) for item in fits], "-")
    rows += _group("units", [_unit_line(unit) for unit in units(facts)], "none")
    rows += _group("programs", _architectures(facts), "none")
    unknown_owners = "cannot be told: unpacked by a user who cannot give files away"
    rows += _group("privileges", _some(_privileges(facts)), "none" if origin.knows_owners else unknown_owners)
    rows += _group("can", _some(told(facts.abilities)), "nothing but have files, and run them as asked")
    rows += _group("labels", _label_lines(facts), "no SELinux labels")
    rows += _group("hides", _some(_hides(facts)), _no_collisions(facts))
    rows.append(("signature", _signature(facts)))
    return rows


def inspection_document(facts: ExtensionFacts, fits: Sequence[HostFit]) -> dict[str, Any]:
    origin = facts.origin
    counted = Counter(file.kind for file in facts.files.values())
    return {
        "source": origin.subject,
        "name": facts.name,
        "kind": str(facts.kind),
        "payload": str(origin.payload),
        "format": _format(facts),
        "partitions": sorted(origin.image.partitions) if origin.image else [],
        "digest": origin.digest,
        "index_digest": origin.index_digest,
        "size": {"packed": origin.packed, "unpacked": facts.unpacked},
        "content": {str(kind): counted[kind] for kind in FileKind if kind is not FileKind.HARD_LINK},
        "releases": {name: dict(fields) for name, fields in sorted(facts.contents.releases.items())},
        "hosts": [asdict(item) for item in fits],
        "units": [_unit_object(unit) for unit in units(facts)],
        "architectures": _architectures(facts),
        "setuid": [path for path, file in facts.of_kind(FileKind.FILE) if file.mode & SETUID],
        "setgid": [path for path, file in facts.of_kind(FileKind.FILE) if file.mode & SETGID],
        "capabilities": [path for path, file in facts.files.items() if file.has_capabilities],
        "abilities": [{"power": it.power, "path": it.path, "words": it.words} for it in facts.abilities],
        "selinux_labels": sorted(_labels(facts)),
        "owners_known": origin.knows_owners,
        "attributes_known": origin.knows_attributes,
        "collisions_known": facts.host.is_known,
        "hides": list(facts.host.hidden),
        "replaces_links": [it.path for it in facts.host.clashes if it.host is FileKind.SYMLINK],
        "replaces": [it.path for it in facts.host.clashes if it.host is not FileKind.SYMLINK],
        "narrows": [it.path for it in facts.host.narrowed],
        "signature": _signature_object(facts),
    }


def lint_lines(found: Sequence[Linted]) -> Iterator[str]:
    for subject, _, findings in found:
        yield from finding_lines(subject, findings)
    yield summary([finding for _, _, findings in found for finding in findings])


def lint_document(found: Sequence[Linted]) -> dict[str, Any]:
    return {"extensions": [_lint_object(*item) for item in found]}


def finding_lines(subject: str, findings: Sequence[Finding]) -> list[str]:
    lines = []
    for rule, found in groupby(findings, key=lambda finding: finding.rule):
        for item in found:
            where = f"{subject}: {item.path}" if item.path else subject
            lines.append(f"{where}: {rule.severity} {rule.id}: {item.message}")
        lines.append(f"  {rule.hint} ({rule.documentation})")
    return lines


def summary(findings: Sequence[Finding]) -> str:
    counted = Counter(finding.rule.severity for finding in findings)
    words = (f"{counted[it]} {it}{'' if counted[it] == 1 else 's'}" for it in Severity if counted[it])
    return ", ".join(words) or "nothing found"


def _lint_object(subject: str, facts: ExtensionFacts | None, findings: Iterable[Finding]) -> dict[str, Any]:
    """One extension in the JSON document of `lint`; without facts it could not be read."""
    return {
        "source": subject,
        "name": facts.name if facts else None,
        "kind": str(facts.kind) if facts else None,
        "findings": [
            {
                "rule": it.rule.id,
                "severity": str(it.rule.severity),
                "message": it.message,
                "path": it.path,
                "hint": it.rule.hint,
                "documentation": it.rule.documentation,
            }
            for it in findings
        ],
    }


def _group(label: str, lines: Sequence[str], otherwise: str) -> Rows:
    return [(label if not number else "", line) for number, line in enumerate(lines or [otherwise])]


def _some(lines: Iterable[str]) -> list[str]:
    """As many as fit on a screen, and how many there are more."""
    known = list(lines)
    more = [f"and {len(known) - _SHOWN_MAX} more"] if len(known) > _SHOWN_MAX else []
    return known[:_SHOWN_MAX] + more


def _format(facts: ExtensionFacts) -> str:
    origin = facts.origin
    if not origin.image:
        return origin.payload.noun
    systems = " and ".join(str(volume.file_system) for volume in origin.image.volumes)
    if origin.image.sector_size is None:
        return f"{Payload.IMAGE.noun}: {systems}"
    return f"a disk image: {systems}; partitions {', '.join(sorted(origin.image.partitions))}"


def _size(facts: ExtensionFacts) -> str:
    packed = f"{size_text(facts.origin.packed)} packed, " if facts.origin.packed is not None else ""
    return f"{packed}{size_text(facts.unpacked)} unpacked"


def _content(facts: ExtensionFacts) -> str:
    counted = Counter(file.kind for file in facts.files.values())
    words = {
        FileKind.FILE: "files",
        FileKind.DIRECTORY: "directories",
        FileKind.SYMLINK: "links",
        FileKind.SPECIAL: "devices, FIFOs and sockets",
    }
    return ", ".join(f"{counted[kind]} {noun}" for kind, noun in words.items() if counted[kind]) or "nothing"


def _release_lines(facts: ExtensionFacts) -> list[str]:
    releases = sorted(facts.contents.releases.items())
    lines = []
    for name, fields in releases:
        prefix = f"{name}: " if len(releases) > 1 else ""
        lines += [f"{prefix}{key}={value}" for key, value in fields.items()] or [f"{prefix}empty"]
    return lines


def _fit_line(item: HostFit) -> str:
    return f"{item.host}: {_FITS[item.fits]}" + (f", {item.reason}" if item.reason else "")


def _unit_line(unit: Unit) -> str:
    if unit.starts:
        return f"{unit.name}: starts, {unit.starts[0]}"
    if unit.pulls:
        return f"{unit.name}: not at boot; {unit.pulls[0]}"
    return f"{unit.name}: not started" + (", [Install] takes systemctl enable" if unit.has_install else "")


def _unit_object(unit: Unit) -> dict[str, Any]:
    return {
        "name": unit.name,
        "path": unit.path,
        "would_start": bool(unit.starts),
        "started_by": [*unit.starts, *unit.pulls],
        "install": unit.has_install,
        "user": unit.user,
    }


def _architectures(facts: ExtensionFacts) -> list[str]:
    programs = (file.program for file in facts.files.values())
    return sorted({it.architecture or "unknown" for it in programs if it and it.shape is Shape.ELF})


def _privileges(facts: ExtensionFacts) -> Iterator[str]:
    for path, file in facts.of_kind(FileKind.FILE):
        words = [word for bit, word in ((SETUID, "setuid"), (SETGID, "setgid")) if file.mode & bit]
        words += ["capabilities"] if file.has_capabilities else []
        if words:
            yield f"{path}: {', '.join(words)} ({file.uid}:{file.gid})"


def _labels(facts: ExtensionFacts) -> Counter[str]:
    return Counter(file.label for file in facts.files.values() if file.label)


def _label_lines(facts: ExtensionFacts) -> list[str]:
    if not facts.origin.knows_attributes:
        return ["cannot be told: the program that reads this file system here drops extended attributes"]
    return _some(f"{label}: {count} files" for label, count in _labels(facts).most_common())


def _hides(facts: ExtensionFacts) -> list[str]:
    clashes = (f"{it.path}: a {it.host.noun} of this host" for it in facts.host.clashes)
    return [*clashes, *map(str, facts.host.narrowed), *facts.host.hidden]


def _no_collisions(facts: ExtensionFacts) -> str:
    if facts.host.is_known:
        return "nothing of this host"
    return "cannot be told: extensions are merged, and root alone can look below them"


def _signature(facts: ExtensionFacts) -> str:
    origin = facts.origin
    if origin.signature:
        return f"dm-verity, root hash {origin.signature.root_hash}; certificate {origin.signature.fingerprint}"
    if origin.image:
        has_verity = any(name.endswith("-verity") for name in origin.image.partitions)
        return "none, but dm-verity data" if has_verity else "none"
    if origin.payload is Payload.LAYERS:
        return "judged by policy.json when the image is fetched"
    return "none"


def _signature_object(facts: ExtensionFacts) -> dict[str, Any] | None:
    found = facts.origin.signature
    return {"root_hash": found.root_hash, "certificate": found.fingerprint} if found else None
