"""Attempts within one run: what passes quickly is tried again at once, and for as long as that brings more."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.errors import ReconcilerError
from reconciler.host.base import termination

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

log = logging.getLogger(__name__)

PAUSE: Final = 1.0  # seconds after a failure, twice as many after the next
# By the codes of failures that pass: how often in a row they may bring nothing. Others end it at once.
LOOK_UP: Final = {"registry.broken-off": 2, "program.crashed": 2}
TRANSFER: Final = {
    "registry.broken-off": 3,
    "registry.failed": 3,
    "program.crashed": 3,
    "registry.unreachable": 3,
    "registry.credentials": 2,  # the manifest was let out just now: a token, or an address with one, that ran out
    "digest.mismatch": 2,  # cut off where nothing said how long it is
    "registry.timeout": 1,  # such a failure has taken a minute already
}


def persevere(attempt: Callable[[], T], fruitless: Mapping[str, int], missing: Callable[[], int] = lambda: 0) -> T:
    """Try again after failures that pass; where less is `missing` than before, they count from the beginning."""
    failures, before = 0, missing()
    while True:
        try:
            return attempt()
        except ReconcilerError as error:
            left = missing()
            failures = 0 if left < before else failures + 1
            if failures >= fruitless.get(error.code, 0):
                raise
            log.info("what broke off is tried again (%s)", error.code)
            log.debug("%s", error.message)
            before = left
        termination.sleep(PAUSE * 2 ** max(failures - 1, 0))
