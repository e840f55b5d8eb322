"""Carry out a plan, action by action; one extension's failure is its own."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from reconciler import refresh as overlay
from reconciler.errors import Failed, ReconcilerError
from reconciler.host import links, store
from reconciler.host.durable import write_atomically
from reconciler.model.plan import Action, Fetch, Place, Plan, Refresh, Remove, Restart, Stop, action_name

if TYPE_CHECKING:
    from reconciler.images import Images
    from reconciler.model.observed import Link
    from reconciler.model.release import Host
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended."""

    action: Action
    error: ReconcilerError | None = None
    culprits: frozenset[str] = frozenset()  # the extensions on whose account a refresh failed, if it is known
    skipped: bool = False  # there was nothing left to do for it


@dataclass(slots=True)
class _Progress:
    """What this run has changed so far, so that it can be taken back."""

    previous: dict[str, Link | None] = field(default_factory=dict)  # each changed link as it was
    failed: dict[str, ReconcilerError] = field(default_factory=dict)  # by extension
    stopped: list[str] = field(default_factory=list)  # units of extensions that go

    culprits: frozenset[str] = frozenset()  # whose links were taken back

    @property
    def changed(self) -> frozenset[str]:
        return frozenset(self.previous)


@dataclass(frozen=True, slots=True)
class Applier:
    """The means to carry out plans on one node."""

    paths: Paths
    host: Host
    images: Images

    def apply(self, plan: Plan) -> tuple[Outcome, ...]:
        """Carry out a plan in its order; what failed is told in the outcomes, not raised."""
        if plan.actions:
            gc.enable()  # the command starts without
        progress = _Progress()
        refreshes = any(isinstance(action, Refresh) for action in plan.actions)
        return tuple(self._attempt(action, progress, owe=refreshes) for action in plan.actions)

    def _attempt(self, action: Action, progress: _Progress, *, owe: bool) -> Outcome:
        name = None if isinstance(action, Refresh) else action_name(action)
        if name in progress.failed:
            return Outcome(action, progress.failed[name])
        if isinstance(action, Refresh) and action.only_after_changes and not progress.previous:
            return Outcome(action, skipped=True)
        error = self._error_of(action, progress, owe=owe)
        if error and name:
            progress.failed[name] = error
        return Outcome(action, error, progress.culprits if isinstance(action, Refresh) else frozenset())

    def _error_of(self, action: Action, progress: _Progress, *, owe: bool) -> ReconcilerError | None:
        try:
            self._carry_out(action, progress, owe=owe)
        except ReconcilerError as error:
            return error
        except OSError as error:
            return Failed(f"{error.filename or type(action).__name__}: {error.strerror}", "look at the file system")
        return None

    def _carry_out(self, action: Action, progress: _Progress, *, owe: bool) -> None:
        match action:
            case Fetch():
                self._fetch(action)
            case Place() | Remove():
                self._change_link(action, progress, owe=owe)
            case Refresh():
                self._refresh(action, progress)
            case Restart():
                _restart(action.units)
            case Stop():
                _stop(action.units)
                progress.stopped.extend(action.units)
            case _:
                assert_never(action)

    def _change_link(self, action: Place | Remove, progress: _Progress, *, owe: bool) -> None:
        if owe:
            write_atomically(self.paths.refresh_owed, b"", durable=False)
        previous = links.read_link(self.paths, action.name)
        if isinstance(action, Place):
            links.place(self.paths, action.name, action.new)
        else:
            links.remove(self.paths, action.name)
        progress.previous[action.name] = previous

    def _fetch(self, action: Fetch) -> None:
        """Fetch, and judge what came before anything is placed: a bad image can block every other one."""
        name = action.wanted.name
        log.info("fetching %s from %s", name, action.wanted.text)
        try:
            self.images.fetch(action.wanted, action.resolution, action.entry)
            self.images.remember(action.wanted, action.resolution)
        except ReconcilerError as error:
            raise error.about(name) from error
        contents = store.read_contents(self.paths, [action.entry])[action.entry]
        if misfit := contents.misfit(name, self.host):
            raise misfit

    def _refresh(self, action: Refresh, progress: _Progress) -> None:
        removed = frozenset(name for name in progress.previous if not (self.paths.links / name).is_symlink())
        expected = overlay.Expectation(action.unchanged | (progress.changed - removed), removed)
        mismatch = overlay.refresh(self.paths, self.host, expected)
        restored = mismatch is None or self._restore(mismatch, action, progress)
        if restored:
            self.paths.refresh_owed.unlink(missing_ok=True)
            self._reload_manager(progress)
        if mismatch:
            raise Failed(mismatch.reason, mismatch.hint)

    def _restore(self, mismatch: overlay.Mismatch, action: Refresh, progress: _Progress) -> bool:
        """Give back the links that were changed for nothing: the culprits', or all if the innocent suffer too.

        Returns whether the overlay shows again what it should.
        """
        innocent_suffer = bool(mismatch.unmerged - progress.changed) or bool(mismatch.still_merged)
        progress.culprits = progress.changed if innocent_suffer else mismatch.unmerged
        for name in sorted(progress.culprits):
            progress.failed[name] = Failed(mismatch.reason, mismatch.hint)
            self._restore_link(name, progress.previous[name])
        kept = {name for name in progress.changed if progress.previous[name]}
        again = overlay.refresh(self.paths, self.host, overlay.Expectation(action.unchanged | kept))
        if again:
            log.error("the overlay is not as it was before: %s", again.reason)
        return again is None

    def _restore_link(self, name: str, previous: Link | None) -> None:
        try:
            if previous is None:
                links.remove(self.paths, name)
            else:
                links.restore(self.paths, previous)
        except ReconcilerError as error:
            log.error("the previous link could not be restored: %s", error.message)  # noqa: TRY400 - expected

    def _reload_manager(self, progress: _Progress) -> None:
        """Let systemd see units that came or went; systemd-sysext does so from 255 on, and only if asked to."""
        from reconciler.host import units

        links_now = links.read_links(self.paths, self.host.systemd).links
        entries = [link.entry for name, link in links_now.items() if name in progress.changed]
        entries += [link.entry for link in progress.previous.values() if link]
        carries_units = any(item.units for item in store.read_contents(self.paths, entries).values())
        if carries_units and units.booted_with_systemd():
            units.daemon_reload()
            units.stop_orphans(tuple(progress.stopped))


def _restart(names: tuple[str, ...]) -> None:
    from reconciler.host import units

    if units.booted_with_systemd():
        units.restart_all(names)


def _stop(names: tuple[str, ...]) -> None:
    from reconciler.host import units

    if units.booted_with_systemd():
        units.stop_all(names)
