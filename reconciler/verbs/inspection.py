"""The verbs about an extension that need not be on this node: inspect, lint."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, ReconcilerError, parsed, redacted
from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_verb, is_terminal, print_json, print_result
from reconciler.verbs.exitstatus import ERROR, OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from reconciler.model.facts.extensionfacts import ExtensionFacts
    from reconciler.model.lint.rule import Finding, Rule
    from reconciler.query.inspection import Request
    from reconciler.report.extensionreport import Linted

_SEE = "see livelayer(8)"
_OPTIONS = {
    "set signed: false": "give --unsigned",
    "digest:": "--digest",
    "platform:": "--platform",
    "match:": "--match",
    "version:": "--range",
    "in source:": "in the source",
}
_SUBJECT = "a source, an image file, a tar archive or a directory"


def add(verbs: Verbs) -> None:
    _add_inspect(verbs)
    _add_lint(verbs)


def _add_inspect(verbs: Verbs) -> None:
    parser = add_verb(verbs, "inspect", _inspect, "show what an extension is, what is in it and which hosts it fits")
    parser.add_argument("subject", metavar="SOURCE", help=_SUBJECT)
    _add_common(parser)
    parser.add_argument(
        "--os-release",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="judge another host, too; repeatable",
    )
    parser.add_argument("--systemd", type=int, metavar="VERSION", help="the systemd of the other hosts")
    parser.add_argument("--architecture", metavar="NAME", help="the architecture of the other hosts, such as arm64")


def _add_lint(verbs: Verbs) -> None:
    parser = add_verb(verbs, "lint", _lint, "look for mistakes in extensions")
    parser.add_argument("subjects", nargs="+", metavar="SOURCE", help=_SUBJECT)
    _add_common(parser)
    parser.add_argument("--ignore", action="append", default=[], metavar="ID", help="leave a rule out; repeatable")
    parser.add_argument("--strict", action="store_true", help="let warnings fail, too")
    parser.add_argument("--require-signature", action="store_true", help="an image without signature is an error")
    parser.add_argument("--sarif", action="store_true", help="print a SARIF 2.1.0 log")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="NAME", help="what the extension shall be called")
    parser.add_argument("--digest", metavar="DIGEST", help="what it must have; https:// needs it or a SHA256SUMS")
    parser.add_argument("--platform", metavar="PLATFORM", help="of an image for several, such as linux/arm64")
    parser.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of a directory of releases, https://HOST/DIR/, the files to choose from; repeatable",
    )
    parser.add_argument("--range", metavar="RANGE", help="with --match: their versions, such as >=1.31,<1.32")
    parser.add_argument("--unsigned", action="store_true", help="SHA256SUMS of an https:// source may be unsigned")


def _request(options: argparse.Namespace, subject: str) -> Request:
    from reconciler.model.content.ociread import parse_platform
    from reconciler.model.content.source import parse_digest
    from reconciler.model.content.version import parse_range
    from reconciler.query.inspection import Request

    platform = parsed(parse_platform, options.platform, _SEE, "--platform") if options.platform else None
    digest = parsed(parse_digest, options.digest, _SEE, "--digest") if options.digest else None
    span = parsed(parse_range, options.range, _SEE, "--range") if options.range else None
    signed = not options.unsigned
    return Request(subject, options.name, digest, platform, match=tuple(options.match), versions=span, signed=signed)


def _inspect(options: argparse.Namespace) -> int:
    from reconciler.model.fit.release import parse_architecture
    from reconciler.query import inspection
    from reconciler.report import extensionreport, tables

    paths = Paths(options.root)
    architecture = options.architecture and parsed(parse_architecture, options.architecture, _SEE, "--architecture")
    with _told_here(options.subject):
        facts = inspection.gather(_request(options, options.subject), paths)
    others = [(file, options.systemd, architecture) for file in options.os_release]
    fits = inspection.fits(facts, paths, others)
    sheet = tables.sheet(extensionreport.inspection_rows(facts, fits), terminal=is_terminal())
    print_result(options, lambda: extensionreport.inspection_document(facts, fits), [sheet])
    return OK


@contextmanager
def _told_here(subject: str = "") -> Iterator[None]:
    """Messages may leave open what they are about; hints name keys of the configuration, which are options here."""
    try:
        yield
    except ReconcilerError as error:
        shown = redacted(subject)
        if shown.removeprefix("file://").rstrip("/") not in error.message:
            error.message = f"{shown}: {error.message}"
        for key, option in _OPTIONS.items():
            error.hint = error.hint and error.hint.replace(key, option)
        raise


def _lint(options: argparse.Namespace) -> int:
    from reconciler.model.lint.rule import fails

    rules = _rules(options.ignore)
    found = []
    for subject in options.subjects:
        request = replace(_request(options, subject), wants_signature=options.require_signature, shows_digest=False)
        found.append((redacted(subject), *_look(request, Paths(options.root), rules)))
    _report(found, rules, options)
    failed = any(fails(findings, strict=options.strict) for _, _, findings in found)
    return ERROR if failed else OK


def _rules(ignored: Sequence[str]) -> list[Rule]:
    from reconciler.model.lint.rules import RULES, UNREADABLE

    known = {rule.id for rule in RULES}
    without = {identity.upper() for identity in ignored}
    if unknown := sorted(without - known):
        raise Invalid(f"--ignore {unknown[0]}: there is no such rule", f"there are: {', '.join(sorted(known))}")
    return [UNREADABLE, *(rule for rule in RULES if rule.id not in without)]


def _look(request: Request, paths: Paths, rules: Sequence[Rule]) -> tuple[ExtensionFacts | None, list[Finding]]:
    """What cannot be read is a finding, too: the others are looked at all the same."""
    from reconciler.model.lint.rule import Finding, lint
    from reconciler.model.lint.rules import UNREADABLE
    from reconciler.query import inspection

    try:
        with _told_here():
            facts = inspection.gather(request, paths)
        return facts, lint(facts, rules)
    except ReconcilerError as error:
        words = f"{error} ({error.hint})" if error.hint else str(error)
        return None, [Finding(UNREADABLE, words)]


def _report(found: Sequence[Linted], rules: Sequence[Rule], options: argparse.Namespace) -> None:
    import reconciler
    from reconciler.model.lint.sarif import sarif_log
    from reconciler.report import extensionreport

    if options.sarif:
        directories = frozenset(subject for subject, _, _ in found if Path(subject).is_dir())
        findings = {subject: items for subject, _, items in found}
        print_json(sarif_log(findings, rules, reconciler.__version__, directories))
    else:
        print_result(options, lambda: extensionreport.lint_document(found), extensionreport.lint_lines(found))
