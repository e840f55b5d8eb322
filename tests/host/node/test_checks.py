"""Checks tried for real: commands, files and servers. Units are tried on booted nodes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.host.node.checks import failure_of
from reconciler.model.config.healthchecks import Checks
from tests.rig.webserver import Handler, WebServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.commands
NOW = "0s"
SOON = "30s"


def _checks(**written: object) -> Checks:
    """As the configuration has them."""
    return Checks.model_validate(written)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("true",), None),
        (("false",), "false exits with 1"),
        (("sh", "-c", "echo first >&2; echo last >&2; exit 3"), "exits with 3 (last)"),
        (("sh", "-c", "kill -9 $$"), "exits with -9"),
        (("no-such-program",), "no-such-program"),
        (("sleep", "100"), "sleep 100: "),
    ],
)
def test_commands(command: tuple[str, ...], reason: str | None) -> None:
    found = failure_of(_checks(command=command, timeout=NOW))
    assert found is None if reason is None else reason in str(found)


def test_what_takes_time_is_waited_for(tmp_path: Path) -> None:
    there = tmp_path / "there"
    threading.Timer(0.3, there.touch).start()
    assert failure_of(_checks(file=str(there), timeout=SOON)) is None
    assert failure_of(_checks(file=f"{there}/not", timeout=NOW)) == f"{there}/not does not exist"


def test_servers(tmp_path: Path) -> None:
    (tmp_path / "fine").write_text("fine")
    with WebServer(tmp_path) as web:
        assert failure_of(_checks(http=f"{web.url}/fine", timeout=NOW)) is None
        assert failure_of(_checks(http=f"{web.url}/none", timeout=NOW)) == f"{web.url}/none answers with 404"
        web.fail("/fine", _elsewhere)
        assert failure_of(_checks(http=f"{web.url}/fine", timeout=NOW)) is None, "a redirection is an answer"
        assert [path for path, _ in web.requests] == ["/fine", "/none", "/fine"]
        web.fail("/fine", _busy, _busy)
        assert failure_of(_checks(http=f"{web.url}/fine", timeout=SOON)) is None
    assert f"{web.url}/fine does not answer: " in str(failure_of(_checks(http=f"{web.url}/fine", timeout=NOW)))


def _elsewhere(handler: Handler) -> bool:
    handler.fail(302, Location="http://example.invalid/")
    return True


def _busy(handler: Handler) -> bool:
    handler.fail(503)
    return True


def test_all_must_hold(tmp_path: Path) -> None:
    assert failure_of(_checks(file=str(tmp_path), command=("false",), timeout=NOW)) == "false exits with 1"
    assert failure_of(_checks(file=str(tmp_path), command=("true",), timeout=NOW)) is None
