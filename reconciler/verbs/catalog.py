"""The verb about what there is to be had: catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import parsed
from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_verb, is_terminal, print_result, say
from reconciler.verbs.exitstatus import ERROR, OK

if TYPE_CHECKING:
    import argparse


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "catalog", _catalog, "show what catalogs and directories of releases have")
    parser.add_argument("action", choices=("list", "search"), help="list: by whole names; search: by parts of names")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME|SOURCE",
        help="names of extensions; catalogs and directories to ask in place of those of the configuration",
    )


def _catalog(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile
    from reconciler.loop.session import Options
    from reconciler.model.config.desired import for_host
    from reconciler.model.content.source import parse_source_or_directory
    from reconciler.model.plan.action import problem
    from reconciler.query import offers as query
    from reconciler.report import offers as report
    from reconciler.report.documents import problem_lines

    sources = [parsed(parse_source_or_directory, it, query.PLACES) for it in options.words if "://" in it]
    names = [it for it in options.words if "://" not in it]
    paths, desired, host = reconcile.configured(Paths(options.root), Options(options.config))
    found, errors = query.gather(paths, host, for_host(desired, host), sources)
    offers = [it for it in found if _is_asked_for(it.name, names, whole=options.action == "list")]
    problems = [problem(None, it) for it in errors]
    draw = report.versions if names and options.action == "list" else report.overview
    lines = [draw(offers, terminal=is_terminal())] if offers else []
    print_result(options, lambda: report.document(offers, problems), lines)
    if not options.json:
        say(*problem_lines(problems))
        if not (offers or problems):
            say(f"nothing is called {' or '.join(names)} there" if names else "there is nothing")
    return OK if offers and not errors else ERROR


def _is_asked_for(name: str, words: list[str], *, whole: bool) -> bool:
    return not words or any(word == name if whole else word.lower() in name.lower() for word in words)
