"""Rules about what an extension can do to a host: LL8xx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.content.power import Power
from reconciler.model.facts.powers import foreign
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts


@rule("LL801", Severity.ERROR, "leave it out; nodes refuse it unless they have settings.limits.livelayer: true")
def steers_livelayer(facts: ExtensionFacts) -> Hits:
    """It would configure livelayer, be livelayer itself, or take the place of what livelayer runs."""
    for it in foreign(facts.abilities, facts.name or "", is_own=False):
        if it.power is Power.LIVELAYER:
            yield Hit(f"it {it.words}", it.path)


@rule("LL802", Severity.NOTE, "nodes with settings.profile: strict, or a key of settings.limits, refuse it")
def can_do_more(facts: ExtensionFacts) -> Hits:
    """It can do something to a host beyond having files there."""
    for it in facts.abilities:
        if it.power is not Power.LIVELAYER:
            yield Hit(f"it {it.words} (limits.{it.power})", it.path)
