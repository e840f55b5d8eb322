"""What can go wrong, sorted by what happens next.

Each error is a message for a person (what, where, why), a hint (what to do), a code for scripts, and the extension
that it concerns. The class decides the rest: `Invalid` waits for the user, `Unavailable` is tried again later,
`Failed` is this node's trouble.
"""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, ClassVar, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_LONGEST: Final = 4000  # characters of a message; whoever is quoted in it may say as much as they like

_ERRNOS: Final = {
    errno.ENOSPC: "disk.full",
    errno.EDQUOT: "disk.full",
    errno.EROFS: "disk.read-only",
    errno.EIO: "disk.broken",
    errno.EACCES: "file.forbidden",
    errno.EPERM: "file.forbidden",
    errno.ENOENT: "file.missing",
}

# Whom a URL is for, and what it asks for; a digest behind a name is no host. The query ends with the word, but for
# what a sentence puts behind it.
_SECRETS: Final = re.compile(
    r"""://(?P<user>[^\s/?#]*@(?!sha256:))?(?P<place>[^\s?#]*)"""
    r"""(?P<query>\?\S*?(?=['":;,.)\]}]{0,3}(?:\s|$)))?"""
)
HIDDEN: Final = "***"


def redacted(text: str) -> str:
    """A text without what may be a secret in its URLs: user names, passwords and queries, tokens all of them."""
    if "://" not in text:
        return text
    return _SECRETS.sub(_without_secrets, text)


def _without_secrets(url: re.Match[str]) -> str:
    user, query = (f"{HIDDEN}@" if url["user"] else ""), (f"?{HIDDEN}" if url["query"] else "")
    return f"://{user}{url['place']}{query}"


def quoted(text: str) -> str:
    """What was to be a source and is none, for a complaint: whatever stands before an @ may be a password."""
    scheme, _, name = text.partition(":")
    if scheme == "catalog" and ":" not in name.partition("@")[0]:
        return repr(text)  # behind its @ stands a version
    before, at, rest = text.rpartition("@")
    scheme, separator, _ = before.partition("://")
    beginning = f"{scheme}{separator}" if separator else ""
    kept = f"{beginning}{HIDDEN}@{rest}" if at else text
    name, asks, _ = kept.partition("?")
    return repr(f"{name}?{HIDDEN}" if asks else name)


def shortened(text: str, most: int) -> str:
    """A text of so many characters at most: what it says first, and what last.

    Secrets go before, since of a URL that is cut nobody can tell any more what is one.
    """
    text = redacted(text)
    half = most // 2 - 3
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def printable(text: str, most: int = _LONGEST) -> str:
    """A text for people, without secrets, line breaks and control characters that others may put into it, and cut."""
    text = shortened(text, most)
    if text.isprintable():
        return text
    shown = (character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return shortened("".join(shown), most)


def file_of(error: OSError, otherwise: object) -> str:
    """What the kernel refused something for: some calls have no name for it, and some have one of bytes."""
    match error.filename:
        case str(name):
            return name
        case bytes(name):
            return name.decode(errors="backslashreplace")
        case _:
            return str(otherwise)


class ReconcilerError(Exception):
    """An expected failure: shown as one line and a hint, never as a traceback."""

    default_code: ClassVar = "failed"

    def __init__(
        self, message: str, hint: str | None = None, *, code: str | None = None, extension: str | None = None
    ) -> None:
        self.message = printable(message)
        self.hint = None if hint is None else printable(hint)
        self.code = code or self.default_code
        self.extension = extension  # None: it concerns none, or not one alone
        super().__init__(self.message)

    def __str__(self) -> str:
        return sentence(self.extension, self.message)

    @classmethod
    def of(cls, error: OSError, what: str, hint: str | None = None) -> Self:
        """What the kernel refused; the code says why."""
        return cls(f"{what}: {error.strerror or error}", hint, code=_ERRNOS.get(error.errno or 0, "file.unusable"))

    @classmethod
    @contextmanager
    def on_oserror(cls, what: str, hint: str | None = None) -> Iterator[None]:
        """Make it of what the kernel refuses meanwhile."""
        try:
            yield
        except OSError as error:
            raise cls.of(error, what, hint) from error

    @classmethod
    def unexpected(cls, error: Exception, what: str) -> Self:
        """What nobody has thought of: the trouble of what it happened with, and of nothing else."""
        hint = "this is a bug in livelayer; please report it with the output of the same command and -vv"
        return cls(f"{what}: unexpected {type(error).__name__}: {error}", hint, code="unexpected")

    def about(self, extension: str) -> Self:
        error = copy(self)
        error.extension = extension
        return error


def sentence(extension: str | None, message: str) -> str:
    """A message as people read it, with the extension that it concerns."""
    return f"{extension}: {message}" if extension else message


class Invalid(ReconcilerError):
    """The user's input is wrong; trying again without a change is pointless."""

    default_code = "invalid"


class Mistake(Invalid):
    """The configuration says what it cannot say."""

    default_code = "config.invalid"


class Malformed(Invalid):
    """An image is not what it says that it is, or is made as none may be."""

    default_code = "image.malformed"


class Unavailable(ReconcilerError):
    """Something outside this node did not answer; a later run may succeed."""

    default_code = "unavailable"

    def __init__(
        self, message: str, hint: str | None = None, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint, code=code)
        self.retry_after = retry_after  # seconds for which it asked to be left alone


class Pending(Unavailable):
    """Nothing is wrong, it is only not possible yet."""


class Deferred(Unavailable):
    """It failed in an earlier run, and is tried again later."""


class Offline(Pending):
    """It takes the network, which this run must not use."""

    default_code = "source.offline"


class Failed(ReconcilerError):
    """The node itself could not do it (a full disk, a refresh that merged nothing)."""


class NotInstalled(Failed):
    """A program that it takes is not on this node."""

    default_code = "program.missing"


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived: unwind, clean up and leave.

    Not an Exception, so that no handler for failures takes it for one.
    """


class InvalidConfiguration(Invalid):
    """The configuration has one or more mistakes, each with its place; the message is the first of them."""

    def __init__(self, mistakes: tuple[Invalid, ...]) -> None:
        first = mistakes[0]
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        super().__init__(f"{first.message}{more}", first.hint, code=first.code)
        self.mistakes = mistakes


def parsed(parse: Callable[[str], T], text: str, hint: str, option: str | None = None) -> T:
    """What a user wrote, behind an option maybe, by a parser of the model; Invalid in the parser's words."""
    try:
        return parse(text)
    except ValueError as error:
        raise Invalid(f"{option}: {error}" if option else str(error), hint) from None
