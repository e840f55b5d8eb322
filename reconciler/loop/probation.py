"""Changes that stay only if they do well: noted before they are made, judged by their checks after the merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Failed
from reconciler.host.records.checks import read_health, write_health
from reconciler.model.plan.action import Place, action_name

if TYPE_CHECKING:
    from reconciler.errors import ReconcilerError
    from reconciler.model.plan.action import Check, Remove
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths


def expect(paths: Paths, action: Place | Remove, previous: Link | None) -> None:
    """Note before a change that it is yet to prove itself: this run may be killed before it does.

    Raises:
        Failed: it cannot be noted.
    """
    if not action.probation or not paths.is_running_system:
        return
    new = action.new if isinstance(action, Place) else None
    write_health(paths, read_health(paths).expecting(action.ident, new, previous.entry if previous else None))


def judge(
    paths: Paths, action: Check, trouble: ReconcilerError | None, configuration: str, *, whole_follows: bool
) -> None:
    """Let a change stay, or condemn it: the next pass takes it back, as would the next run.

    Args:
        paths: the node.
        action: what is to be checked.
        trouble: what went wrong already with restarting units: then nothing has to be tried.
        configuration: the digest of the one that asks for the change.
        whole_follows: whether the node as a whole is checked later, which may condemn it still.

    Raises:
        Failed: the checks do not pass.
    """
    from reconciler.host.node.probes import failure_of

    name, known = action_name(action), read_health(paths)
    concerned = [ident for ident in known.unproven if name in {None, ident.name}]
    if reason := trouble.message if trouble else failure_of(action.checks):
        write_health(paths, known.condemning(concerned, reason, configuration))
        raise Failed(f"{name or 'the node'}: failed its checks: {reason}", "it goes back to what it was before")
    if not whole_follows or name is None:
        write_health(paths, known.proven(concerned))
