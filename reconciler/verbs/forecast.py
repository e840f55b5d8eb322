"""The verb about an OS that this node is to have: check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.paths import Paths
from reconciler.verbs.console import ERROR, NOT_IN_SYNC, OK, Verbs, add_verb, print_json, print_line, say

if TYPE_CHECKING:
    import argparse

    from reconciler.loop.reconcile import Options
    from reconciler.model.plan.forecast import Forecast, Verdict


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    parser = add_verb(
        verbs, "check", _check, "say which extensions another OS would merge; exit 0 all, 2 not all, 1 error"
    )
    parser.add_argument(
        "--os-release", type=Path, required=True, metavar="FILE", help="the os-release file of the other OS"
    )
    _add_what_an_os_has(parser)
    parser.add_argument("--offline", action="store_true", help="ask no registry; judge what is in the store")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these extensions")
    return [parser]


def add_prefetch(parser: argparse.ArgumentParser) -> None:
    """The options of `apply` that make it fetch for another OS."""
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
    from reconciler.loop.reconcile import Options

    asked = Options(options.config, offline=options.offline, only=frozenset(options.names))
    new = osupdate.NewOs(options.os_release, options.systemd, options.kernel)
    found = osupdate.check(Paths(options.root), asked, new)
    _tell(found, json=options.json)
    return {True: OK, False: NOT_IN_SYNC, None: ERROR}[found.fits]


def prefetch(options: argparse.Namespace, asked: Options) -> int:
    """Fetch for another OS, and say what it would merge."""
    from reconciler.loop import osupdate

    new = osupdate.NewOs(options.for_os_release, options.systemd, options.kernel)
    work = osupdate.check if options.dry_run else osupdate.prefetch
    found = work(Paths(options.root), asked, new)
    _tell(found, json=options.json)
    return OK if found.fits else ERROR


def _tell(found: Forecast, *, json: bool) -> None:
    from reconciler.model.facts.hostfit import described

    if json:
        print_json(_document(found))
        return
    print_line(described(found.host))
    for verdict in found.verdicts:
        print_line(_line(verdict))
        if verdict.hint:
            say(f"  {verdict.wanted.name}: {verdict.hint}")


def _line(verdict: Verdict) -> str:
    from reconciler.report.documents import short

    answer = {True: "would be merged", False: "would not be merged", None: "cannot be told"}[verdict.fits]
    leads_to = ""
    if target := verdict.target:
        tag = f"{target.resolution.tag}, " if target.resolution.tag else ""
        stored = "in the store" if verdict.stored else "not in the store"
        leads_to = f" ({tag}{short(target.resolution.digest)}, {stored})"
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{verdict.wanted.name}: {answer}{reason}; {verdict.wanted.text}{leads_to}"


def _document(found: Forecast) -> dict[str, Any]:
    host = found.host
    return {
        "fits": found.fits,
        "host": {
            "id": host.os_release.get("ID", "linux"),
            "version_id": host.os_release.get("VERSION_ID"),
            "systemd": host.systemd,
            "kernel": host.kernel or None,
            "architecture": host.architecture,
        },
        "extensions": [_verdict_object(verdict) for verdict in found.verdicts],
    }


def _verdict_object(verdict: Verdict) -> dict[str, Any]:
    resolution = verdict.target.resolution if verdict.target else None
    return {
        "name": verdict.wanted.name,
        "kind": str(verdict.wanted.kind),
        "fits": verdict.fits,
        "source": verdict.wanted.text,
        "tag": resolution.tag or verdict.wanted.parts[0].source.tag if resolution else None,
        "digest": resolution.digest if resolution else None,
        "stored": verdict.stored,
        "reason": verdict.reason,
        "hint": verdict.hint,
    }
