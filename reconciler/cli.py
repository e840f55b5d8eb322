"""The command line: the only place that prints or exits."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import reconciler
from reconciler.errors import Invalid, InvalidConfiguration, ReconcilerError, Terminated
from reconciler.host import termination
from reconciler.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reconciler.model.desired import DesiredState
    from reconciler.model.plan import Problem
    from reconciler.reconcile import Options, Result

OK: Final = 0
ERROR: Final = 1
NOT_IN_SYNC: Final = 2
TRACEBACKS: Final = 2  # -vv
_INTERRUPTED: Final = 130
_PATIENCE: Final = 600.0  # seconds to wait for another run


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the command.

    Without the garbage collector: a run that finds nothing to do makes no garbage worth a tenth of its time.
    """
    gc.disable()
    options = _parser().parse_args(arguments)
    with _reporting_failures(options.verbose):
        _set_up(options)
        verb: Callable[[argparse.Namespace], int] = options.run
        status = verb(options)
        sys.stdout.flush()
        sys.stderr.flush()
        _exit(status)
    _exit(ERROR)


def _exit(status: int) -> NoReturn:
    """Leave without the interpreter's tear-down, which costs a no-op run tens of milliseconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _set_up(options: argparse.Namespace) -> None:
    from reconciler import logs

    # Whatever else is installed must not hook into root's validation; it also saves looking for such plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

    logs.set_up(options.verbose - options.quiet)
    termination.install()


@contextmanager
def _reporting_failures(verbose: int) -> Iterator[None]:
    """Expected failures as one line and a hint; the unexpected as one line and how to report it."""
    try:
        yield
    except ReconcilerError as error:
        _complain(error)
        _exit(ERROR)
    except Terminated as error:
        _say(f"livelayer: ended by {error}")
        _exit(_INTERRUPTED)
    except BrokenPipeError:
        _exit(ERROR)
    except OSError as error:
        if verbose >= TRACEBACKS:
            raise
        _say(f"livelayer: {error.filename}: {error.strerror}" if error.filename else f"livelayer: {error}")
        _say("  run it as root" if isinstance(error, PermissionError) else "  look at the file system")
        _exit(ERROR)
    except Exception as error:
        if verbose >= TRACEBACKS:
            raise
        _say(f"livelayer: unexpected {type(error).__name__}: {error}")
        _say("  this is a bug in livelayer; please report it with the output of the same command and -vv")
        _exit(ERROR)


def _complain(error: ReconcilerError) -> None:
    for item in error.mistakes if isinstance(error, InvalidConfiguration) else (error,):
        _say(f"livelayer: {item.message}")
        if item.hint:
            _say(f"  {item.hint}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - the command line's own voice


def _print(line: str) -> None:
    print(line)  # noqa: T201 - the command line's own voice


def _plan(options: argparse.Namespace) -> int:
    from reconciler import reconcile, report

    result = reconcile.look(Paths(options.root), _options(options))
    plan = result.view.plan
    if options.json:
        others = [item for item in result.problems if item not in plan.problems]
        _print_json(report.plan_document(plan, others))
    else:
        for action in plan.actions:
            _print(report.action_line(action))
        if result.in_sync:
            _print("in sync")
    _tell_problems(result, options)
    if result.problems:
        return ERROR
    return NOT_IN_SYNC if plan.actions else OK


def _apply(options: argparse.Namespace) -> int:
    if options.if_changed and _is_unchanged(options):
        return OK
    from reconciler import reconcile, report

    if options.dry_run:
        return ERROR if _plan(options) == ERROR else OK
    result = reconcile.converge(Paths(options.root), _options(options), "livelayer apply")
    if options.json:
        _print_json(report.status_document(result.statuses, result.problems, in_sync=result.in_sync))
    return OK if result.in_sync else ERROR


def _is_unchanged(options: argparse.Namespace) -> bool:
    """Whether the last run worked from the configuration as it is now."""
    from reconciler.host.configfiles import fingerprint
    from reconciler.host.durable import read_json

    paths = Paths(options.root)
    return bool(read_json(paths.seen) == [list(file) for file in fingerprint(paths, options.config)])


def _status(options: argparse.Namespace) -> int:
    from reconciler import reconcile, report, tables

    result = reconcile.status(Paths(options.root), _options(options))
    if options.json:
        _print_json(report.status_document(result.statuses, result.problems, in_sync=result.in_sync))
    else:
        _print(tables.status_table(result.statuses, terminal=sys.stdout.isatty()))
        _tell_ways_out(result)
    if not options.check:
        return OK
    if [item for item in result.problems if item.name is None]:
        return ERROR
    return OK if result.in_sync else NOT_IN_SYNC


def _explain(options: argparse.Namespace) -> int:
    from reconciler import explanation, reconcile

    result = reconcile.status(Paths(options.root), _options(options))
    found = [item for item in result.statuses if item.name == options.name]
    if not found:
        known = ", ".join(sorted({item.name for item in result.statuses})) or "none"
        raise Invalid(f"{options.name}: no such extension", f"there are: {known}")
    explained = [explanation.explain(item, result.view, result.problems) for item in found]
    if options.json:
        _print_json({"extensions": explained})
    else:
        for item in explained:
            _print("\n".join(explanation.lines(item)))
    return OK


def _validate(options: argparse.Namespace) -> int:
    try:
        desired = _read_configuration(options)
    except Invalid as error:
        if not options.json:
            raise
        mistakes = error.mistakes if isinstance(error, InvalidConfiguration) else (error,)
        told = [{"message": item.message, "hint": item.hint} for item in mistakes]
        _print_json({"valid": False, "extensions": [], "problems": told})
        return ERROR
    if options.json:
        _print_json({"valid": True, "extensions": [item.name for item in desired.extensions], "problems": []})
    elif not desired.configured:
        _print("no configuration: nothing is configured, so nothing would be changed")
    else:
        _print(f"valid: {len(desired.extensions)} extensions")
    return OK


def _read_configuration(options: argparse.Namespace) -> DesiredState:
    from reconciler import config

    files = options.files or ([options.config] if options.config else [])
    if files:
        return config.check(files)
    loaded = config.load(Paths(options.root))
    for warning in loaded.warnings:
        _say(f"livelayer: {warning}")
    if loaded.mistakes:
        raise InvalidConfiguration(loaded.mistakes)
    return loaded.desired


def _watch(options: argparse.Namespace) -> int:
    from reconciler.watch import Watcher

    gc.enable()
    try:
        Watcher(Paths(options.root), _options(options), options.resync).run()
    except Terminated as error:
        _say(f"livelayer: ended by {error}")
    return OK


def _schema(_options_given: argparse.Namespace) -> int:
    from reconciler.model.document import json_schema

    _print_json(json_schema())
    return OK


def _options(options: argparse.Namespace) -> Options:
    from reconciler.reconcile import Options

    given = vars(options)
    return Options(
        config=options.config,
        offline=given.get("offline", False),
        refresh=not given.get("no_refresh", False),
        only=frozenset(given.get("names", ())),
        patience=given.get("wait", _PATIENCE),
    )


def _tell_problems(result: Result, options: argparse.Namespace) -> None:
    from reconciler import report

    problems: tuple[Problem, ...] = result.problems
    if options.json:
        return
    for warning in result.warnings:
        _say(f"livelayer: {warning}")
    for item in problems:
        for line in report.problem_lines(item):
            _say(line)


def _tell_ways_out(result: Result) -> None:
    """Below the table, whose reasons say what is wrong: what to do, and what concerns no single extension."""
    for item in result.problems:
        if item.name is None:
            _say(item.message)
        if item.hint:
            _say(f"  {item.name}: {item.hint}" if item.name else f"  {item.hint}")


def _print_json(document: dict[str, Any]) -> None:
    _print(json.dumps(document, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="livelayer",
        description="Make a node's system extensions agree with its configuration.",
        epilog="Configuration: /etc/livelayer/extensions.yaml and extensions.d/*.yaml beside it. See livelayer(8).",
    )
    parser.add_argument("--version", action="version", version=f"livelayer {reconciler.__version__}")
    parser.add_argument("--root", type=_directory, default=Path("/"), help="work on the node below this directory")
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this main file instead of the node's own")
    _add_output_options(parser, default=None)
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for add in (_add_plan, _add_apply, _add_status, _add_explain, _add_validate, _add_watch, _add_schema):
        _add_output_options(add(verbs), default=argparse.SUPPRESS)
    return parser


class _Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other: argparse's own status, 2, means "changes pending" here."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and leave."""
        self.print_usage(sys.stderr)
        self.exit(ERROR, f"livelayer: {message}\n  see: {self.prog} --help\n")


