"""Let the running system take up what is merged: see `reconciler.model.plan.activation` for what that is.

What was done is recorded with the content it was done for, last: a run that ends in between leaves it owed.
"""

from __future__ import annotations

import logging
import time
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, ReconcilerError
from reconciler.host.base.workers import workers
from reconciler.host.merge.hostfiles import host_units
from reconciler.host.merge.links import read_links
from reconciler.host.merge.overlay import read_merged
from reconciler.host.node import units
from reconciler.host.node.chores import do_chore
from reconciler.host.records.activation import read_activation, write_activation
from reconciler.host.records.retries import after_failure
from reconciler.host.store import entries as store
from reconciler.host.store.pathlists import file_list
from reconciler.model.facts.needs import CHORES, RELOAD_UNITS, RESTART_UNITS, Chore, Needs, declared, needs_of
from reconciler.model.plan.activation import runnable, shown, stoppable, vanished, word_of
from reconciler.model.state.activation import Activated, Activation
from reconciler.model.state.observed import Link, ObservedState
from reconciler.model.state.units import Unit, UnitWord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import TypeAlias

    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.fit.release import Host
    from reconciler.model.kind import ExtensionId
    from reconciler.model.plan.action import Start
    from reconciler.model.state.retry import Retry
    from reconciler.paths import Paths

    _Done: TypeAlias = dict[ExtensionId, Activated]
    _Group: TypeAlias = tuple[tuple[ExtensionId, ...], Needs]

log = logging.getLogger(__name__)

_PARALLEL: Final = 8  # jobs that are waited for; the service manager orders them among each other
_SETTLE: Final = 0.25  # seconds in which a service shows that it cannot even begin (status 203, 217 and the like)
_RESTARTS_UNITS: Final = 262  # the first systemd that obeys such fields of release files itself


