"""A registry with all the faults that lie between a node and a real one, in front of which it stands."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Fault = Callable[["Exchange"], None]  # answers in place of the real registry

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing discards what was not sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What the real registry says."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request: passed on, unless a fault is set for it."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer."""
        faulty = self.server.faulty
        faulty.requests.append(f"{self.command} {self.path}")
        fault = faulty.fault_for(self.path) or faulty.otherwise
        if fault:
            fault(self)
        else:
            self.relay(self.ask())

    def do_HEAD(self) -> None:
        """Answer."""
        self.do_GET()

    def do_CONNECT(self) -> None:
        """As the proxy that HTTPS_PROXY names; there is nothing behind it but faults."""
        self.do_GET()

    def ask(self) -> Answer:
        """What the real registry says to this request."""
        connection = http.client.HTTPConnection(self.server.faulty.upstream, timeout=60)
        try:
            path = self.server.faulty.moved.get(self.path, self.path)
            connection.putrequest(self.command, path, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Accept comes several times
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def relay(self, answer: Answer, body: bytes | None = None) -> None:
        """Send an answer; `body` in place of its own, with the length of its own."""
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body if body is None else body)

    def refuse(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer of the proxy's own."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def hang_up(self) -> None:
        """End the connection as a server that ends does."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection as a machine that restarted does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        os.close(self.connection.detach())

    def stall(self) -> None:
        """Keep the connection, and say nothing more until the faults are over."""
        self.close_connection = True
        self.server.faulty.faults_over.wait()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as http.server has it
        """Say nothing."""


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """A status, such as a registry in trouble or a gateway before it has."""
    return lambda exchange: exchange.refuse(code, body, **headers)


def hang_up(exchange: Exchange) -> None:
    """End without an answer."""
    exchange.hang_up()


def reset(exchange: Exchange) -> None:
    """Reset without an answer."""
    exchange.reset()


def stall(exchange: Exchange) -> None:
    """No answer, ever."""
    exchange.stall()


def drip(exchange: Exchange) -> None:
    """A byte now and then, for as long as somebody takes it."""
    exchange.close_connection = True
    with suppress(OSError):
        while not exchange.server.faulty.faults_over.wait(0.2):
            exchange.wfile.write(b"x")


def part_then(end: Fault, share: float = 0.5) -> Fault:
    """A part of the body, half of it unless told otherwise, then another fault."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.ask()
        exchange.relay(answer, answer.body[: int(len(answer.body) * share)])
        exchange.wfile.flush()
        end(exchange)

    return fault


def corrupt(exchange: Exchange) -> None:
    """All that the real registry sends, with the last byte changed."""
    answer = exchange.ask()
    exchange.relay(answer, answer.body[:-1] + bytes([answer.body[-1] ^ 1]) if answer.body else b"")


def cut_short(exchange: Exchange) -> None:
    """Half of the body, as if that were all."""
    answer = exchange.ask()
    body = answer.body[: len(answer.body) // 2]
    headers = tuple((name, value) for name, value in answer.headers if name.lower() != "content-length")
    exchange.relay(Answer(answer.status, (*headers, ("Content-Length", str(len(body)))), body))


def ended_without_a_length(exchange: Exchange) -> None:
    """Half of the body of an answer that lasts until its connection ends (HTTP/1.0)."""
    answer = exchange.ask()
    headers = tuple((name, value) for name, value in answer.headers if name.lower() != "content-length")
    exchange.relay(Answer(answer.status, (*headers, ("Connection", "close")), answer.body[: len(answer.body) // 2]))
    exchange.hang_up()


class Shelf:
    """What a registry serves that checks nothing: images as no real one would take them."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[bytes, str]] = {"/v2/": (b"{}", "application/json")}

    def put_blob(self, content: bytes, media_type: str, *, here: bool = True) -> dict[str, Any]:
        """Add a blob, unless it is to be missing; returns what refers to it."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if here:
            self._answers[f"/blobs/{digest}"] = content, "application/octet-stream"
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def put_manifest(self, name: str, manifest: dict[str, Any], content_type: str | None = None) -> str:
        """Add a manifest as `NAME:v1`, and by its digest, which is returned."""
        content = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for reference in ("v1", digest):
            path = f"/v2/{name}/manifests/{reference}"
            self._answers[path] = content, manifest["mediaType"] if content_type is None else content_type
        return digest

    def serve(self, exchange: Exchange) -> None:
        """Answer, in place of a registry."""
        for path, (content, content_type) in self._answers.items():
            if exchange.path.endswith(path):
                exchange.refuse(200, content, Content_Type=content_type)
                return
        said = json.dumps({"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown to registry"}]}).encode()
        exchange.refuse(404, said, Content_Type="application/json")


class Tokens:
    """A service for tokens (distribution's token authentication), each good for so many requests."""

    def __init__(self, uses: int) -> None:
        self._uses = uses
        self._left: Counter[str] = Counter()
        self._lock = threading.Lock()

    def give(self, exchange: Exchange) -> None:
        """A new one."""
        with self._lock:
            token = f"token{len(self._left)}"
            self._left[token] = self._uses
        body = json.dumps({"token": token, "expires_in": 3600}).encode()
        exchange.refuse(200, body, Content_Type="application/json")

    def demand(self, exchange: Exchange) -> None:
        """Pass a request on that has one which is good."""
        token = exchange.headers.get("Authorization", "").removeprefix("Bearer ")
        with self._lock:
            is_good = self._left[token] > 0
            self._left[token] -= is_good
        if is_good:
            exchange.relay(exchange.ask())
            return
        realm = f'Bearer realm="http://{exchange.headers["Host"]}/token",service="registry"'
        said = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "expired"}]}).encode()
        exchange.refuse(401, said, WWW_Authenticate=realm, Content_Type="application/json")


