"""What a plan takes that is not empty: it is carried out, and tidied up after.

A run in sync loads nothing of it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.host.node import selinux
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.loop import garbage
from reconciler.loop.apply import Applier, Outcome
from reconciler.loop.recordkeeping import Kept, noted

if TYPE_CHECKING:
    from reconciler.errors import ReconcilerError
    from reconciler.loop.session import Session
    from reconciler.model.plan.action import Plan
    from reconciler.model.plan.status import View

log = logging.getLogger(__name__)


def apply(session: Session, plan: Plan) -> tuple[Outcome, ...]:
    desired, configuration = session.desired, session.configuration
    host = with_hierarchies(session.host, session.paths)
    return Applier(session.paths, host, session.resolver, desired, configuration, session.block).apply(plan)


def tidied(kept: Kept, session: Session, after: View) -> Kept:
    """Label what was written, and drop what nothing needs any more; with what went wrong with that."""
    troubles: list[ReconcilerError] = []
    with noted(troubles):
        if not session.paths.is_running_system:
            selinux.label_state(session.paths)
    with noted(troubles):
        if dropped := garbage.collect(session, after.observed):
            size = sum(it.size for it in dropped)
            log.info("cleared away %d items that nothing needs any more, %d bytes", len(dropped), size)
    return replace(kept, troubles=(*kept.troubles, *troubles))
