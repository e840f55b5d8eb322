"""Tries the checks of extensions on the running system."""

from __future__ import annotations

import os
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reconciler.errors import ReconcilerError, redacted
from reconciler.host.base.command import anyones, run
from reconciler.host.node import units
from reconciler.host.node.machine import booted_with_systemd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.model.config.healthchecks import Checks

_POLL: Final = 0.25  # seconds
_LEAST: Final = 1.0  # seconds that a command or a server has in any case
_UNANSWERED: Final = 400  # the first status of HTTP that is a failure


def failure_of(checks: Checks) -> str | None:
    """Why the checks fail; None: they pass. Each is tried until it holds or the timeout is over."""
    deadline = time.monotonic() + checks.timeout.total_seconds()
    for question in _questions(checks, deadline):
        if reason := _awaited(question, deadline):
            return reason
    return _unsettled(checks) if checks.units else None


def _unsettled(checks: Checks) -> str | None:
    """Whether units stay up. One that was started again has shown that it does not, so this is not tried again.

    A unit that crashes and is started again is active most of the time.
    """
    before = {name: units.invocation(name) for name in checks.units}
    time.sleep(checks.settle.total_seconds())
    if inactive := _inactive(checks.units):
        return inactive
    again = [name for name in checks.units if units.invocation(name) != before[name]]
    return f"{again[0]} did not stay up" if again else None


def _questions(checks: Checks, deadline: float) -> Iterator[Callable[[], str | None]]:
    """Units first, since the others ask what they bring."""
    if checks.units:
        yield lambda: _inactive(checks.units)
    if checks.file is not None:
        path = checks.file
        yield lambda: None if os.path.exists(path) else f"{path} does not exist"  # noqa: PTH110 - any path
    if checks.command:
        yield lambda: _command_failure(checks.command, deadline)
    if checks.http is not None:
        url = checks.http
        yield lambda: _http_failure(url, deadline)


def _awaited(question: Callable[[], str | None], deadline: float) -> str | None:
    """Asked at least once, also where the time is over."""
    while True:
        reason = question()
        if reason is None or time.monotonic() + _POLL >= deadline:
            return reason
        time.sleep(_POLL)


def _inactive(names: tuple[str, ...]) -> str | None:
    if not booted_with_systemd():
        return f"{names[0]} cannot be active, since systemd does not run here"
    for name in names:
        state = units.unit_state(name)
        if not state.is_active:
            return f"{name} is {state.words}"
    return None


def _command_failure(command: tuple[str, ...], deadline: float) -> str | None:
    words = redacted(" ".join(command))
    left = max(_LEAST, deadline - time.monotonic())
    try:
        finished = run(anyones(command[0]), *command[1:], timeout=left, most=1 << 16, memory=None)
    except ReconcilerError as error:
        return f"{words}: {error.message}"
    if finished.status == 0:
        return None
    said = f" ({finished.complaint})" if finished.stderr.strip() else ""
    return f"{words} exits with {finished.status}{said}"


def _http_failure(url: str, deadline: float) -> str | None:
    """Neither proxies nor redirections are followed, which would lead elsewhere: a redirection is an answer."""
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    left = max(_LEAST, deadline - time.monotonic())
    try:
        with closing(connect(parts.hostname or "", parts.port, timeout=left)) as connection:
            connection.request("GET", parts._replace(scheme="", netloc="", fragment="").geturl() or "/")
            status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        return f"{redacted(url)} does not answer: {error}"
    return f"{redacted(url)} answers with {status}" if status >= _UNANSWERED else None
