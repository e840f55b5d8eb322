"""What sources have answered in this run: of several extensions that want to know the same, one asks."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Answers:
    """For several threads at once: who asks the same waits for the answer, a failure too."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._turns: Final[dict[str, Lock]] = {}
        self._known: Final[dict[str, Any]] = {}

    def once(self, question: str, ask: Callable[[], T]) -> T:
        """What `ask` returns or raises; `question` says all that this depends on, and its kind first."""
        with self.turn(question):
            if question not in self._known:
                self._known[question] = result_of(ask)
        match self._known[question]:
            case ReconcilerError() as error:
                raise error
            case answer:
                return answer  # type: ignore[no-any-return]  # of the same question before

    @contextmanager
    def turn(self, subject: str) -> Iterator[None]:
        """One thread at a time, for what the next one finds done."""
        with self._lock:
            turn = self._turns.setdefault(subject, Lock())
        with turn:
            yield


def result_of(ask: Callable[[], T]) -> T | ReconcilerError:
    try:
        return ask()
    except ReconcilerError as error:
        return error
