"""What a plan takes that is not empty: it is carried out, and tidied up after.

A run in sync loads nothing of it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.host.node import selinux
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.host.node.machine import with_image_support
from reconciler.loop import garbage
from reconciler.loop.apply import Applier, Outcome
from reconciler.loop.recordkeeping import Kept, noted
from reconciler.model.plan.action import Fetch
from reconciler.model.plan.target import Target, Targets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.loop.session import Session
    from reconciler.loop.underway import Underway
    from reconciler.model.plan.action import Plan
    from reconciler.model.plan.status import View

log = logging.getLogger(__name__)

_FOUND: Final = "auto: as its content turned out to be"


def apply(session: Session, plan: Plan, underway: Underway) -> tuple[Outcome, ...]:
    desired, configuration = session.desired, session.configuration
    host = with_hierarchies(session.host, session.paths)
    if session.paths.is_running_system and any(isinstance(it, Fetch) for it in plan.actions):
        host = with_image_support(host)  # content of an open format may turn out to be an image file
    applier = Applier(session.paths, host, session.resolver, desired, underway, configuration, session.block)
    return applier.apply(plan)


def as_fetched(targets: Targets, outcomes: Iterable[Outcome]) -> Targets:
    """What each extension shall be, now that it is known what was fetched."""
    fetched = {it.action.wanted.name: it.action for it in outcomes if isinstance(it.action, Fetch)}
    return {name: _as_fetched(it, fetched.get(name)) for name, it in targets.items()}


def _as_fetched(planned: Target | ReconcilerError, fetched: Fetch | None) -> Target | ReconcilerError:
    if isinstance(planned, ReconcilerError) or fetched is None or fetched.entry == planned.entry:
        return planned
    return Target(fetched.resolution, fetched.entry, _FOUND)


def tidied(kept: Kept, session: Session, after: View, underway: Underway) -> Kept:
    """Label what was written, and drop what nothing needs any more; with what went wrong with that.

    What is being fetched needs more than can be seen; the last pass comes after it.
    """
    if underway.is_busy:
        return kept
    troubles: list[ReconcilerError] = []
    with noted(troubles):
        if not session.paths.is_running_system:
            selinux.label_state(session.paths)
    with noted(troubles):
        if dropped := garbage.collect(session, after.observed):
            size = sum(it.size for it in dropped)
            log.info("cleared away %d items that nothing needs any more, %d bytes", len(dropped), size)
    return replace(kept, troubles=(*kept.troubles, *troubles))