@dataclass(slots=True)
class _Injection:
    paths: re.Pattern[str]
    fault: Fault
    after: int
    times: int


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    faulty: FaultyRegistry
    context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        """With TLS where that is wanted; its handshake is left to the request's own thread."""
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """A client that goes away, or does not trust the certificate, is what tests are about."""


class FaultyRegistry:
    """A proxy on a free loopback port, in front of a registry that speaks plain HTTP."""

    def __init__(self, upstream: str, *, tls: Path | None = None) -> None:
        self.upstream = upstream  # HOST:PORT
        self.requests: list[str] = []  # method and path, in order
        self.moved: dict[str, str] = {}  # paths, and those of the registry that they lead to in their place
        self.faults_over = threading.Event()
        self.otherwise: Fault | None = None  # what answers where nothing goes wrong; None: the real registry
        self._injections: list[_Injection] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Exchange)
        self._server.faulty = self
        if tls:
            self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server.context.load_cert_chain(tls / "server.pem", tls / "server.key")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def inject(self, fault: Fault, paths: str = "", *, after: int = 0, times: int = 1 << 30) -> None:
        """Let requests go wrong.

        Args:
            fault: what happens to them.
            paths: a regular expression that their paths match somewhere.
            after: how many of these are answered properly before.
            times: how many go wrong; then they are answered properly again.
        """
        self.faults_over.clear()
        self._injections.append(_Injection(re.compile(paths), fault, after, times))

    def heal(self) -> None:
        """No faults any more; connections that were stalled end."""
        self._injections.clear()
        self.faults_over.set()

    def fault_for(self, path: str) -> Fault | None:
        """What is to happen to a request; the first injection that applies to it counts it."""
        with self._lock:
            for injection in self._injections:
                if not injection.paths.search(path):
                    continue
                if injection.after:
                    injection.after -= 1
                    return None
                if injection.times:
                    injection.times -= 1
                    return injection.fault
        return None
