"""What a run says in the log while it works: the plan before anything is changed, what was done, what is wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reconciler.report import documents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.plan.action import Action, Plan, Problem

log = logging.getLogger(__name__)


def log_plan(plan: Plan) -> None:
    log_actions("plan", plan.actions)
    for item in plan.warnings:
        log.warning(item.sentence)
    log_problems(plan.problems)


def log_actions(what: str, actions: Iterable[Action]) -> None:
    for action in actions:
        log.info("%s: %s", what, documents.action_line(action))


def log_problems(problems: Iterable[Problem]) -> None:
    for line in documents.problem_lines(problems):
        log.error(line)