@dataclass(slots=True)
class Activator:
    """Activates what is merged on the running system, and reports what went wrong, each with its extension."""

    paths: Paths
    host: Host
    desired: DesiredState
    block: bool = True  # False: at boot, when no unit can be waited for
    stopped: tuple[str, ...] = ()  # units of extensions that went in this run
    _errors: list[ReconcilerError] = field(default_factory=list)
    _failed_before: Mapping[tuple[ExtensionId, str], Retry] = field(default_factory=dict)

    def activate(self) -> tuple[ReconcilerError, ...]:
        """All that is owed except the units that the configuration lists."""
        record, observed = read_activation(self.paths), self._observe()
        seen = shown(observed)
        gone = {ident: record.extensions[ident] for ident in vanished(replace(observed, activation=record))}
        due = {ident: it for ident, it in seen.items() if self._is_due(ident, record.of(ident, it.entry))}
        self._failed_before = {(ident, it): retry for ident in due for it, retry in record.failed(ident).items()}
        needs = {ident: self._needs(ident, link) for ident, link in due.items()}
        done = {ident: self._activated(ident, link, needs[ident], record, observed) for ident, link in due.items()}
        before = [it for ident in (*gone, *done) if (it := record.extensions.get(ident))]
        self._do_chores(needs, done, reload=bool(self.stopped) or any(it.units for it in before))
        after = record.without(gone).having(done)
        stopped = self._stop_orphans(before, after)
        self._try_again(done)
        self._obey(done, observed)
        write_activation(self.paths, after if stopped else after.having(gone))
        return tuple(self._errors)

    def start(self, actions: Collection[Start]) -> dict[ExtensionId, tuple[ReconcilerError, ...]]:
        """Let extensions' units run, on their present content; returns what went wrong, by extension.

        What runs on that content already is left alone.
        """
        record, seen = read_activation(self.paths), shown(self._observe())
        wanted = {it.ident: it for it in self.desired.extensions}
        known = {ident: of for ident, link in seen.items() if (of := record.of(ident, link.entry))}
        concerned = {it.ident: it for it in actions if it.ident in known and it.ident in wanted}
        states = units.show(name for it in concerned.values() for name in it.units)
        jobs = {
            ident: _jobs(wanted[ident], known[ident], {name: states[name] for name in it.units})
            for ident, it in concerned.items()
        }
        failed = self._run(jobs)
        now = {ident: _started(known[ident], it.units, jobs[ident], failed[ident]) for ident, it in concerned.items()}
        write_activation(self.paths, record.having(now))
        return {ident: tuple(it.values()) for ident, it in failed.items()}

    def _observe(self) -> ObservedState:
        found = read_links(self.paths, self.host.systemd)
        return ObservedState(self.host, found.links, found.unmanaged, merged=read_merged())

    def _needs(self, ident: ExtensionId, link: Link) -> Needs:
        """What its content asks for. That it cannot be read is told, and asks for nothing."""
        if self._is_left(ident):
            return Needs()
        try:
            files = file_list(self.paths, link.entry, remember=True)
        except ReconcilerError as error:
            self._errors.append(error.about(ident.name))
            return Needs()
        return needs_of(files.files if files else (), self._release(ident, link))

    def _is_left(self, ident: ExtensionId) -> bool:
        return any(it.ident == ident and it.activation == "none" for it in self.desired.extensions)

    def _is_due(self, ident: ExtensionId, known: Activated | None) -> bool:
        if known is None:
            return True
        return (known.is_left and not self._is_left(ident)) or any(what in CHORES for what in known.failed)

    def _release(self, ident: ExtensionId, link: Link) -> Mapping[str, str]:
        contents = store.read_contents(self.paths, [link.entry]).get(link.entry)
        return (contents.release_of(ident.name, self.host.systemd) if contents else None) or {}

    def _activated(
        self, ident: ExtensionId, link: Link, needs: Needs, record: Activation, observed: ObservedState
    ) -> Activated:
        known = record.of(ident, link.entry)
        if known:
            units_failed = {what: it for what, it in known.failed.items() if what not in CHORES}
            return replace(known, units=needs.units, failed=units_failed, is_left=self._is_left(ident))
        overlay = observed.overlay(ident.kind)
        since = overlay.since if overlay else None
        merged = since or link.changed
        if self.block and not record.is_recorded:
            # What runs although nothing was recorded, under an older livelayer, runs on what was placed then.
            merged = min(link.changed, merged)
        return Activated(link.entry, _monotonic(merged), needs.units, is_left=self._is_left(ident))

    def _do_chores(self, needs: Mapping[ExtensionId, Needs], done: _Done, *, reload: bool) -> None:
        """One after the other, users before the directories that they own; those that serve all, once."""
        for chore in Chore:
            concerned = {ident: it for ident, it in needs.items() if chore in it.chores}
            if chore in {Chore.SYSUSERS, Chore.TMPFILES}:
                groups: list[_Group] = [((ident,), it) for ident, it in sorted(concerned.items())]
            else:
                is_due = concerned or (reload and chore is Chore.MANAGER)
                groups = [(tuple(sorted(concerned)), Needs())] if is_due else []
            for idents, need in groups:
                self._do(chore, need, idents, done)

    def _do(self, chore: Chore, needs: Needs, idents: tuple[ExtensionId, ...], done: _Done) -> None:
        try:
            do_chore(chore, needs, booting=not self.block)
        except ReconcilerError as error:
            self._errors += [error.about(ident.name) for ident in idents] or [error]
            for ident in idents:
                retry = after_failure(self._failed_before.get((ident, chore)), error)
                done[ident] = replace(done[ident], failed={**done[ident].failed, chore: retry})

    def _stop_orphans(self, before: Iterable[Activated], after: Activation) -> bool:
        """Stop the units that nothing brings any more; `Upholds=` may have started them again meanwhile."""
        brought = {unit for it in after.extensions.values() for unit in it.units}
        known = {*self.stopped, *(unit for it in before for unit in it.units)}
        lost = [unit for unit in stoppable(known) if unit not in brought]
        try:
            ended = units.stop_all(lost, but_not=host_units)
        except ReconcilerError as error:
            self._errors.append(error)
            return False
        if ended:
            log.info("stopped %s, which nothing brings any more", " ".join(ended))
        return True

    def _try_again(self, done: Mapping[ExtensionId, Activated]) -> None:
        """Start what extensions bring and what failed before their users and directories were made.

        Systemd 255 and later start what is upheld as soon as they have merged it and read its unit.
        """
        ready = {ident: it for ident, it in done.items() if it.units and not it.failed}
        if not (ready and self.block):
            return
        names = runnable({unit for it in ready.values() for unit in it.units})
        fallen = {name for name, unit in units.show(names).items() if unit.active == "failed"}
        own = fallen - host_units(fallen)
        # How that ends is not reported, since the configuration asks for none of them: `status` tells how they are.
        self._run({ident: dict.fromkeys(own.intersection(it.units), "start") for ident, it in ready.items()})

    def _obey(self, done: Mapping[ExtensionId, Activated], observed: ObservedState) -> None:
        """What an extension's release file asks for, where systemd itself is too old to do it.

        The host's own units are not restarted, since that may be the end of a node, as with dbus.service.
        """
        if self.host.systemd >= _RESTARTS_UNITS:
            return
        failed = self._run(
            {
                ident: self._declared(self._release(ident, observed.links[ident]), known)
                for ident, known in done.items()
                if not known.failed
            }
        )
        self._errors += [error for errors in failed.values() for error in errors.values()]

    def _declared(self, release: Mapping[str, str], known: Activated) -> dict[str, str]:
        named, reload = declared(release, RESTART_UNITS), declared(release, RELOAD_UNITS)
        states = units.show((*named, *reload))
        hosts = host_units({*named, *(states[it].name for it in named)})  # also by what a name stands for
        restart = [it for it in named if not {it, states[it].name} & hosts]
        jobs = {unit: "restart" for unit in restart if states[unit].word(known.merged) is not UnitWord.RUNNING}
        return jobs | {it: "try-reload-or-restart" for it in reload if it not in jobs}

    def _run(self, jobs: Mapping[ExtensionId, Mapping[str, str]]) -> dict[ExtensionId, dict[str, ReconcilerError]]:
        """Side by side, so that one that cannot start keeps no other from it; returns what failed, by unit."""
        wanted = {unit: job for it in jobs.values() for unit, job in it.items()}
        if not wanted:
            return {ident: {} for ident in jobs}
        with workers(min(_PARALLEL, len(wanted))) as pool:
            begun = {unit: pool.submit(units.run_job, job, unit, block=self.block) for unit, job in wanted.items()}
            failed = {unit: error for unit, it in begun.items() if (error := _reconciler_error(it.exception()))}
        if self.block:
            failed = _fallen(set(wanted) - failed.keys()) | failed
        return {
            ident: {it: failed[it].about(ident.name) for it in its if it in failed} for ident, its in jobs.items()
        }


