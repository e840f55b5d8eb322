"""The verb that compares what is placed with how it was placed: verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_verb, print_result, say
from reconciler.verbs.exitstatus import ERROR, NOT_IN_SYNC, OK

if TYPE_CHECKING:
    import argparse


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "verify", _verify, "read all that is placed and say what was changed since")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these extensions")


def _verify(options: argparse.Namespace) -> int:
    from reconciler.query.verification import verify
    from reconciler.report import verify as report

    found = verify(Paths(options.root), frozenset(options.names))
    lines = report.lines(found, verbose=bool(options.verbose))
    print_result(options, lambda: report.document(found), lines)
    say(*report.complaints(found))
    if any(it.error for it in found):
        return ERROR
    return OK if all(it.is_intact for it in found) else NOT_IN_SYNC
