"""HTTP and HTTPS by libcurl: whom to trust, what to follow, and what each failure means."""

from __future__ import annotations

import errno
import math
import os
import random
import re
import time
from contextlib import contextmanager
from dataclasses import field, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import pycurl

import reconciler
from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, ReconcilerError, Unavailable
from reconciler.host.base import termination
from reconciler.model.content.limits import TRANSFERS, size_text
from reconciler.model.content.retryafter import retry_after
from reconciler.model.content.source import secrets_of, shown_url, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    _Meaning: TypeAlias = tuple[type[ReconcilerError], str, str, str]  # with code, what happened, what to do

T = TypeVar("T")

_AGENT: Final = f"livelayer/{reconciler.__version__}"
_LATER: Final = "a later run goes on from there"
_AGAIN: Final = "a later run tries again"
_INTERIM, _SUCCESS, _REDIRECT = range(100, 200), range(200, 300), range(300, 400)  # statuses
_STATUS_LINE: Final = re.compile(r"HTTP/1\.[01] ([1-9][0-9]{2})(?![0-9])(.{0,80})")
_WHOLE: Final = {HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION}  # those that come with the file
_SMALL: Final = 600.0  # seconds for what is no content
_REDIRECT_MAX: Final = 1 << 20  # bytes of a redirect's own body, which nobody wants
# Where systems keep the authorities that they trust, since libcurl comes from elsewhere.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, NixOS, Flatcar
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, CentOS Stream, RHEL
    "/var/lib/ca-certificates/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server. Times are in seconds."""

    attempts: int = 5  # in a row, without a byte that is new
    stall: float = 60.0  # for the next byte
    pause: float = 1.0  # before the second attempt; doubles
    silence: float = 120.0  # in all, without a byte that is new; at the end of an attempt
    longest: float = 60.0  # between two attempts; a server that asks for more is left to a later run
    rate: int = TRANSFERS.min_rate  # bytes in a second: an attempt with fewer brings nothing that is new
    total: float = TRANSFERS.timeout  # for all attempts
    until: float | None = None  # by the monotonic clock: the end of that, once it has begun


PATIENCE: Final = Patience()


def persist(attempt: Callable[[Patience], T], patience: Patience, size: Callable[[], int] = lambda: 0) -> T:
    """Attempt until it succeeds, after pauses as long as the server asks for, or longer each time, with jitter.

    An attempt that makes `size` larger, and fast enough, does not count.
    """
    failed, since = 0, time.monotonic()
    until = since + patience.total
    while True:
        before, began = size(), time.monotonic()
        try:
            return attempt(replace(patience, until=until))
        except Unavailable as error:
            now = time.monotonic()
            has_gained = size() - before > patience.rate * (now - began)
            failed, since = (0, now) if has_gained else (failed + 1, since)
            is_over, asked = now - since >= patience.silence or now >= until, error.retry_after
            if failed == patience.attempts or is_over or (asked or 0.0) > patience.longest:
                raise
        longer = min(patience.pause * 2.0**failed, patience.longest)
        termination.sleep(longer * random.uniform(0.5, 1.5) if asked is None else asked)  # noqa: S311 - jitter


def peek(url: str, size: int = 1 << 16, patience: Patience = PATIENCE) -> bytes:
    """The first bytes of a file."""
    return _read(url, {"Range": f"bytes=0-{size - 1}"}, size, patience)[:size]


def read_small(url: str, limit: int, patience: Patience = PATIENCE) -> bytes:
    """A whole file that is small."""
    content = _read(url, {}, limit + 1, patience)
    if len(content) > limit:
        raise Invalid(f"{shown_url(url)} has more than {size_text(limit)}", "check source:", code="limit.exceeded")
    return content


def _read(url: str, headers: dict[str, str], enough: int, patience: Patience) -> bytes:
    def attempt(patience: Patience) -> bytes:
        content = bytearray()

        def take(piece: bytes) -> None:
            content.extend(piece)
            if len(content) >= enough:
                raise _Enough

        ask(url, headers, patience, take)
        return bytes(content)

    return persist(attempt, replace(patience, total=min(patience.total, _SMALL)))


class _Enough(Exception):
    """Nothing more is wanted of this answer."""


