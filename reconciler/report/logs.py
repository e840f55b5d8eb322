"""Log lines for people and for the journal."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from reconciler.report.shown import shown

# syslog(3)'s numbers, which the journal takes off the front of a line (sd-daemon(3)).
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def set_up(verbosity: int) -> None:
    """Send the package's messages to stderr: below 0 only errors, above 0 debugging too."""
    level = logging.INFO if verbosity == 0 else logging.DEBUG if verbosity > 0 else logging.ERROR
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter() if _writes_to_journal() else _Formatter())
    logger = logging.getLogger("reconciler")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    logging.raiseExceptions = False  # a message that cannot be written is lost; the run goes on, without a traceback


class _Formatter(logging.Formatter):
    """One line for each message, whatever names are in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging calls it
        return shown(record.message)

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401 - as logging calls it, and has it
        """Line by line, since it may quote what was to be read."""
        return "\n".join(map(shown, super().formatException(ei).splitlines()))


class _JournalFormatter(_Formatter):
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
