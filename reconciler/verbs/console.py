"""What all verbs have in common: their voice, and how a verb is added to the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.report.shown import shown
from reconciler.verbs import exitstatus

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

PATIENCE: Final = 600.0  # seconds to wait for another run

Verbs = Any  # argparse names the type of add_subparsers() nowhere public


def say(*lines: str) -> None:
    """Messages to a person: on stderr, so that results can be piped."""
    for line in lines:
        print(shown(line), file=sys.stderr)  # noqa: T201 - the command line's own voice


def print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2))  # noqa: T201 - the command line's own voice


def print_result(options: argparse.Namespace, document: Callable[[], dict[str, Any]], lines: Iterable[str]) -> None:
    if options.json:
        print_json(document())
    else:
        for line in lines:
            print(shown(line))  # noqa: T201 - the command line's own voice


def is_terminal() -> bool:
    return sys.stdout.isatty()


def add_verb(
    verbs: Verbs, name: str, run: Callable[[argparse.Namespace], int], text: str, *aliases: str
) -> argparse.ArgumentParser:
    """A verb; `run` gives its exit status, `text` becomes its help and its description."""
    text += exitstatus.words(name)
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text[:1].upper() + text[1:] + ".", aliases=aliases
    )
    parser.set_defaults(run=run)
    return parser


def add_cloud_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cloud-config",
        dest="cloud_configs",
        action="append",
        type=Path,
        metavar="FILE",
        help="read this cloud-config, in place of the node's own; may be repeated, the last wins",
    )


def cloud_configs(options: argparse.Namespace) -> tuple[Path, ...] | None:
    """The cloud-configs that the user named; None: the node's own count."""
    named = getattr(options, "cloud_configs", None)
    return tuple(path.absolute() for path in named) if named else None
