"""What a run says in the log while it works: the plan before anything is changed, what was done, what is wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reconciler.report import documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.loop.apply import Outcome
    from reconciler.loop.config import Loaded
    from reconciler.model.plan.action import Plan, Problem

log = logging.getLogger(__name__)


def tell_configuration(loaded: Loaded, mistakes: Sequence[Problem]) -> None:
    """What is to be said about the configuration before it is followed."""
    for warning in loaded.warnings:
        log.warning(warning)
    for note in loaded.notes:
        log.debug(note)
    tell_problems(mistakes)
    if loaded.mistakes:
        log.warning("the configuration is broken; the last good one stays in force")


def tell_plan(plan: Plan) -> None:
    """Before anything is changed, always."""
    for action in plan.actions:
        log.info("plan: %s", documents.action_line(action))
    for item in plan.warnings:
        log.warning(item.sentence)
    tell_problems(plan.problems)


def tell_outcomes(outcomes: Iterable[Outcome]) -> None:
    """What was done of the plan."""
    for outcome in outcomes:
        if outcome.error is None and not outcome.skipped:
            log.info("done: %s", documents.action_line(outcome.action))


def tell_problems(problems: Iterable[Problem]) -> None:
    """Each once, also where it concerns several extensions."""
    for line in documents.problem_lines(problems):
        log.error(line)