def _started(
    known: Activated, names: Collection[str], jobs: Collection[str], failed: Mapping[str, ReconcilerError]
) -> Activated:
    kept = {what: it for what, it in known.failed.items() if what not in names}
    retries = {unit: after_failure(known.failed.get(unit), error) for unit, error in failed.items()}
    ran = tuple(sorted({*known.ran, *jobs} - failed.keys()))
    return replace(known, started=True, failed=kept | retries, ran=ran)


def _jobs(wanted: Wanted, known: Activated, states: Mapping[str, Unit]) -> dict[str, str]:
    jobs: dict[str, str] = {}
    for name in states:
        match word_of(name, states, known):
            case UnitWord.RUNNING | UnitWord.FINISHED:
                continue
            case UnitWord.OLD_CODE if name in wanted.start:
                jobs[name] = "restart"
            case UnitWord.OLD_CODE if not known.started:
                jobs[name] = "reload-or-restart"
            case _ if name in wanted.start:
                jobs[name] = "start"
            case _:
                continue
    return jobs


def _fallen(started: set[str]) -> dict[str, ReconcilerError]:
    """Which of these units, whose start went well, are down again."""
    if not started:
        return {}
    time.sleep(_SETTLE)
    hint = "look at: systemctl status"
    return {
        name: Failed(f"{name} does not stay up: it is {unit.words}", f"{hint} {name}", code="unit.start-failed")
        for name, unit in units.show(started).items()
        if unit.word(0) not in {UnitWord.RUNNING, UnitWord.FINISHED} and not unit.is_forgotten_oneshot
    }


def _reconciler_error(error: BaseException | None) -> ReconcilerError | None:
    if error is None or isinstance(error, ReconcilerError):
        return error
    raise error


def _monotonic(realtime: int) -> int:
    """A time of the epoch on the clock that nobody sets, in nanoseconds."""
    return max(0, time.monotonic_ns() - max(0, time.time_ns() - realtime))