def _add_output_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """The same options before and after the verb; behind it they are suppressed unless given."""
    count = {"action": "count", "default": default or 0}
    flag = {"action": "store_true", "default": default or False}
    parser.add_argument("--json", help="print one JSON document", **flag)  # type: ignore[arg-type]
    parser.add_argument("-v", "--verbose", help="say more; twice: tracebacks", **count)  # type: ignore[arg-type]
    parser.add_argument("-q", "--quiet", help="say only what is wrong", **count)  # type: ignore[arg-type]


Verbs = Any  # argparse names the type of add_subparsers() nowhere public


def _add_plan(verbs: Verbs) -> argparse.ArgumentParser:
    parser = _verb(
        verbs, "plan", _plan, "print what apply would do, and why; exit 0 in sync, 2 changes, 1 error", "diff"
    )
    parser.add_argument("--offline", action="store_true", help="ask no registry")
    return parser


def _add_apply(verbs: Verbs) -> argparse.ArgumentParser:
    parser = _verb(verbs, "apply", _apply, "converge; exit 0 in sync afterwards, 1 not")
    parser.add_argument("--offline", action="store_true", help="use no registry, only what is on this node")
    parser.add_argument("--dry-run", action="store_true", help="print the plan only")
    parser.add_argument(
        "--if-changed", action="store_true", help="only if the configuration changed since the last run"
    )
    parser.add_argument("--no-refresh", action="store_true", help="place only; the next boot (or you) merges")
    parser.add_argument(
        "--wait",
        type=float,
        default=_PATIENCE,
        metavar="SECONDS",
        help="how long to wait for another run (%(default)s)",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these extensions")
    return parser


def _add_status(verbs: Verbs) -> argparse.ArgumentParser:
    parser = _verb(verbs, "status", _status, "show every extension: desired, placed, merged, and why")
    parser.add_argument("--check", action="store_true", help="exit 0 in sync, 2 not, 1 error")
    return parser


def _add_explain(verbs: Verbs) -> argparse.ArgumentParser:
    parser = _verb(
        verbs, "explain", _explain, "say why an extension is as it is; exit 1 if there is none of the name"
    )
    parser.add_argument("name", metavar="NAME")
    return parser


def _add_validate(verbs: Verbs) -> argparse.ArgumentParser:
    parser = _verb(verbs, "validate", _validate, "read the configuration only; exit 0 valid, 1 not")
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="these files as one configuration, the first lowest",
    )
    return parser


def _add_watch(verbs: Verbs) -> argparse.ArgumentParser:
    parser = _verb(verbs, "watch", _watch, "stay, and converge on every change of the configuration")
    parser.add_argument(
        "--resync",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="look again after this time (%(default)s)",
    )
    return parser


def _add_schema(verbs: Verbs) -> argparse.ArgumentParser:
    return _verb(verbs, "schema", _schema, "print the JSON Schema of the configuration")


def _verb(
    verbs: Verbs, name: str, run: Callable[[argparse.Namespace], int], text: str, *aliases: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text[:1].upper() + text[1:] + ".", aliases=aliases
    )
    parser.set_defaults(run=run)
    return parser


def _directory(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no directory")
    return path
