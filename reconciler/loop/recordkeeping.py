"""What a run records once its work is done. None of it may spoil the work, so trouble with it is only reported."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Deferred, Pending, ReconcilerError, Unavailable
from reconciler.host.base.failures import as_failure
from reconciler.host.records import history, retries
from reconciler.host.records.checks import read_checks, write_checks
from reconciler.host.records.refreshes import read_failed_refreshes, write_failed_refreshes
from reconciler.host.store import seals
from reconciler.loop import generations
from reconciler.model.plan import activation
from reconciler.model.plan.action import Fetch, Refresh, action_name
from reconciler.model.plan.status import Standing, View
from reconciler.model.plan.target import Target
from reconciler.model.state.failedrefresh import FailedRefresh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.loop.apply import Outcome
    from reconciler.loop.session import Session
    from reconciler.model.plan.target import Targets
    from reconciler.model.state.generation import Generation
    from reconciler.model.state.observed import ObservedState
    from reconciler.model.state.retry import Retry
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

# How the codes begin of what other content from the same source may not have.
_OF_CONTENT: Final = frozenset({"checks", "content", "image", "limit", "platform", "preflight", "release"})


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the node stands beyond its extensions by what is recorded, and what went wrong with recording it."""

    standing: Standing
    troubles: tuple[ReconcilerError, ...] = ()


def keep(session: Session, before: View, after: View, outcomes: tuple[Outcome, ...], doing: str) -> Kept:
    troubles: list[ReconcilerError] = []
    newest, known = None, session.retries
    with noted(troubles):
        if not session.held:  # a generation that is held says nothing about where sources lead
            session.resolver.remember_stored(session.desired, before.targets)
            session.resolver.remember_refused(session.desired, set(_refused(after, outcomes)))
    with noted(troubles):
        known = _remember_failures(session, before.targets, outcomes)
    with noted(troubles):
        _remember_refreshes(session, after, outcomes)
    with noted(troubles):
        if not session.held and not session.loaded.mistakes and generations.release(session.paths):
            log.info("the configuration has changed: no generation is held any more")
    with noted(troubles):
        newest = history.newest(session.paths)
        cause = f"rollback to {session.held.number}" if session.held else doing.removeprefix("livelayer ")
        newest = generations.record(session.paths, newest, after, session.loaded.tree, cause)
    with noted(troubles):
        _settle(session.paths, after.observed)
    return Kept(_standing(session, after, newest, known), tuple(troubles))


def _settle(paths: Paths, observed: ObservedState) -> None:
    if not (observed.intact or seals.unsealed(paths, observed) or paths.replaced.exists()):
        return
    from reconciler.loop import drift

    drift.settle(paths, observed)


@contextmanager
def noted(troubles: list[ReconcilerError]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - no record is worth a run
        troubles.append(as_failure(error, "the state"))


def read(session: Session, view: View) -> Kept:
    return Kept(_standing(session, view, history.newest(session.paths), session.retries))


def _standing(session: Session, view: View, newest: Generation | None, known: Mapping[str, Retry]) -> Standing:
    failed = read_failed_refreshes(session.paths).values()
    overlays = {name: it.retry for it in failed for name in it.names}
    units = activation.retries(view.desired, view.observed)
    waiting = {**units, **overlays, **known}
    return Standing(newest.number if newest else None, session.held.number if session.held else None, waiting)


def forget_failures(paths: Paths, names: frozenset[str]) -> None:
    write_checks(paths, read_checks(paths).without_failures_of(names))
    paths.retries.unlink(missing_ok=True)
    paths.failed_refreshes.unlink(missing_ok=True)


def _remember_failures(session: Session, targets: Targets, outcomes: Iterable[Outcome]) -> Mapping[str, Retry]:
    """When what failed for now is tried again; what was left alone this time keeps its time."""
    known = session.retries
    if not session.resolver.may_use_network:
        return known
    found = {name: known[name] for name, it in targets.items() if isinstance(it, Deferred) and name in known}
    failed = dict(_failures(targets, outcomes))
    found |= {name: retries.after_failure(known.get(name), error) for name, error in failed.items()}
    if found != known:
        retries.write_retries(session.paths, session.configuration, found)
    return found


def _refused(after: View, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Whose content is known, and not in its place, since something in it speaks against it."""
    failures = [(it.extension, it.code) for it in after.plan.problems]
    failures += [(action_name(it.action), it.error.code) for it in outcomes if it.error]
    failed = {name for name, code in failures if code.partition(".")[0] in _OF_CONTENT}
    for item in after.desired.extensions:
        target, link = after.targets[item.name], after.observed.links.get(item.ident)
        if item.name in failed and isinstance(target, Target) and (link is None or link.entry != target.entry):
            yield item.name


def _remember_refreshes(session: Session, after: View, outcomes: Iterable[Outcome]) -> None:
    """When a refresh that failed is tried again; by what the node is left with, from which the next run starts."""
    known = read_failed_refreshes(session.paths)
    tried = [(it.action.kind, it) for it in outcomes if isinstance(it.action, Refresh) and not it.skipped]
    found = {kind: it for kind, it in known.items() if kind not in {kind for kind, _ in tried}}
    failed = [(kind, error, it) for kind, it in tried if (error := it.error)]
    for own, error, outcome in failed:
        for kind in {own, *outcome.taken_back}:
            cause, before = session.cause(kind, after.observed, after.targets), known.get(kind)
            again = before.retry if before and before.cause == cause else None
            retry = retries.after_failure(again, error)
            found[kind] = FailedRefresh(cause, tuple(sorted(outcome.culprits)) or (kind,), retry)
    if found != known:
        write_failed_refreshes(session.paths, found)


def _failures(targets: Targets, outcomes: Iterable[Outcome]) -> Iterator[tuple[str, Unavailable]]:
    errors = [(name, it) for name, it in targets.items() if isinstance(it, ReconcilerError)]
    errors += [(it.action.wanted.name, it.error) for it in outcomes if isinstance(it.action, Fetch) and it.error]
    for name, error in errors:
        if isinstance(error, Unavailable) and not isinstance(error, Pending | Deferred):
            yield name, error
