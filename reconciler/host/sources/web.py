"""HTTP and HTTPS as they are spoken here: whom to trust, what to follow, and what each failure means."""

from __future__ import annotations

import base64
import http.client
import os
import random
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import reconciler
from reconciler.errors import Invalid, ReconcilerError, Unavailable
from reconciler.host.base import termination
from reconciler.model.content.limits import size_text
from reconciler.model.content.retryafter import retry_after
from reconciler.model.content.source import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AGENT: Final = f"livelayer/{reconciler.__version__}"
_LATER: Final = "a later run goes on from there"
_AGAIN: Final = "a later run tries again"

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


PATIENCE: Final = Patience()


class Attempts:
    """How often, and for how long, a server was asked for something without a byte that is new."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._begin()

    def _begin(self) -> None:
        self._failed, self._since = 0, time.monotonic()

    def failed(self, error: Unavailable, *, is_further: bool = False) -> None:
        """Wait before another attempt: as long as the server asks for, or longer with each, with jitter.

        Args:
            error: how this one failed.
            is_further: whether it brought something nevertheless.

        Raises:
            Unavailable: the error, if there is to be no other attempt.
        """
        if is_further:
            self._begin()
        else:
            self._failed += 1
        patience, asked = self._patience, error.retry_after
        is_silent = time.monotonic() - self._since >= patience.silence
        if self._failed == patience.attempts or is_silent or (asked or 0.0) > patience.longest:
            raise error
        longer = min(patience.pause * 2.0**self._failed, patience.longest)
        _sleep(longer * random.uniform(0.5, 1.5) if asked is None else asked)  # noqa: S311 - jitter


def _sleep(seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        termination.check()
        time.sleep(min(left, 0.2))


def peek(url: str, size: int = 1 << 16, patience: Patience = PATIENCE) -> bytes:
    """The first bytes of a file.

    Raises:
        ReconcilerError: as for `download`.
    """
    return _persist(lambda: _read_start(url, size, patience), patience)


def read_small(url: str, limit: int, patience: Patience = PATIENCE) -> bytes:
    """A whole file that is small.

    Raises:
        ReconcilerError: as for `download`.
    """
    return _persist(lambda: _read(url, limit, patience), patience)


def _persist(attempt: Callable[[], bytes], patience: Patience) -> bytes:
    attempts = Attempts(patience)
    while True:
        try:
            return attempt()
        except Unavailable as error:
            attempts.failed(error)


def _read_start(url: str, size: int, patience: Patience) -> bytes:
    with understanding(url):
        try:
            with open_url(url, {"Range": f"bytes=0-{size - 1}"}, patience) as answer:
                return _read_whole(answer, size, url)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            error.close()
            return b""  # nothing is in the file


def _read(url: str, limit: int, patience: Patience) -> bytes:
    with understanding(url), open_url(url, {}, patience) as answer:
        content = _read_whole(answer, limit + 1, url)
        if len(content) > limit:
            raise Invalid(
                f"{shown_url(url)} has more than {size_text(limit)}", "check source:", code="limit.exceeded"
            )
        return content


def _read_whole(answer: http.client.HTTPResponse, size: int, url: str) -> bytes:
    """The body, or the first `size` bytes of it; told a number, read() does not mind a connection that broke off."""
    content = answer.read(size)
    if len(content) < size and answer.length:
        raise Unavailable(
            f"{shown_url(url)}: the connection ended before the file did", _AGAIN, code="web.broken-off"
        )
    return content


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
        if urlsplit(newurl).scheme not in {urlsplit(req.full_url).scheme, "https"}:
            fp.close()
            raise Invalid(
                f"{shown_url(req.full_url)} leads to {shown_url(newurl)}, which is not encrypted",
                "correct source:",
                code="web.redirect",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
    ) -> Any:  # noqa: ANN401 - as urllib types it
        """Follow; an address that cannot be read is the server's mistake."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError as error:
            fp.close()
            raise Invalid(
                f"{shown_url(req.full_url)} leads to what is no URL", "correct source:", code="web.redirect"
            ) from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def open_url(url: str, headers: dict[str, str], patience: Patience) -> http.client.HTTPResponse:
    """Ask for a URL. Proxies are those of the environment, authorities those of the system."""
    plain, credentials = _split_credentials(url)
    request = urllib.request.Request(plain, headers={**headers, "Accept-Encoding": "identity", "User-Agent": _AGENT})  # noqa: S310
    if credentials:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(credentials).decode()}")
    secure = urllib.request.HTTPSHandler(context=_trusting())
    answer: http.client.HTTPResponse = urllib.request.build_opener(secure, _Redirects).open(
        request, timeout=patience.stall
    )
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in {"", "identity"}:
        answer.close()
        hint = "have the server send the file as it is, which is what was asked for"
        raise Invalid(f"{shown_url(url)}: the server sends it in the encoding {encoding}", hint, code="web.malformed")
    return answer


def _trusting() -> ssl.SSLContext:
    """Trust the authorities that the system trusts.

    A distribution's own Python knows where they are. Another one may look in places that this system does not have.
    """
    context = ssl.create_default_context()
    known = ssl.get_default_verify_paths()
    named = known.openssl_cafile_env in os.environ or known.openssl_capath_env in os.environ
    if not (named or known.cafile or known.capath):
        bundle = next((it for it in _BUNDLES if Path(it).is_file()), None)
        if bundle:
            context.load_verify_locations(bundle)
    return context