class _Raised(BaseException):
    """What a callback raises: pycurl prints an Exception and goes on with an error of its own."""

    def __init__(self, error: Exception) -> None:
        self.error = error


@contextmanager
def _raising() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _Raised(error) from error


@dataclass(slots=True)
class Answer:
    """What a server says, as libcurl reports it while it is at work.

    What is not content is bounded: libcurl takes 5,000 headers and 300 KB of them, those of interim answers and
    trailers included; an error's body ends at its first byte; only final answers and content are signs of life.
    """

    asked: str  # as it was asked for, with what is secret in it
    stall: float
    take: Callable[[bytes], None]
    begin: Callable[[Answer], None]
    is_range: bool
    status: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # by names in lower case
    _has_begun: bool = False
    _heard: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        """As it is shown."""
        return shown_url(self.asked)

    def quoted(self, said: str) -> str:
        """What the server said, for a message."""
        return without_secrets(secrets_of(self.asked), said)

    def on_header(self, line: bytes) -> None:
        """Of interim answers, redirects and proxies too, each of which begins with a status line; and trailers."""
        text = line.decode("latin-1").strip()
        if not self._has_begun and (found := _STATUS_LINE.match(text)):
            self.status, self.reason, self.headers = int(found[1]), found[2].strip(), {}
            if self.status not in _INTERIM:
                self._heard = time.monotonic()
        elif not self._has_begun:
            name, _, value = text.partition(":")
            self.headers[name.lower()] = value.strip()

    def on_content(self, piece: bytes) -> None:
        """Called for final answers only: what belongs to a redirect is dropped by libcurl."""
        with _raising():
            self._judge()
            self.take(piece)
        self._heard = time.monotonic()

    def on_progress(self, _total: int, here: int, *_uploads: int) -> None:
        """Called often, and each second at least."""
        termination.check()
        with _raising():
            if time.monotonic() - self._heard > self.stall:
                told = f"{self.url}: the server does not go on (no byte in {self.stall:g} s)"
                raise Unavailable(told, _LATER, code="web.unreachable")
            if here > _REDIRECT_MAX and not self._has_begun:
                told = f"{self.url}: its redirect has more than {size_text(_REDIRECT_MAX)}"
                raise Unavailable(told, _AGAIN, code="web.malformed")

    def _judge(self) -> None:
        """Begin, once it is clear that no other answer follows."""
        if self._has_begun:
            return
        self._has_begun = True
        if self.is_range and self.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _Enough
        if self.status not in _WHOLE and not (self.is_range and self.status == HTTPStatus.PARTIAL_CONTENT):
            raise of_status(self)
        encoding = self.headers.get("content-encoding", "").lower()
        if encoding not in {"", "identity"}:
            hint = "have the server send the file as it is, which is what was asked for"
            raise Invalid(
                f"{self.url}: the server sends it in the encoding {self.quoted(encoding)}", hint, code="web.malformed"
            )
        self.begin(self)


def ask(
    url: str,
    headers: dict[str, str],
    patience: Patience,
    take: Callable[[bytes], None],
    begin: Callable[[Answer], None] = lambda _: None,
) -> Answer:
    """Ask for a file once. Proxies are those of the environment, authorities those of the system.

    `begin` is given the answer before `take` is given the content piece by piece. Neither is called, and the answer's
    status is 416, where the server has nothing of the range that `headers` ask for.
    """
    answer = Answer(url, patience.stall, take, begin, "Range" in headers)
    handle = pycurl.Curl()
    try:
        for option, value in (_options(url, headers, answer) | _bounds(patience)).items():
            handle.setopt(option, value)
        handle.perform()
        answer.on_content(b"")
    except _Raised as raised:
        if not isinstance(raised.error, _Enough):
            raise raised.error from raised.error.__cause__
    except pycurl.error as error:
        raise _of_fault(error, answer, handle) from error
    finally:
        handle.close()
    return answer


