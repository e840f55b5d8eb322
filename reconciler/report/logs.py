"""Log lines for people and for the journal, and what a run says in the log while it works."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from reconciler.report import documents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.plan.action import Action, Plan, Problem

log = logging.getLogger(__name__)

# syslog(3)'s numbers, which the journal takes off the front of a line (sd-daemon(3)).
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def set_up(verbosity: int) -> None:
    """Send the package's messages to stderr: below 0 only errors, above 0 debugging too."""
    level = logging.INFO if verbosity == 0 else logging.DEBUG if verbosity > 0 else logging.ERROR
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter() if _writes_to_journal() else logging.Formatter("%(message)s"))
    logger = logging.getLogger("reconciler")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    logging.raiseExceptions = False  # a message that cannot be written is lost; the run goes on, without a traceback


def log_plan(plan: Plan) -> None:
    """Before anything is changed, always."""
    log_actions("plan", plan.actions)
    for item in plan.warnings:
        log.warning(item.sentence)
    log_problems(plan.problems)


def log_actions(what: str, actions: Iterable[Action]) -> None:
    """What is to be done, or was done."""
    for action in actions:
        log.info("%s: %s", what, documents.action_line(action))


def log_problems(problems: Iterable[Problem]) -> None:
    """Each once, also where it concerns several extensions."""
    for line in documents.problem_lines(problems):
        log.error(line)


class _JournalFormatter(logging.Formatter):
    """Each line with its priority in front, `<N>`."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def _writes_to_journal() -> bool:
    """Whether stderr is the journal's own socket: JOURNAL_STREAM holds its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
