"""Changes that stay only if their checks pass: recorded before they are made, checked after the merge."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconciler.errors import Failed, ReconcilerError
from reconciler.host.node.checks import failure_of
from reconciler.host.records.checks import read_checks, write_checks
from reconciler.model.plan.action import Check, Place, Remove, action_name

if TYPE_CHECKING:
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths


def begin(paths: Paths, action: Place | Remove, previous: Link | None) -> None:
    """Record before a change that its checks are pending: this run may be killed before they are tried."""
    if not action.checked or not paths.is_running_system:
        return
    new = action.new if isinstance(action, Place) else None
    write_checks(paths, read_checks(paths).begun(action.ident, new, previous.entry if previous else None))


def check(
    paths: Paths, action: Check, trouble: ReconcilerError | None, configuration: str, *, node_follows: bool
) -> None:
    """Let a change stay, or record that it failed: the next pass takes it back, as would the next run.

    With `trouble` in restarting units nothing has to be tried; with `node_follows` the node as a whole is checked
    later, and the change may fail still.
    """
    name, known = action_name(action), read_checks(paths)
    concerned = [ident for ident in known.pending if name in {None, ident.name}]
    if trouble is None:
        write_checks(paths, known.awaited(concerned, time.time() + action.checks.longest))
    if reason := trouble.message if trouble else failure_of(action.checks):
        write_checks(paths, known.failed(concerned, reason, configuration))
        message = f"failed its checks: {reason}" if name else f"the node: failed its checks: {reason}"
        raise Failed(message, "it goes back to what it was before", code="checks.failed", extension=name)
    if not node_follows or name is None:
        write_checks(paths, known.passed(concerned))