def _options(url: str, headers: dict[str, str], answer: Answer) -> dict[int, object]:
    is_secure = url.lower().startswith("https:")
    options: dict[int, object] = {
        pycurl.URL: url.encode(),
        pycurl.HTTPHEADER: [f"{name}: {value}" for name, value in {**headers, "Accept-Encoding": "identity"}.items()],
        pycurl.USERAGENT: _AGENT,
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,  # whose status lines `Answer` reads
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
        pycurl.REDIR_PROTOCOLS: pycurl.PROTO_HTTPS if is_secure else pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
        pycurl.FOLLOWLOCATION: True,
        pycurl.MAXREDIRS: 10,
        pycurl.NOSIGNAL: True,  # there are other threads
        pycurl.HEADERFUNCTION: answer.on_header,
        pycurl.WRITEFUNCTION: answer.on_content,
        pycurl.XFERINFOFUNCTION: answer.on_progress,
        pycurl.NOPROGRESS: False,
    }
    if not is_secure and "http_proxy" not in os.environ:  # HTTP_PROXY is not libcurl's: a CGI's client could set it
        options[pycurl.PROXY] = os.environ.get("HTTP_PROXY")
    return options | _trusted()


def _bounds(patience: Patience) -> dict[int, object]:
    """For how long it may be too slow: a little longer than silent, which has words of its own."""
    left = patience.total if patience.until is None else patience.until - time.monotonic()
    return {
        pycurl.LOW_SPEED_LIMIT: patience.rate,
        pycurl.LOW_SPEED_TIME: math.ceil(patience.stall) + 1,
        pycurl.TIMEOUT_MS: max(1, int(left * 1000)),
    }


def _trusted() -> dict[int, str | None]:
    """The authorities that somebody named, or those of the system."""
    named, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    files = [named] if named else [] if directory else _BUNDLES
    file = next((it for it in files if Path(it).is_file()), None)
    return {pycurl.CAINFO: file, pycurl.PROXY_CAINFO: file, pycurl.CAPATH: directory, pycurl.PROXY_CAPATH: directory}


_LOGIN: Final = "put the right USER:PASSWORD@ before the host in source:"
_PROXY_LOGIN: Final = "put USER:PASSWORD@ before its host in HTTPS_PROXY or HTTP_PROXY"
_PROMISE: Final = "look for a proxy, or for a page that is generated, in the file's place; a later run tries again"
_OTHER: Final = (Invalid, "web.refused", "the server refuses the request", "check source:")
_STATUSES: Final[dict[int, _Meaning]] = {
    **dict.fromkeys(_SUCCESS, (Unavailable, "web.malformed", "the server promises a file and sends none", _PROMISE)),
    206: (Unavailable, "web.malformed", "the server sends another part than it was asked for", _PROMISE),
    401: (Invalid, "web.credentials", "the server wants valid credentials", _LOGIN),
    403: (Invalid, "web.refused", "the server forbids it", f"ask who runs it for access, or {_LOGIN}"),
    407: (Invalid, "web.proxy", "the proxy wants valid credentials", _PROXY_LOGIN),
    **dict.fromkeys((404, 410), (Invalid, "web.not-found", "there is no such file", "check source:")),
    **dict.fromkeys(
        (408, 416, *range(500, 600)), (Unavailable, "web.failed", "the server has trouble with it", _AGAIN)
    ),
}


def of_status(answer: Answer) -> ReconcilerError:
    told = f"{answer.url}: {answer.status} {answer.quoted(answer.reason)}"
    if answer.status in {429, 503}:
        seconds = retry_after(answer.headers.get("retry-after", ""))
        told = f"{told}: the server asks to come back later"
        return Unavailable(told, _AGAIN, retry_after=seconds, code="web.busy")
    kind, code, what, hint = _STATUSES.get(answer.status, _OTHER)
    return kind(f"{told}: {what}", hint, code=code)