def pieces(answer: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    """The body as it arrives. What waits for it returns at once when the main thread asks for an end.

    Raises:
        URLError: the connection broke; so that it is not taken for the disk's error.
    """
    with termination.woken(lambda: _end(answer)):
        while piece := _read_piece(answer, size):
            termination.check()
            yield piece
    termination.check()


def _read_piece(answer: http.client.HTTPResponse, size: int) -> bytes:
    try:
        return answer.read1(size)
    except OSError as error:
        termination.check()
        raise urllib.error.URLError(error) from error


def _end(answer: http.client.HTTPResponse) -> None:
    """Let a read in another thread come to its end."""
    with suppress(OSError, ValueError), socket.socket(fileno=os.dup(answer.fileno())) as connection:
        connection.shutdown(socket.SHUT_RD)


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
        raise _of_connection(error.reason, shown, _proxy_for(url)) from error
    except (TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _of_connection(error, shown) from error
    except http.client.HTTPException as error:
        what = f"the server's answer is no proper HTTP ({type(error).__name__})"
        raise Unavailable(f"{shown}: {what}", _AGAIN, code="web.malformed") from error


_LOGIN: Final = "put the right USER:PASSWORD@ before the host in source:"
# What a status means where it is not the server's own trouble: what it says, and what to do.
_STATUSES: Final[dict[int, tuple[str, str, str]]] = {
    401: ("web.credentials", "the server wants valid credentials", _LOGIN),
    403: ("web.refused", "the server forbids it", f"ask who runs it for access, or {_LOGIN}"),
    407: (
        "web.proxy",
        "the proxy wants valid credentials",
        "put USER:PASSWORD@ before its host in HTTPS_PROXY or HTTP_PROXY",
    ),
    **dict.fromkeys((404, 410), ("web.not-found", "there is no such file", "check source:")),
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        ("web.redirect", "it leads from one place to the next, without end", "check source:"),
    ),
}


def _of_status(error: urllib.error.HTTPError, shown: str) -> ReconcilerError:
    told = f"{shown}: {error.code} {error.reason}"
    if error.code in {429, 503}:
        seconds = retry_after(error.headers.get("Retry-After", ""))
        return Unavailable(
            f"{told}: the server asks to come back later", _AGAIN, retry_after=seconds, code="web.busy"
        )
    if error.code in {408, 416} or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(f"{told}: the server has trouble with it", _AGAIN, code="web.failed")
    code, meaning, hint = _STATUSES.get(
        error.code, ("web.refused", "the server refuses the request", "check source:")
    )
    return Invalid(f"{told}: {meaning}", hint, code=code)


# By class, the more special one first.
_FAULTS: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (socket.gaierror, "the host's name cannot be resolved", "check the network and DNS"),
    (ConnectionRefusedError, "the server refuses connections", "check that it is up"),
    (TimeoutError, "the server does not go on", _LATER),
    (ssl.SSLError, "no encrypted connection comes about", _AGAIN),
    (ConnectionError, "the connection broke off", _LATER),
)
# By OpenSSL's code of verification (X509_V_ERR_*). Time heals some: certificates are renewed, clocks are set.
_CERTIFICATES: Final[dict[int, tuple[type[ReconcilerError], str, str]]] = {
    9: (Unavailable, "is not valid yet", "check this node's clock: timedatectl"),
    10: (Unavailable, "has expired", "have it renewed by who runs the server, or check this node's clock"),
    **dict.fromkeys((62, 64), (Invalid, "is another host's", "correct the host in source:")),
}
_UNTRUSTED: Final = (Invalid, "is not trusted", "install the certificate of its authority, or correct source:")


_CONNECT_FAILED: Final = re.compile(r"Tunnel connection failed: (?P<status>\d{3}) ?(?P<reason>.*)")
_PROXIES: Final = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and that the proxy is up"


def _of_connection(reason: object, shown: str, proxy: str | None = None) -> ReconcilerError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        kind, what, hint = _CERTIFICATES.get(reason.verify_code, _UNTRUSTED)
        return kind(
            f"{shown}: the server's certificate {what}: {reason.verify_message}", hint, code="web.certificate"
        )
    if tunnel := _CONNECT_FAILED.match(str(reason)):
        return _of_tunnel(int(tunnel["status"]), f"{shown}: {tunnel['status']} {tunnel['reason']}")
    if proxy and isinstance(reason, (socket.gaierror, ConnectionRefusedError)):
        return Unavailable(f"{shown}: the proxy {proxy} cannot be used ({reason})", _PROXIES, code="web.proxy")
    for fault, what, hint in _FAULTS:
        if isinstance(reason, fault):
            return Unavailable(f"{shown}: {what} ({reason})", hint, code="web.unreachable")
    return Unavailable(f"{shown}: {reason}", "check the network", code="web.unreachable")


def _of_tunnel(status: int, told: str) -> ReconcilerError:
    """What a proxy said instead of connecting."""
    if status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        code, meaning, hint = _STATUSES[status]
        return Invalid(f"{told}: {meaning}", hint, code=code)
    return Unavailable(f"{told}: the proxy does not connect", _PROXIES, code="web.proxy")


def _proxy_for(url: str) -> str | None:
    """Host and port of the environment's proxy for a URL."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(proxy if "//" in proxy else f"//{proxy}").netloc.rpartition("@")[2]
