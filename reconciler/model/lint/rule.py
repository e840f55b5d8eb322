"""Rules about extensions, and what they find.

A rule is a function from facts to hits, with an ID, a severity and a hint. To add one: write the function in the
module of `rules` it belongs to, behind the one with the ID before its own, and describe it in docs/lint-rules.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from reconciler.dataclass import dataclass
from reconciler.errors import printable
from reconciler.model.facts.extensionfacts import ExtensionFacts

_HITS_MAX: Final = 10  # of one rule that are told one by one


class Severity(StrEnum):
    """How bad it is, in the words of SARIF."""

    ERROR = "error"  # systemd or livelayer would refuse it, or it would break the host
    WARNING = "warning"  # it does not do what was meant, on some hosts at least
    NOTE = "note"  # worth knowing


class Hit(NamedTuple):
    """What a rule has found."""

    message: str
    path: str | None = None  # in the extension


Hits: TypeAlias = Iterable[Hit]
Check: TypeAlias = Callable[[ExtensionFacts], Hits]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, with what a person needs to deal with what it finds."""

    id: str
    severity: Severity
    title: str
    hint: str
    check: Check

    @property
    def documentation(self) -> str:
        return f"docs/lint-rules.md#{self.id.lower()}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule has to say about one extension."""

    rule: Rule
    message: str
    path: str | None = None


def rule(identity: str, severity: Severity, hint: str) -> Callable[[Check], Rule]:
    """Make a rule of a function, whose docstring becomes the rule's title."""

    def decorate(check: Check) -> Rule:
        return Rule(identity, severity, (check.__doc__ or "").strip().removesuffix("."), hint, check)

    return decorate


def lint(facts: ExtensionFacts, rules: Iterable[Rule]) -> list[Finding]:
    """What the rules find, the worst first."""
    found = [finding for item in rules for finding in _findings(item, list(item.check(facts)))]
    return sorted(found, key=lambda finding: (list(Severity).index(finding.rule.severity), finding.rule.id))


def _findings(item: Rule, hits: Sequence[Hit]) -> Iterator[Finding]:
    """Thousands of files may have the same fault; a few show which."""
    for hit in hits[:_HITS_MAX]:
        yield Finding(item, printable(hit.message), hit.path)
    if len(hits) > _HITS_MAX:
        yield Finding(item, f"and {len(hits) - _HITS_MAX} more of these")


def fails(findings: Iterable[Finding], *, strict: bool) -> bool:
    """Whether the extension must not pass; `strict` lets warnings count, too."""
    fatal = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    return any(finding.rule.severity in fatal for finding in findings)
