"""The verb about an OS that this node is to have: check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_verb, print_result, say
from reconciler.verbs.exitstatus import ERROR, FORECAST, OK

if TYPE_CHECKING:
    import argparse

    from reconciler.loop.session import Options
    from reconciler.model.plan.forecast import Forecast


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "check", _check, "say which extensions another OS would merge")
    parser.add_argument(
        "--os-release", type=Path, required=True, metavar="FILE", help="the os-release file of the other OS"
    )
    _add_what_an_os_has(parser)
    parser.add_argument("--offline", action="store_true", help="ask no registry; judge what is in the store")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these extensions")


def add_prefetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--for-os-release",
        type=Path,
        metavar="FILE",
        help="only fetch, for the OS with this os-release file",
    )
    _add_what_an_os_has(parser)


def _add_what_an_os_has(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--systemd", type=int, metavar="VERSION", help="the systemd of the other OS (as this node's)")
    parser.add_argument("--kernel", metavar="RELEASE", help="the kernel of the other OS, as uname -r says it")


def _check(options: argparse.Namespace) -> int:
    from reconciler.loop import osupdate
    from reconciler.loop.session import Options

    asked = Options(options.config, offline=options.offline, only=frozenset(options.names))
    new = osupdate.NewOs(options.os_release, options.systemd, options.kernel)
    found = osupdate.check(Paths(options.root), asked, new)
    _report(found, options)
    return FORECAST[found.fits]


def prefetch(options: argparse.Namespace, asked: Options) -> int:
    from reconciler.loop import osupdate

    new = osupdate.NewOs(options.for_os_release, options.systemd, options.kernel)
    work = osupdate.check if options.dry_run else osupdate.prefetch
    found = work(Paths(options.root), asked, new)
    _report(found, options)
    return OK if found.fits else ERROR


def _report(found: Forecast, options: argparse.Namespace) -> None:
    from reconciler.report import check

    print_result(options, lambda: check.document(found), check.lines(found))
    if not options.json:
        say(*check.hints(found))
