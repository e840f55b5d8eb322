"""HTTP and HTTPS as they are spoken here: whom to trust, what to follow, and what each failure means."""

from __future__ import annotations

import base64
import http.client
import random
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import reconciler
from reconciler.errors import Invalid, ReconcilerError, Unavailable
from reconciler.host import termination
from reconciler.model.limits import size_text
from reconciler.model.source import shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGENT: Final = f"livelayer/{reconciler.__version__}"
_LATER: Final = "a later run goes on from there"
_AGAIN: Final = "a later run tries again"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server. Times are in seconds."""

    attempts: int = 5  # in a row, without a byte that is new
    stall: float = 60.0  # for the next byte
    pause: float = 1.0  # before the second attempt; doubles
    longest: float = 60.0  # between two attempts, whatever the server asks for


PATIENCE: Final = Patience()


class Busy(Unavailable):
    """The server asks to come back later."""

    def __init__(self, message: str, hint: str, retry_after: float | None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after  # seconds


def peek(url: str, size: int = 1 << 16, patience: Patience = PATIENCE) -> bytes:
    """The first bytes of a file.

    Raises:
        ReconcilerError: as for `download`.
    """
    with understanding(url), open_url(url, {"Range": f"bytes=0-{size - 1}"}, patience) as answer:
        return answer.read(size)


def read_small(url: str, limit: int, patience: Patience = PATIENCE) -> bytes:
    """A whole file that is small.

    Raises:
        ReconcilerError: as for `download`.
    """
    attempt = 0
    while True:
        try:
            return _read(url, limit, patience)
        except Unavailable as error:
            attempt += 1
            if attempt == patience.attempts:
                raise
            pause(attempt, error, patience)


def _read(url: str, limit: int, patience: Patience) -> bytes:
    with understanding(url), open_url(url, {}, patience) as answer:
        content = answer.read(limit + 1)
        if len(content) > limit:
            raise Invalid(f"{shown_url(url)} has more than {size_text(limit)}", "check source:")
        return content


def pause(attempt: int, error: Unavailable, patience: Patience) -> None:
    """Wait before another attempt: as long as the server asks for, or longer with each, with jitter."""
    asked = error.retry_after if isinstance(error, Busy) else None
    seconds = asked if asked is not None else patience.pause * 2.0**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
    until = time.monotonic() + min(seconds, patience.longest)
    while (left := until - time.monotonic()) > 0:
        termination.check()
        time.sleep(min(left, 0.2))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """As urllib follows them, except that nothing leads from an encrypted connection to one that is not."""

    max_redirections = 10

    def redirect_request(  # noqa: PLR0913, PLR0917 - as urllib calls it
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise Invalid(
                f"{shown_url(req.full_url)} leads to {shown_url(newurl)}, which is not encrypted", "correct source:"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str, headers: dict[str, str], patience: Patience) -> http.client.HTTPResponse:
    """Ask for a URL. Proxies are those of the environment, authorities those of the system."""
    plain, credentials = _split_credentials(url)
    request = urllib.request.Request(plain, headers={**headers, "Accept-Encoding": "identity", "User-Agent": _AGENT})  # noqa: S310
    if credentials:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(credentials).decode()}")
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    answer: http.client.HTTPResponse = urllib.request.build_opener(secure, _Redirects).open(
        request, timeout=patience.stall
    )
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        answer.close()
        hint = "have the server send the file as it is, which is what was asked for"
        raise Invalid(f"{shown_url(url)}: the server sends it in the encoding {encoding}", hint)
    return answer


def _split_credentials(url: str) -> tuple[str, bytes]:
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(credentials).encode()


@contextmanager
def understanding(url: str) -> Iterator[None]:
    """Sort what goes wrong between here and the server by what happens next."""
    shown = shown_url(url)
    try:
        yield
    except ReconcilerError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise _of_status(error, shown) from error
    except urllib.error.URLError as error:
        raise _of_connection(error.reason, shown) from error
    except (TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _of_connection(error, shown) from error
    except http.client.HTTPException as error:
        what = f"the server's answer is no proper HTTP ({type(error).__name__})"
        raise Unavailable(f"{shown}: {what}", _AGAIN) from error


# What a status means where it is not the server's own trouble: the class, what it says, and what to do.
_STATUSES: Final[dict[int, tuple[str, str]]] = {
    **dict.fromkeys((401, 403, 407), ("the server refuses access", "put USER:PASSWORD@ before the host in source:")),
    **dict.fromkeys((404, 410), ("there is no such file", "check source:")),
    **dict.fromkeys((301, 302, 303, 307, 308), ("it leads from one place to the next, without end", "check source:")),
}


def _of_status(error: urllib.error.HTTPError, shown: str) -> ReconcilerError:
    told = f"{shown}: {error.code} {error.reason}"
    if error.code in {429, 503}:
        return Busy(f"{told}: the server asks to come back later", _AGAIN, _retry_after(error))
    if error.code in {408, 416} or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(f"{told}: the server has trouble with it", _AGAIN)
    meaning, hint = _STATUSES.get(error.code, ("the server refuses the request", "check source:"))
    return Invalid(f"{told}: {meaning}", hint)


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    text = error.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


# By class, the more special one first.
_FAULTS: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (socket.gaierror, "the host's name cannot be resolved", "check the network and DNS"),
    (ConnectionRefusedError, "the server refuses connections", "check that it is up"),
    (TimeoutError, "the server does not go on", _LATER),
    (ssl.SSLError, "no encrypted connection comes about", _AGAIN),
    (ConnectionError, "the connection broke off", _LATER),
)


def _of_connection(reason: object, shown: str) -> ReconcilerError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        what = f"the server's certificate is not trusted: {reason.verify_message}"
        return Invalid(f"{shown}: {what}", "install the certificate of its authority, or correct source:")
    for kind, what, hint in _FAULTS:
        if isinstance(reason, kind):
            return Unavailable(f"{shown}: {what} ({reason})", hint)
    return Unavailable(f"{shown}: {reason}", "check the network")
