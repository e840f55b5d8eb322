"""Whatever goes wrong with one source or extension as its own failure, so that everything else goes on."""

from __future__ import annotations

import logging

from reconciler.errors import Failed, ReconcilerError, file_of

log = logging.getLogger(__name__)


def as_failure(error: Exception, what: str, hint: str = "look at the file system") -> ReconcilerError:
    """`what` is for what has no name of its own."""
    match error:
        case ReconcilerError():
            return error
        case OSError():
            return Failed.of(error, file_of(error, what), hint)
        case _:
            log.debug("%s", what, exc_info=error)
            return Failed.unexpected(error, what)
