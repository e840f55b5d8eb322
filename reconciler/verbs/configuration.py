"""The verbs about the configuration alone: validate, schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, InvalidConfiguration
from reconciler.paths import Paths
from reconciler.verbs.console import ERROR, OK, Verbs, add_verb, print_json, print_line, say

if TYPE_CHECKING:
    import argparse

    from reconciler.model.desired import DesiredState


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    return [_add_validate(verbs), _add_schema(verbs)]


def _add_validate(verbs: Verbs) -> argparse.ArgumentParser:
    parser = add_verb(verbs, "validate", _validate, "read the configuration only; exit 0 valid, 1 not")
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="these files as one configuration, the first lowest",
    )
    return parser


def _add_schema(verbs: Verbs) -> argparse.ArgumentParser:
    return add_verb(verbs, "schema", _schema, "print the JSON Schema of the configuration")


def _validate(options: argparse.Namespace) -> int:
    try:
        desired = _read_configuration(options)
    except Invalid as error:
        if not options.json:
            raise
        mistakes = error.mistakes if isinstance(error, InvalidConfiguration) else (error,)
        told = [{"message": item.message, "hint": item.hint} for item in mistakes]
        print_json({"valid": False, "extensions": [], "problems": told})
        return ERROR
    if options.json:
        print_json({"valid": True, "extensions": [item.name for item in desired.extensions], "problems": []})
    elif not desired.configured:
        print_line("no configuration: nothing is configured, so nothing would be changed")
    else:
        print_line(f"valid: {len(desired.extensions)} extensions")
    return OK


def _read_configuration(options: argparse.Namespace) -> DesiredState:
    from reconciler import config

    files = options.files or ([options.config] if options.config else [])
    if files:
        return config.check(files)
    loaded = config.load(Paths(options.root))
    for warning in loaded.warnings:
        say(f"livelayer: {warning}")
    if loaded.mistakes:
        raise InvalidConfiguration(loaded.mistakes)
    return loaded.desired


def _schema(_options_given: argparse.Namespace) -> int:
    from reconciler.model.document import json_schema

    print_json(json_schema())
    return OK
