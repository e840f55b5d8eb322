"""The fetches of a run: those that take their time go on while what came before them is placed, pass after pass."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import field
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from concurrent.futures import Executor, Future
    from types import TracebackType
    from typing import Self, TypeAlias

    from reconciler.fetch.progress import Meters
    from reconciler.model.plan.action import Fetch
    from reconciler.model.state.entry import Entry

    Work: TypeAlias = tuple[Entry, bool]
    """What is fetched once, however many extensions want it: an entry, and whether its format may be another."""

_PARALLEL: Final = 4  # they wait for the network and the disk more than for a core


def work_of(action: Fetch) -> Work:
    return action.entry, action.wanted.format is None


@dataclass(slots=True)
class Underway:
    """A context: with its end, what nothing waits for any more ends, too."""

    is_outdated: Callable[[], bool] = bool  # whether another pass would want something else by now
    _stack: ExitStack = field(default_factory=ExitStack)
    _works: dict[Work, Future[Fetch]] = field(default_factory=dict)
    _begun: tuple[Executor, Meters] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_busy:
            from reconciler.host.base.workers import end_all

            end_all()
        self._stack.__exit__(kind, error, trace)

    @property
    def is_busy(self) -> bool:
        return any(not it.done() for it in self._works.values())

    def __contains__(self, action: Fetch) -> bool:
        return work_of(action) in self._works

    def start(self, actions: Iterable[Fetch], run: Callable[[Fetch, Meters], Fetch]) -> None:
        """Begin what has not begun yet."""
        for action in actions:
            if action not in self:
                pool, shown = self._begin()
                self._works[work_of(action)] = pool.submit(run, action, shown)

    def of(self, actions: Iterable[Fetch]) -> Mapping[Work, Future[Fetch]]:
        return {work_of(it): self._works[work_of(it)] for it in actions if it in self}

    def ended(self, others: Container[Work]) -> list[Fetch]:
        """What has come, but for some; since it was in the store already, no plan had it any more."""
        ended = [it for work, it in self._works.items() if it.done() and work not in others]
        return [it.result() for it in ended if not it.exception()]

    def forget(self, working: Container[Work]) -> None:
        """All but those, once it was seen how they ended: what is wanted again is fetched again."""
        self._works = {work: it for work, it in self._works.items() if work in working or not it.done()}
        if not self._works:
            self._stack.close()  # so the display goes before anything else is said
            self._begun = None

    def _begin(self) -> tuple[Executor, Meters]:
        """The threads, and the display; nothing of either is loaded by a run that fetches nothing."""
        if self._begun is None:
            from reconciler.fetch.progress import display
            from reconciler.host.base.workers import workers

            pool = self._stack.enter_context(workers(_PARALLEL))
            self._begun = pool, self._stack.enter_context(display())
        return self._begun
