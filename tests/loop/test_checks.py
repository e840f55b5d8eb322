"""Changes under check: what is recorded meanwhile."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.records.checks import read_checks, write_checks
from reconciler.loop.checks import check
from reconciler.model.config.healthchecks import Checks
from reconciler.model.kind import ExtensionId
from reconciler.model.plan.action import Check
from reconciler.model.state.checks import CheckedChange, CheckRecord, check_record_from_json
from reconciler.model.state.entry import Entry

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

X, A = ExtensionId("x"), Entry(f"sha256:{'a' * 64}")


@pytest.mark.commands
def test_while_checks_are_tried_it_is_recorded_until_when(paths: Paths, tmp_path: Path) -> None:
    write_checks(paths, CheckRecord().begun(X, A, None))
    copied = ("cp", str(paths.checks), str(tmp_path / "meanwhile"))
    before = time.time()
    check(
        paths,
        Check(X, Checks.model_validate({"command": copied, "timeout": "60s"}), ""),
        None,
        "",
        node_follows=False,
    )
    meanwhile = check_record_from_json(json.loads((tmp_path / "meanwhile").read_text()))
    until = meanwhile.pending[X].until
    assert until
    assert before + 60 <= until <= time.time() + 60
    assert read_checks(paths) == CheckRecord()


def test_what_failed_waits_for_nothing(paths: Paths) -> None:
    write_checks(paths, CheckRecord().begun(X, A, None))
    asked = Check(X, Checks.model_validate({"file": "/nowhere", "timeout": "1s"}), "")
    with pytest.raises(Failed):
        check(paths, asked, None, "one", node_follows=False)
    failed = CheckedChange(A, None, "/nowhere does not exist", "one")
    assert read_checks(paths) == CheckRecord(degraded={X: failed})