# CURLE_*, see libcurl-errors(3), of which pycurl has no names for some.
_WEIRD_SERVER_REPLY, _PROXY, _TOO_LARGE = 8, 97, 100
_PROXIES: Final = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and that the proxy is up"
_NO_PROXY: Final = (Unavailable, "web.proxy", "the proxy cannot be used for it", _PROXIES)
_NO_HTTP: Final = (Unavailable, "web.malformed", "the server's answer is no proper HTTP", _AGAIN)
_NO_NAME: Final = (Unavailable, "web.unreachable", "the host's name cannot be resolved", "check the network and DNS")
_NO_SERVER: Final = (Unavailable, "web.unreachable", "the server refuses connections", "check that it is up")
_NO_TLS: Final = (Unavailable, "web.unreachable", "no encrypted connection comes about", _AGAIN)
_BROKEN: Final = (Unavailable, "web.broken-off", "the connection broke off", _LATER)
_TO_HTTPS: Final = "name in source: where the file is, if it is there by https://, too, or ask who runs the server"
_SLOW: Final = f"{_LATER}; if the server is that slow: settings.transfers"
_ENDLESS: Final = (Invalid, "web.redirect", "it leads from one place to the next, without end", "check source:")
_UNENCRYPTED: Final = (Invalid, "web.redirect", "it leads to a place which is not encrypted", _TO_HTTPS)
_UNKNOWN: Final = (Unavailable, "web.unreachable", "it cannot be fetched", "check the network")
_FAULTS: Final[dict[int, _Meaning]] = {
    pycurl.E_URL_MALFORMAT: (Invalid, "web.redirect", "a URL is none", "correct source:"),
    pycurl.E_TOO_MANY_REDIRECTS: _ENDLESS,
    pycurl.E_COULDNT_RESOLVE_HOST: _NO_NAME,
    pycurl.E_PARTIAL_FILE: (Unavailable, "web.broken-off", "the connection ended after a part", _LATER),
    pycurl.E_SSL_CONNECT_ERROR: _NO_TLS,
    pycurl.E_OPERATION_TIMEDOUT: (Unavailable, "web.too-slow", "it comes too slowly", _SLOW),
    **dict.fromkeys((pycurl.E_COULDNT_RESOLVE_PROXY, _PROXY), _NO_PROXY),
    **dict.fromkeys((pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR), _BROKEN),
    **dict.fromkeys((pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_BAD_CONTENT_ENCODING), _NO_HTTP),
    **dict.fromkeys((_WEIRD_SERVER_REPLY, _TOO_LARGE), _NO_HTTP),
}
# By OpenSSL's code of verification (X509_V_ERR_*). Time heals some: certificates are renewed, clocks are set.
_CERTIFICATES: Final[dict[int, tuple[type[ReconcilerError], str, str]]] = {
    9: (Unavailable, "is not valid yet", "check this node's clock: timedatectl"),
    10: (Unavailable, "has expired", "have it renewed by who runs the server, or check this node's clock"),
    # OpenSSL found nothing: it is libcurl that compares names.
    **dict.fromkeys((0, 1), (Invalid, "is another host's", "correct the host in source:")),
}
_UNTRUSTED: Final = (Invalid, "is not trusted", "install the certificate of its authority, or correct source:")


def _of_fault(error: pycurl.error, answer: Answer, handle: pycurl.Curl) -> ReconcilerError:
    number, said = error.args
    words = answer.quoted(said)  # a redirect's host, for instance, is the server's word
    if number == pycurl.E_PEER_FAILED_VERIFICATION:
        kind, what, hint = _CERTIFICATES.get(handle.getinfo(pycurl.SSL_VERIFYRESULT), _UNTRUSTED)
        words = words.removeprefix("SSL certificate OpenSSL verify result: ")
        return kind(f"{answer.url}: the server's certificate {what}: {words}", hint, code="web.certificate")
    cause = handle.getinfo(pycurl.OS_ERRNO) if number == pycurl.E_COULDNT_CONNECT else 0
    kind, code, what, hint = _meaning(number, cause, said, answer.status)
    return kind(f"{answer.url}: {what}: {words}{f': {os.strerror(cause)}' if cause else ''}", hint, code=code)


def _meaning(number: int, cause: int, words: str, status: int) -> _Meaning:
    if number == pycurl.E_UNSUPPORTED_PROTOCOL and status in _REDIRECT:
        return _UNENCRYPTED
    if number != pycurl.E_COULDNT_CONNECT:
        return _FAULTS.get(number, _UNKNOWN)
    if " over proxy " in words or "CONNECT " in words:
        return _STATUSES[status] if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else _NO_PROXY
    return _NO_SERVER if cause == errno.ECONNREFUSED else _UNKNOWN
