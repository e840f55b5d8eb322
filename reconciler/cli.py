"""The command line: the only place that prints or exits."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import reconciler
from reconciler.errors import InvalidConfiguration, ReconcilerError, Terminated, file_of, printable
from reconciler.host.base import termination
from reconciler.report import logs
from reconciler.verbs import (
    building,
    catalog,
    configuration,
    forecast,
    generations,
    inspection,
    node,
    provides,
    publishing,
    verify,
)
from reconciler.verbs.console import say
from reconciler.verbs.exitstatus import ERROR, INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TRACEBACKS: Final = 2  # -vv
_NOBODY_ELSES: Final = 0o022  # what is made here is for nobody else to write, whatever the caller's mask allows


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    gc.disable()  # a run that finds nothing to do makes no garbage worth a tenth of its time
    options = _parser().parse_args(arguments)
    status = _run(options)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    os._exit(status)  # without the interpreter's tear-down, which costs a no-op run tens of milliseconds


def _run(options: argparse.Namespace) -> int:
    """Expected failures are one line and a hint; the unexpected one line and how to report it."""
    try:
        _set_up(options)
        verb: Callable[[argparse.Namespace], int] = options.run
        status = verb(options)
        sys.stdout.flush()
    except ReconcilerError as error:
        _complain(error)
    except Terminated as error:
        say(f"livelayer: ended by {error}")
        return INTERRUPTED
    except BrokenPipeError:
        return ERROR
    except OSError as error:
        if options.verbose >= TRACEBACKS:
            raise
        say(f"livelayer: {file_of(error, 'the system')}: {error.strerror or error}")
        say("  run it as root" if isinstance(error, PermissionError) else "  look at the file system")
    except Exception as error:
        if options.verbose >= TRACEBACKS:
            raise
        say(f"livelayer: unexpected {type(error).__name__}: {error}")
        say("  this is a bug in livelayer; please report it with the output of the same command and -vv")
    else:
        return status
    return ERROR


def _set_up(options: argparse.Namespace) -> None:
    # Whatever else is installed must not hook into root's validation; it also saves looking for such plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.umask(os.umask(_NOBODY_ELSES) | _NOBODY_ELSES)
    logs.set_up(options.verbose - options.quiet)
    termination.install()


def _complain(error: ReconcilerError) -> None:
    for item in error.mistakes if isinstance(error, InvalidConfiguration) else (error,):
        say(f"livelayer: {item}")
        if item.hint:
            say(f"  {item.hint}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="livelayer",
        description="Make a node's system extensions agree with its configuration.",
        epilog="Configuration: /etc/livelayer/extensions.yaml and extensions.d/*.yaml beside it. See livelayer(8).",
    )
    parser.add_argument("--version", action="version", version=f"livelayer {reconciler.__version__}")
    root, config = "work on the node below this directory", "read this main file instead of the node's own"
    parser.add_argument("--root", type=_directory, default=Path("/"), help=root)
    parser.add_argument("--config", type=Path, metavar="FILE", help=config)
    _add_output_options(parser, default=None)
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for subject in (
        node,
        generations,
        forecast,
        provides,
        verify,
        configuration,
        catalog,
        inspection,
        building,
        publishing,
    ):
        subject.add(verbs)
    for verb in set(verbs.choices.values()):
        verb.add_argument("--root", type=_directory, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        verb.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        _add_output_options(verb, default=argparse.SUPPRESS)
    return parser


class _Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other: argparse's own status, 2, means "changes pending" here."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse has it
        """Options may stand anywhere among a verb's words, where argparse leaves those behind the first option."""
        found, left = super().parse_known_args(args, namespace)
        if not left or self._subparsers or self._is_again:
            return found, left
        self._is_again = True
        return self.parse_known_intermixed_args(args, namespace)

    _is_again = False

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ERROR, f"livelayer: {printable(message)}\n  see: {self.prog} --help\n")


def _add_output_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """The same options before and after the verb; behind it they are suppressed unless given."""
    count = {"action": "count", "default": default or 0}
    flag = {"action": "store_true", "default": default or False}
    parser.add_argument("--json", help="print one JSON document", **flag)  # type: ignore[arg-type]
    parser.add_argument("-v", "--verbose", help="say more; twice: tracebacks", **count)  # type: ignore[arg-type]
    parser.add_argument("-q", "--quiet", help="say only what is wrong", **count)  # type: ignore[arg-type]


def _directory(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no directory")
    return path
