"""The verbs about the configuration alone: validate, schema, import-cloud-config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import Invalid, InvalidConfiguration
from reconciler.paths import Paths
from reconciler.verbs.console import (
    ERROR,
    OK,
    Verbs,
    add_cloud_config,
    add_verb,
    cloud_configs,
    print_json,
    print_line,
    say,
)

if TYPE_CHECKING:
    import argparse

    from reconciler.loop.config import Loaded
    from reconciler.model.config.desired import DesiredState


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    return [_add_validate(verbs), _add_schema(verbs), _add_import(verbs)]


def _add_validate(verbs: Verbs) -> argparse.ArgumentParser:
    parser = add_verb(verbs, "validate", _validate, "read the configuration only; exit 0 valid, 1 not")
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="these files as one configuration, the first lowest",
    )
    add_cloud_config(parser)
    return parser


def _add_import(verbs: Verbs) -> argparse.ArgumentParser:
    parser = add_verb(verbs, "import-cloud-config", _import, "print what cloud-configs say as an extensions.yaml")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="cloud-configs, the last wins")
    return parser


def _add_schema(verbs: Verbs) -> argparse.ArgumentParser:
    return add_verb(verbs, "schema", _schema, "print the JSON Schema of the configuration")


def _validate(options: argparse.Namespace) -> int:
    try:
        desired = _read_configuration(options)
    except Invalid as error:
        if not options.json:
            raise
        from reconciler.model.plan.action import problem
        from reconciler.report import documents

        mistakes = error.mistakes if isinstance(error, InvalidConfiguration) else (error,)
        told = [documents.problem_object(problem(None, item)) for item in mistakes]
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
    from reconciler.loop import config

    files, named = options.files or ([options.config] if options.config else []), cloud_configs(options)
    loaded = config.compose(files, named or ()) if files or named else config.load(Paths(options.root))
    _tell(loaded)
    if loaded.mistakes:
        raise InvalidConfiguration(loaded.mistakes)
    return loaded.desired


def _tell(loaded: Loaded) -> None:
    for line in (*loaded.warnings, *loaded.notes):
        say(f"livelayer: {line}")


def _import(options: argparse.Namespace) -> int:
    from reconciler.loop import config

    loaded = config.compose((), options.files)
    _tell(loaded)
    from reconciler.model.config.document import API_VERSION

    tree = loaded.tree or {}
    parts: dict[str, Any] = {key: tree[key] for key in ("settings", "defaults", "extensions") if key in tree}
    document = {"apiVersion": API_VERSION, **parts}
    if options.json:
        print_json(document)
        return OK
    import yaml

    print_line(f"# From {', '.join(str(path) for path in options.files)}; see livelayer.yaml(5)")
    print_line(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())
    return OK


def _schema(_options_given: argparse.Namespace) -> int:
    from reconciler.model.config.document import json_schema

    print_json(json_schema())
    return OK
