"""The verb about a path of the node: provides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_verb, print_result
from reconciler.verbs.exitstatus import ERROR, OK

if TYPE_CHECKING:
    import argparse


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "provides", _provides, "say which extension a path comes from")
    parser.add_argument("path", metavar="PATH", help="absolute, such as /usr/bin/ipfs")


def _provides(options: argparse.Namespace) -> int:
    from reconciler.query import providers
    from reconciler.report import provides as report

    if not options.path.startswith("/"):
        raise Invalid(f"{options.path}: is not an absolute path", "begin it with /")
    found = providers.find(Paths(options.root), options.path)
    print_result(options, lambda: report.document(found), report.lines(found))
    return OK if found.is_provided else ERROR
