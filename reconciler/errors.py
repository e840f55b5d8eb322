"""What can go wrong, sorted by what happens next.

Each error is one sentence for a person (what, where, why) and a hint (what to do). The class decides the rest:
`Invalid` waits for the user, `Unavailable` is tried again later, `Failed` is this node's trouble.
"""

from __future__ import annotations

from typing import Self


def printable(text: str) -> str:
    """A text without line breaks and control characters, which names and documents of others may contain."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


class ReconcilerError(Exception):
    """An expected failure: shown as one line and a hint, never as a traceback."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = printable(message)
        self.hint = None if hint is None else printable(hint)
        super().__init__(self.message)

    def about(self, name: str) -> Self:
        """The same failure, told of an extension."""
        return type(self)(f"{name}: {self.message}", self.hint)


class Invalid(ReconcilerError):
    """The user's input is wrong; trying again without a change is pointless."""


class Unavailable(ReconcilerError):
    """Something outside this node did not answer; a later run may succeed."""

    retry_after: float | None = None  # seconds that it wants to be left alone for


class Pending(Unavailable):
    """Nothing is wrong, it is only not possible yet."""


class Deferred(Unavailable):
    """It failed in an earlier run, and is tried again later."""


class Offline(Pending):
    """It takes the network, which this run must not use."""


class Failed(ReconcilerError):
    """The node itself could not do it (a full disk, a refresh that merged nothing)."""


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived: unwind, clean up and leave.

    Not an Exception, so that no handler for failures takes it for one.
    """


class InvalidConfiguration(Invalid):
    """The configuration has one or more mistakes, each with its place; the message is the first of them."""

    def __init__(self, mistakes: tuple[Invalid, ...]) -> None:
        first = mistakes[0]
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        super().__init__(f"{first.message}{more}", first.hint)
        self.mistakes = mistakes
