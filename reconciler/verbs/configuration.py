"""The verbs about the configuration alone: validate, schema, import-cloud-config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, InvalidConfiguration
from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_cloud_config, add_verb, cloud_configs, print_json, print_result, say
from reconciler.verbs.exitstatus import ERROR, OK

if TYPE_CHECKING:
    import argparse

    from reconciler.loop.config import Loaded
    from reconciler.model.config.desired import DesiredState


def add(verbs: Verbs) -> None:
    validate = add_verb(verbs, "validate", _validate, "read the configuration only")
    validate.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="these files as one configuration, the first lowest",
    )
    add_cloud_config(validate)
    add_verb(verbs, "schema", _schema, "print the JSON Schema of the configuration")
    imported = add_verb(verbs, "import-cloud-config", _import, "print what cloud-configs say as an extensions.yaml")
    imported.add_argument("files", nargs="+", type=Path, metavar="FILE", help="cloud-configs, the last wins")


def _validate(options: argparse.Namespace) -> int:
    from reconciler.report import configuration as report

    try:
        desired = _read_configuration(options)
    except Invalid as error:
        if not options.json:
            raise
        print_json(report.mistakes_document(error))
        return ERROR
    print_result(options, lambda: report.valid_document(desired), report.valid_lines(desired))
    return OK


def _read_configuration(options: argparse.Namespace) -> DesiredState:
    from reconciler.loop import config

    files, named = options.files or ([options.config] if options.config else []), cloud_configs(options)
    loaded = config.compose(files, named or ()) if files or named else config.load(Paths(options.root))
    _warn(loaded)
    if wrong := (*loaded.mistakes, *(it for it in loaded.troubles if isinstance(it, Invalid))):
        raise InvalidConfiguration(wrong)
    return loaded.desired


def _warn(loaded: Loaded) -> None:
    say(*(f"livelayer: {line}" for line in (*loaded.warnings, *loaded.notes)))


def _import(options: argparse.Namespace) -> int:
    import yaml

    from reconciler.loop import config
    from reconciler.report import configuration as report

    loaded = config.compose((), options.files)
    _warn(loaded)
    document = report.imported_document(loaded.tree or {})
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    print_result(options, lambda: document, report.imported_lines(options.files, text))
    return OK


def _schema(_options_given: argparse.Namespace) -> int:
    from reconciler.model.config.document import json_schema

    print_json(json_schema())
    return OK
