"""A web server with all the faults one may have, in this process, with or without TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    Fault = Callable[["Handler"], bool]  # answers in place of the server if it returns True


class Handler(BaseHTTPRequestHandler):
    """Serves files, whole or in part; before that, what faults are set for a path."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer."""
        web = self.server.web
        web.requests.append((self.path, dict(self.headers.items())))
        faults = web.faults.get(self.path.partition("?")[0], [])
        if faults and faults.pop(0)(self):
            return
        self.serve(web.directory / unquote(self.path.partition("?")[0]).lstrip("/"))

    def serve(self, file: Path, **changed: str) -> None:
        """Send a file, or the part that was asked for."""
        if not file.is_file():
            self.fail(404)
            return
        content, tag = file.read_bytes(), f'"{file.stat().st_mtime_ns}-{file.stat().st_size}"'
        headers = {"Content-Length": str(len(content)), "ETag": tag}
        status, first = 200, self._first(len(content), tag)
        if first:
            status, headers["Content-Length"] = 206, str(len(content) - first)
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self.send(status, content[first:], **{**headers, **changed})

    def send(self, status: int, content: bytes, **headers: str) -> None:
        """Send an answer as it is given."""
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def fail(self, status: int, **headers: str) -> None:
        """Send nothing but a status."""
        self.send(status, b"", Content_Length="0", **headers)

    def hang_up(self) -> None:
        """End the connection at once, as a server that dies does."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as http.server has it
        """Say nothing."""

    def _first(self, size: int, tag: str) -> int:
        wanted = self.headers.get("Range", "")
        if not wanted or self.headers.get("If-Range", tag) != tag:
            return 0
        first = int(wanted.removeprefix("bytes=").partition("-")[0])
        return first if first < size else 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    web: WebServer

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """A client that goes away is what some tests are about."""


class WebServer:
    """Serves a directory on a free loopback port as long as the context lasts."""

    def __init__(self, directory: Path, *, tls: Path | None = None) -> None:
        self.directory = directory
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.faults: dict[str, list[Fault]] = {}
        self._tls = tls
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.web = self

    def __enter__(self) -> Self:
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls / "server.pem", self._tls / "server.key")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, path: str, *faults: Fault) -> None:
        """Let the next requests for a path go wrong, one fault each."""
        self.faults[path] = list(faults)


@contextmanager
def trusted_server(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server with TLS for `www` in a directory, which this process trusts and asks without a proxy."""
    tls = certificate(directory / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(tls / "server.pem"))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (directory / "www").mkdir()
    with WebServer(directory / "www", tls=tls) as running:
        yield running


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test")
_AUTHORITY = """\
[ca]
default_ca = own
[own]
database = index
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


def certificate(directory: Path, name: str = "IP:127.0.0.1") -> Path:
    """A self-signed certificate; trusted where SSL_CERT_FILE names `server.pem`."""
    directory.mkdir()
    extension = ("-addext", f"subjectAltName={name}")
    _openssl(directory, "req", "-x509", *_NEW_KEY, *extension, "-keyout", "server.key", "-out", "server.pem")
    return directory


def expired_certificate(directory: Path) -> Path:
    """One that was good long ago."""
    directory.mkdir()
    (directory / "index").touch()
    (directory / "ca.conf").write_text(_AUTHORITY)
    extension = ("-addext", "subjectAltName=IP:127.0.0.1")
    _openssl(directory, "req", "-new", *_NEW_KEY, *extension, "-keyout", "server.key", "-out", "request")
    past = ("-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    files = ("-keyfile", "server.key", "-in", "request", "-out", "server.pem")
    _openssl(directory, "ca", "-selfsign", "-batch", "-notext", "-config", "ca.conf", *past, *files)
    return directory


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)
