"""The record of changes that have not passed their checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.host.base.durable import read_json, write_json
from reconciler.model.state.checks import CheckRecord, check_record_as_json, check_record_from_json

if TYPE_CHECKING:
    from reconciler.paths import Paths


def read_checks(paths: Paths) -> CheckRecord:
    return check_record_from_json(read_json(paths.checks))


def write_checks(paths: Paths, record: CheckRecord) -> None:
    """Record it, durably: a change that failed must not come back after a power cut."""
    if record != read_checks(paths):
        write_json(paths.checks, check_record_as_json(record))
