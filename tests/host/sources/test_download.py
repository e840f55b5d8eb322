"""Downloads from a real server that has all the faults one may have."""

from __future__ import annotations

import errno
import hashlib
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Failed, Invalid, ReconcilerError, Terminated, Unavailable
from reconciler.host.base import termination
from reconciler.host.sources import download as module
from reconciler.host.sources import web
from reconciler.host.sources.download import download
from reconciler.host.sources.web import Patience, peek, read_small
from tests.rig.webserver import Handler, WebServer, certificate, expired_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTENT: Final = hashlib.shake_256(b"content").digest(3 << 20)
DIGEST: Final = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
HASTE: Final = Patience(attempts=3, stall=1, pause=0.01, longest=0.05)


class Bench:
    """A server with one file, and a directory to bring it to."""

    def __init__(self, server: WebServer, base: Path) -> None:
        self.server = server
        self.target = base / "target"
        self.told: list[tuple[int, int | None]] = []

    def fetch(
        self,
        path: str = "/file.raw",
        digest: str = DIGEST,
        limit: int = 1 << 30,
        patience: Patience = HASTE,
        url: str | None = None,
    ) -> Path:
        return download(
            (url or self.server.url) + path,
            digest,
            self.target,
            size_limit=limit,
            progress=lambda done, total: self.told.append((done, total)),
            patience=patience,
        )

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.server.requests]

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.target.iterdir()) if self.target.exists() else []


@contextmanager
def _serving(base: Path, **options: Path) -> Iterator[Bench]:
    (base / "www").mkdir()
    (base / "www/file.raw").write_bytes(CONTENT)
    with WebServer(base / "www", **options) as server:
        yield Bench(server, base)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A server without TLS."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with _serving(tmp_path) as running:
        yield running


def _drop_after(size: int, **changed: str) -> Callable[[Handler], bool]:
    """Promise all, send some, hang up."""

    def fault(handler: Handler) -> bool:
        file = handler.server.web.directory / "file.raw"
        tag = f'"{file.stat().st_mtime_ns}-{file.stat().st_size}"'
        headers = {"Content-Length": str(len(CONTENT)), "ETag": tag, **changed}
        handler.send(200, CONTENT[:size], **headers)
        handler.hang_up()
        return True

    return fault


def _status(status: int, **headers: str) -> Callable[[Handler], bool]:
    def fault(handler: Handler) -> bool:
        handler.fail(status, **headers)
        return True

    return fault


def _stall(handler: Handler) -> bool:
    handler.send(200, CONTENT[:1000], Content_Length=str(len(CONTENT)))
    handler.wfile.flush()
    time.sleep(2)
    handler.hang_up()
    return True


def _hang_up(handler: Handler) -> bool:
    handler.hang_up()
    return True


def _nonsense(handler: Handler) -> bool:
    handler.wfile.write(b"no HTTP at all\r\n\r\n")
    handler.hang_up()
    return True


def test_a_file_arrives_under_its_digest_and_is_not_fetched_twice(bench: Bench) -> None:
    path = bench.fetch("/file.raw?token=secret")
    assert (path.name, path.read_bytes()) == (DIGEST[7:], CONTENT)
    assert bench.left == [DIGEST[7:]]
    assert bench.told[-1] == (len(CONTENT), len(CONTENT))
    assert bench.fetch() == path
    assert len(bench.server.requests) == 1
    path.write_bytes(b"damaged")
    assert bench.fetch().read_bytes() == CONTENT


def test_a_dropped_connection_is_resumed(bench: Bench) -> None:
    bench.server.fail("/file.raw", _drop_after(1 << 20), _hang_up, _drop_after(0))
    assert bench.fetch().read_bytes() == CONTENT
    assert bench.ranges == [None, *[f"bytes={1 << 20}-"] * 3]


def test_what_a_failed_run_got_is_continued_by_the_next(bench: Bench) -> None:
    bench.server.fail("/file.raw", _drop_after(1 << 20), *[_hang_up] * 3)
    with pytest.raises(Unavailable):
        bench.fetch()
    assert bench.left == [f"{DIGEST[7:]}.part", f"{DIGEST[7:]}.part.json"]
    bench.server.requests.clear()
    assert bench.fetch().read_bytes() == CONTENT
    assert bench.ranges == [f"bytes={1 << 20}-"]
    assert bench.left == [DIGEST[7:]]


def test_a_file_that_changed_meanwhile_is_begun_anew(bench: Bench) -> None:
    bench.server.fail("/file.raw", _drop_after(1 << 20, ETag='"another"'))
    assert bench.fetch().read_bytes() == CONTENT
    assert bench.ranges == [None, f"bytes={1 << 20}-"]


def test_a_lying_range_is_not_believed(bench: Bench) -> None:
    def lie(handler: Handler) -> bool:
        headers = {"Content-Length": str(len(CONTENT)), "Content-Range": f"bytes 7-{len(CONTENT) + 6}/*"}
        handler.send(206, CONTENT, **headers)
        return True

    bench.server.fail("/file.raw", _drop_after(1 << 20), lie)
    assert bench.fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ['W/"weak"', '"v\xfc1"'])
def test_without_a_validator_nothing_is_resumed(bench: Bench, tag: str) -> None:
    """Neither with a weak one, nor with one that no request can carry."""
    bench.server.fail("/file.raw", _drop_after(1 << 20, ETag=tag))
    assert bench.fetch().read_bytes() == CONTENT
    assert bench.ranges == [None, None]


def _ranges_as_servers_have_them(handler: Handler) -> bool:
    """Refuse a range that begins behind the end (RFC 9110, 15.5.17)."""
    first = handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")
    if int(first) >= len(CONTENT):
        handler.fail(416, Content_Range=f"bytes */{len(CONTENT)}")
        return True
    return False


def _leave_part(bench: Bench, content: bytes) -> None:
    """What a run left that ended in the middle, whatever a power cut made of it."""
    bench.server.fail("/file.raw", _drop_after(1 << 20), *[_hang_up] * 3)
    with pytest.raises(Unavailable):
        bench.fetch()
    (bench.target / f"{DIGEST[7:]}.part").write_bytes(content)
    bench.server.requests.clear()
    bench.server.fail("/file.raw", *[_ranges_as_servers_have_them] * 9)


def test_a_run_killed_just_before_the_end_has_nothing_to_fetch(bench: Bench) -> None:
    _leave_part(bench, CONTENT)
    assert bench.fetch().read_bytes() == CONTENT
    assert bench.ranges == []
    assert bench.left == [DIGEST[7:]]


def test_a_part_that_is_longer_than_the_file_is_given_up(bench: Bench) -> None:
    _leave_part(bench, bytes(4 << 20))
    assert bench.fetch().read_bytes() == CONTENT
    assert bench.ranges == [f"bytes={4 << 20}-", None]


def test_parts_that_do_not_fit_together_are_fetched_once_more(bench: Bench) -> None:
    _leave_part(bench, bytes(1 << 20))
    assert bench.fetch().read_bytes() == CONTENT
    assert bench.ranges == [f"bytes={1 << 20}-", None]


def test_the_same_file_for_several_is_fetched_once(bench: Bench) -> None:
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: bench.fetch(), range(6)))) == 1
    assert len(bench.server.requests) == 1
    assert bench.left == [DIGEST[7:]]


def test_a_silent_server_does_not_keep_a_run_from_ending(bench: Bench) -> None:
    bench.server.fail("/file.raw", _wait_after_a_megabyte)
    part = bench.target / f"{DIGEST[7:]}.part"
    patient = Patience(stall=250)
    caught: list[type[BaseException]] = []

    def work() -> None:
        try:
            bench.fetch(patience=patient)
        except Terminated as error:
            caught.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    while not (part.exists() and part.stat().st_size >= 1 << 19):
        time.sleep(0.01)
    termination.request()
    thread.join()
    termination.withdraw()
    assert caught == [Terminated]
    assert part.exists()


def _wait_after_a_megabyte(handler: Handler) -> bool:
    handler.send(200, CONTENT[: 1 << 20], Content_Length=str(len(CONTENT)), ETag='"a"')
    handler.wfile.flush()
    handler.connection.recv(1)  # until the client goes away
    return True


def test_a_full_disk_gets_its_space_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _leave_part(bench, CONTENT[: 1 << 20])
    monkeypatch.setattr(module.Partial, "write", refuse)
    with pytest.raises(Failed, match="No space left on device") as caught:
        bench.fetch()
    assert caught.value.hint == "make space there"
    assert bench.left == []


@pytest.mark.parametrize("length", ["\u00b2", "-5", "many"])
def test_a_length_that_is_no_number_is_none(bench: Bench, length: str) -> None:
    def lie(handler: Handler) -> bool:
        handler.send(200, CONTENT, Content_Length=length, Connection="close")
        handler.hang_up()
        return True

    bench.server.fail("/file.raw", lie)
    assert bench.fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("location", ["http://[bad/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://h:port/x"])
def test_a_redirect_to_where_nothing_can_be_is_told(bench: Bench, location: str) -> None:
    bench.server.fail("/file.raw", *[_status(302, Location=location)] * 3)
    with pytest.raises(ReconcilerError) as caught:
        bench.fetch()
    assert caught.value.hint
    assert bench.left == []


def test_an_encoding_that_is_none_is_no_matter(bench: Bench) -> None:
    def say_so(handler: Handler) -> bool:
        handler.send(200, CONTENT, Content_Length=str(len(CONTENT)), Content_Encoding="Identity")
        return True

    bench.server.fail("/file.raw", say_so)
    assert bench.fetch().read_bytes() == CONTENT


@pytest.mark.commands
def test_a_killed_download_is_continued(bench: Bench) -> None:
    bench.server.fail("/file.raw", _stall_after_a_megabyte)
    code = (
        "import sys; from pathlib import Path; from reconciler.host.sources.download import download\n"
        "download(sys.argv[1], sys.argv[2], Path(sys.argv[3]), size_limit=1 << 30, progress=lambda *_: None)"
    )
    command = [sys.executable, "-c", code, f"{bench.server.url}/file.raw", DIGEST, str(bench.target)]
    with subprocess.Popen(command) as process:
        part = bench.target / f"{DIGEST[7:]}.part"
        while not (part.exists() and part.stat().st_size >= 1 << 19):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    bench.server.requests.clear()
    assert bench.fetch().read_bytes() == CONTENT
    (first,) = bench.ranges
    assert first
    assert int(first.removeprefix("bytes=").rstrip("-")) >= 1 << 19


def _stall_after_a_megabyte(handler: Handler) -> bool:
    file = handler.server.web.directory / "file.raw"
    tag = f'"{file.stat().st_mtime_ns}-{file.stat().st_size}"'
    handler.send(200, CONTENT[: 1 << 20], Content_Length=str(len(CONTENT)), ETag=tag)
    handler.wfile.flush()
    time.sleep(10)
    return True


@pytest.mark.parametrize(
    "faults",
    [
        [_status(503, Retry_After="0")] * 2,
        [_status(429, Retry_After="0")],
        [_status(500), _status(502)],
        [_stall],
        [_nonsense],
        [_hang_up, _hang_up],
    ],
    ids=["503", "429", "5xx", "stall", "nonsense", "hang up"],
)
def test_passing_trouble_passes(bench: Bench, faults: list[Callable[[Handler], bool]]) -> None:
    bench.server.fail("/file.raw", *faults)
    assert bench.fetch().read_bytes() == CONTENT


def _truncate_and_lie(handler: Handler) -> bool:
    handler.send(200, CONTENT[:1000], Content_Length="1000")
    return True


def _compressed(handler: Handler) -> bool:
    handler.send(200, b"x", Content_Length="1", Content_Encoding="gzip")
    return True


def _part(handler: Handler) -> bool:
    handler.send(206, b"x", Content_Length="1", Content_Range=f"bytes 7-7/{len(CONTENT)}")
    return True


def _to_itself(handler: Handler) -> bool:
    handler.fail(302, Location=handler.path)
    return True


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        ([_status(404)], Invalid, "there is no such file"),
        ([_status(403)], Invalid, "the server forbids it"),
        ([_status(401)], Invalid, "the server wants valid credentials"),
        ([_status(407)], Invalid, "the proxy wants valid credentials"),
        *(([_status(it)] * 3, Unavailable, "promises a file and sends none") for it in (201, 202, 204, 205, 299)),
        ([_part] * 3, Unavailable, "another part than it was asked for"),
        ([_drop_after(1 << 20), *[_part] * 3], Unavailable, "another part than it was asked for"),
        ([_status(418)], Invalid, "the server refuses the request"),
        ([_status(503)] * 3, Unavailable, "asks to come back later"),
        ([_status(500)] * 3, Unavailable, "has trouble"),
        ([_nonsense] * 3, Unavailable, "no proper HTTP"),
        ([_stall] + [_hang_up] * 4, Unavailable, "broke off|no proper HTTP"),
        ([_truncate_and_lie], Invalid, "has the digest sha256:"),
        ([_compressed], Invalid, "in the encoding gzip"),
        ([_to_itself] * 12, Invalid, "without end"),
    ],
)
def test_lasting_trouble_is_told_as_what_it_is(
    bench: Bench, faults: list[Callable[[Handler], bool]], kind: type[ReconcilerError], words: str
) -> None:
    bench.server.fail("/file.raw", *faults)
    with pytest.raises(kind, match=words) as caught:
        bench.fetch()
    assert caught.value.hint
    assert DIGEST[7:] not in bench.left


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_an_hour_is_left_alone(bench: Bench, status: int) -> None:
    bench.server.fail("/file.raw", _status(status, Retry_After="3600"))
    with pytest.raises(Unavailable, match="asks to come back later") as caught:
        bench.fetch()
    assert caught.value.about("x").retry_after == 3600
    assert len(bench.ranges) == 1


def test_a_silent_server_is_not_asked_as_often_as_one_that_answers(bench: Bench) -> None:
    bench.server.fail("/file.raw", *[_silence] * 2)
    patience = Patience(attempts=9, stall=0.1, pause=0.01, silence=0.2)
    with pytest.raises(Unavailable, match="does not go on"):
        bench.fetch(patience=patience)
    assert len(bench.ranges) <= 2
    assert bench.left == []


def _silence(handler: Handler) -> bool:
    time.sleep(2)
    handler.hang_up()
    return True


def test_a_wrong_digest_leaves_nothing(bench: Bench) -> None:
    wrong = "sha256:" + "0" * 64
    with pytest.raises(Invalid, match=f"has the digest {DIGEST}, not {wrong}"):
        bench.fetch(digest=wrong)
    assert bench.left == []


def test_what_is_too_large_is_refused_before_and_while_it_comes(bench: Bench) -> None:
    with pytest.raises(Invalid, match="has more than 1M"):
        bench.fetch(limit=1 << 20)
    bench.server.fail("/file.raw", _endless)
    with pytest.raises(Invalid, match="has more than 1M"):
        bench.fetch(limit=1 << 20)
    assert sum((bench.target / name).stat().st_size for name in bench.left if name.endswith(".part")) == 0


def _endless(handler: Handler) -> bool:
    handler.send(200, CONTENT, Connection="close")
    handler.close_connection = True
    return True


def test_a_small_disk_is_told_before_the_first_byte(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Partial, "free_space", lambda _self: 1000)
    with pytest.raises(Failed, match="needs 3M, and 1000 are free"):
        bench.fetch()
    assert bench.told == []


def test_a_server_that_is_not_there_is_told(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    with pytest.raises(Unavailable, match="refuses connections"):
        read_small(nowhere, 10, HASTE)
    with pytest.raises(Unavailable, match="cannot be resolved"):
        read_small("http://no-such-host.invalid/x", 10, HASTE)
    assert bench.server.requests == []


def test_credentials_are_sent_to_their_host_only_and_never_shown(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file.raw").write_bytes(CONTENT)
    with WebServer(tmp_path / "other") as other:

        def move(handler: Handler) -> bool:
            handler.fail(302, Location=f"{other.url}/file.raw")
            return True

        bench.server.fail("/file.raw", move)
        url = f"{bench.server.url.replace('//', '//user:se%20cret@')}/file.raw"
        download(url, DIGEST, bench.target, size_limit=1 << 30, progress=lambda *_: None, patience=HASTE)
        assert bench.server.requests[0][1]["Authorization"] == "Basic dXNlcjpzZSBjcmV0"
        assert "Authorization" not in other.requests[0][1]
    bench.server.fail("/file.raw", _status(404))
    with pytest.raises(Invalid) as caught:
        download(url, "sha256:" + "1" * 64, bench.target, size_limit=1, progress=lambda *_: None, patience=HASTE)
    assert "cret" not in caught.value.message
    assert "user" not in caught.value.message


def test_the_first_bytes_can_be_had_alone(bench: Bench) -> None:
    assert peek(f"{bench.server.url}/file.raw", 100, HASTE) == CONTENT[:100]
    assert bench.ranges == ["bytes=0-99"]


def test_a_look_is_tried_again_and_takes_an_empty_file(bench: Bench) -> None:
    bench.server.fail("/file.raw", _status(503, Retry_After="0"), _drop_after(10))
    assert peek(f"{bench.server.url}/file.raw", 100, HASTE) == CONTENT[:100]
    bench.server.fail("/file.raw", _status(416))
    assert peek(f"{bench.server.url}/file.raw", 100, HASTE) == b""


def test_a_small_file_that_is_cut_off_is_read_again(bench: Bench) -> None:
    bench.server.fail("/file.raw", _drop_after(1000))
    assert read_small(f"{bench.server.url}/file.raw", 1 << 30, HASTE) == CONTENT


def test_a_proxy_of_the_environment_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", bench.server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(Invalid, match="there is no such file"):
        read_small("http://elsewhere.example/x", 10, HASTE)
    assert bench.server.requests[0][0] == "http://elsewhere.example/x"


@pytest.mark.commands
class TestTls:
    """Certificates, and what leads away from an encrypted connection."""

    def test_a_trusted_certificate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tls = certificate(tmp_path / "tls")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls / "server.pem"))
        with _serving(tmp_path, tls=tls) as bench:
            assert bench.fetch().read_bytes() == CONTENT

    def test_where_nobody_named_authorities_the_systems_count(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tls = certificate(tmp_path / "tls")
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        monkeypatch.setattr(web, "_BUNDLES", ("/nowhere/bundle", str(tls / "server.pem")))
        with _serving(tmp_path, tls=tls) as bench:
            assert bench.fetch().read_bytes() == CONTENT

    def test_authorities_that_somebody_named_are_not_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tls = certificate(tmp_path / "tls")
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/chosen")
        monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
        monkeypatch.setattr(web, "_BUNDLES", (str(tls / "server.pem"),))
        with _serving(tmp_path, tls=tls) as bench:
            _is_refused(bench, "is not trusted: self.signed certificate")

    def test_an_unknown_certificate_is_refused(self, tmp_path: Path) -> None:
        with _serving(tmp_path, tls=certificate(tmp_path / "tls")) as bench:
            _is_refused(bench, "is not trusted: self.signed certificate")

    def test_a_certificate_of_another_host_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tls = certificate(tmp_path / "tls", "DNS:other.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls / "server.pem"))
        with _serving(tmp_path, tls=tls) as bench:
            _is_refused(bench, "is another host's: .*127.0.0.1")

    def test_an_expired_certificate_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tls = expired_certificate(tmp_path / "tls")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls / "server.pem"))
        with _serving(tmp_path, tls=tls) as bench:
            _is_refused(bench, "has expired: ", Unavailable)

    def test_a_redirect_to_plain_http_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tls = certificate(tmp_path / "tls")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls / "server.pem"))

        def away(handler: Handler) -> bool:
            handler.fail(301, Location="http://127.0.0.1:1/file.raw")
            return True

        with _serving(tmp_path, tls=tls) as bench:
            bench.server.fail("/file.raw", away)
            with pytest.raises(Invalid, match="which is not encrypted"):
                bench.fetch()


def _is_refused(bench: Bench, words: str, kind: type[ReconcilerError] = Invalid) -> None:
    with pytest.raises(kind, match=words):
        bench.fetch()
    assert bench.server.requests == []


def test_a_read_only_directory_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module.Partial, "write", refuse)
    with pytest.raises(Failed, match="cannot be stored: Read-only file system"):
        bench.fetch()


def _flood(head: bytes, more: bytes) -> Callable[[Handler], bool]:
    """Begin an answer, and go on with it as long as somebody listens."""

    def fault(handler: Handler) -> bool:
        handler.close_connection = True
        handler.wfile.write(head)
        while True:
            handler.wfile.write(more * 100)

    return fault


def _once(answer: bytes) -> Callable[[Handler], bool]:
    def fault(handler: Handler) -> bool:
        handler.wfile.write(answer)
        handler.hang_up()
        return True

    return fault


_DIGITS: Final = b"9" * 5000
_REDIRECT: Final = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
_BLOCK: Final = b"1000\r\n" + bytes(4096) + b"\r\n"
ENDLESS: Final = {
    "redirect": (_flood(_REDIRECT + _CHUNKED, _BLOCK), Unavailable, "its redirect has more than 1M"),
    "redirect of a length": (
        _flood(_REDIRECT + b"Content-Length: " + b"9" * 18 + b"\r\n\r\n", bytes(4096)),
        Unavailable,
        "its redirect has more than 1M",
    ),
    "error": (_flood(b"HTTP/1.1 404 Not Found\r\n\r\n", bytes(4096)), Invalid, "there is no such file"),
    "trouble": (_flood(b"HTTP/1.1 500 Oh\r\n" + _CHUNKED, _BLOCK), Unavailable, "has trouble"),
    "interim": (_flood(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), Unavailable, "Too (large|many) response headers"),
    "headers": (_flood(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"), Unavailable, "no proper HTTP"),
    "one header": (_flood(b"HTTP/1.1 200 OK\r\nX-A: ", b"b"), Unavailable, "no proper HTTP"),
    "reason": (_flood(b"HTTP/1.1 404 ", b"b"), Unavailable, "no proper HTTP"),
    "trailers": (_flood(b"HTTP/1.1 200 OK\r\n" + _CHUNKED + b"0\r\n", b"X-A: b\r\n"), Unavailable, "no proper HTTP"),
    "one trailer": (_flood(b"HTTP/1.1 200 OK\r\n" + _CHUNKED + b"0\r\nX-A: ", b"b"), Unavailable, "no proper HTTP"),
    "chunk extension": (_flood(b"HTTP/1.1 200 OK\r\n" + _CHUNKED + b"1;", b"b"), Unavailable, "does not go on"),
    "content": (_flood(b"HTTP/1.1 200 OK\r\n\r\n", bytes(4096)), Invalid, "has more than 4M"),
}
NUMBERS: Final = {
    "Content-Length": (b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nx", Invalid, "has more than 4M"),
    "Content-Range": (
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes %s-%s/%s\r\nContent-Length: 1\r\n\r\nx",
        Unavailable,
        "another part than it was asked for",
    ),
    "Retry-After": (b"HTTP/1.1 503 Later\r\nRetry-After: %s\r\n\r\n", Unavailable, "come back later"),
    "Retry-After as a zone": (
        b"HTTP/1.1 503 Later\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 +%s\r\n\r\n",
        Unavailable,
        "come back later",
    ),
    "chunk": (b"HTTP/1.1 200 OK\r\n" + _CHUNKED + b"%s\r\nx", Unavailable, "."),
    "status": (b"HTTP/1.1 %s OK\r\n\r\n", ReconcilerError, "."),
}


@pytest.mark.parametrize(("fault", "kind", "words"), ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_given_up(
    bench: Bench, fault: Callable[[Handler], bool], kind: type[ReconcilerError], words: str
) -> None:
    bench.server.fail("/file.raw", fault)
    with pytest.raises(kind, match=words):
        bench.fetch(limit=4 << 20, patience=Patience(attempts=1, stall=3))


@pytest.mark.parametrize(("answer", "kind", "words"), NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("resumed", [False, True], ids=["first", "resumed"])
def test_numbers_of_many_digits_are_that_servers_failure(
    bench: Bench, answer: bytes, kind: type[ReconcilerError], words: str, *, resumed: bool
) -> None:
    fault = _once(answer.replace(b"%s", _DIGITS))
    begin = [_drop_after(1 << 20)] if resumed else []
    bench.server.fail("/file.raw", *begin, *[fault] * 4)
    with pytest.raises(kind, match=words):
        bench.fetch(limit=4 << 20)


@pytest.mark.parametrize("name", ["chunk extension", "interim slowly", "redirect slowly"])
def test_what_has_no_end_does_not_keep_a_run_from_ending(bench: Bench, name: str) -> None:
    slow = {"interim slowly": b"HTTP/1.1 102 Processing\r\n\r\n", "redirect slowly": _REDIRECT + b"\r\n"}
    started = threading.Event()

    def drip(handler: Handler) -> bool:
        started.set()
        if name not in slow:
            return ENDLESS[name][0](handler)
        handler.close_connection = True
        while True:
            handler.wfile.write(slow[name])
            time.sleep(0.05)

    bench.server.fail("/file.raw", drip)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            bench.fetch(patience=Patience(stall=250))
        except BaseException as error:  # noqa: BLE001 - looked at below
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(60)
    termination.request()
    thread.join(60)
    termination.withdraw()
    assert [type(it) for it in caught] == [Terminated]


def test_interim_answers_are_no_signs_of_life(bench: Bench) -> None:
    def drip(handler: Handler) -> bool:
        handler.close_connection = True
        while True:
            handler.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            time.sleep(0.05)

    bench.server.fail("/file.raw", drip)
    with pytest.raises(Unavailable, match="does not go on"):
        bench.fetch(patience=Patience(attempts=1, stall=0.5))


def _drips(start: bytes, drop: bytes = b"x") -> Callable[[Handler], bool]:
    def drip(handler: Handler) -> bool:
        handler.close_connection = True
        handler.wfile.write(start)
        while True:
            handler.wfile.write(drop)
            time.sleep(0.05)

    return drip


_SOME: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "drop", "words"),
    [
        (_SOME, b"x", "it comes too slowly"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", "does not go on"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", "it comes too slowly"),
    ],
    ids=["content", "headers", "chunks"],
)
def test_a_server_that_drips_is_left_soon(bench: Bench, start: bytes, drop: bytes, words: str) -> None:
    """Each drop is a byte that is new, so that no stall is one, and no attempt is without success."""
    bench.server.fail("/file.raw", *[_drips(start, drop)] * 9)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=words) as caught:
        bench.fetch(patience=Patience(attempts=2, stall=0.9, pause=0.01))
    assert time.monotonic() - began < 30
    assert caught.value.code in {"web.too-slow", "web.unreachable"}


def test_a_transfer_has_a_longest_time_however_often_it_goes_on(bench: Bench) -> None:
    bench.server.fail("/file.raw", *[_drips(_SOME, b"x" * 5000)] * 9)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="it comes too slowly: Operation timed out") as caught:
        bench.fetch(patience=Patience(stall=60, pause=0.01, total=1.5))
    assert 1 < time.monotonic() - began < 20
    assert "settings.transfers" in (caught.value.hint or "")
    with pytest.raises(Unavailable, match="it comes too slowly"):
        read_small(f"{bench.server.url}/file.raw", 1 << 20, Patience(attempts=1, total=0.5))


@pytest.mark.commands
def test_a_signal_ends_a_download_at_once(bench: Bench) -> None:
    """In the main thread, which is inside libcurl."""
    bench.server.fail("/file.raw", _stall_after_a_megabyte)
    code = (
        "import sys; from pathlib import Path; from reconciler.host.base import termination\n"
        "from reconciler.host.sources.download import download\n"
        "termination.install()\n"
        "download(sys.argv[1], sys.argv[2], Path(sys.argv[3]), size_limit=1 << 30, progress=lambda *_: None)"
    )
    command = [sys.executable, "-c", code, f"{bench.server.url}/file.raw", DIGEST, str(bench.target)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        part = bench.target / f"{DIGEST[7:]}.part"
        while not (part.exists() and part.stat().st_size >= 1 << 19):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=9)  # before the server would go on
    assert told.decode().rstrip().endswith("Terminated: SIGTERM")
    assert bench.left == [f"{DIGEST[7:]}.part", f"{DIGEST[7:]}.part.json"]


def test_the_proxy_of_the_environment_is_used_in_capitals_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", bench.server.url)
    monkeypatch.setenv("NO_PROXY", "near.example")
    with pytest.raises(Invalid, match="there is no such file"):
        read_small("http://elsewhere.example/x", 10, HASTE)
    assert bench.server.requests[0][0] == "http://elsewhere.example/x"
    with pytest.raises(Unavailable, match="cannot be resolved"):
        read_small("http://near.example/x", 10, HASTE)


def _echo(says: str) -> Callable[[Handler], bool]:
    """Repeat what it was asked with, somewhere in the answer."""

    def fault(handler: Handler) -> bool:
        if says == "reason":
            handler.send_response(404, "no hunter3 for ALICE:HUNTER2")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif says == "login":
            handler.send_response(403, handler.headers["Authorization"])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif says == "encoding":
            handler.send(200, b"", Content_Length="0", Content_Encoding="hunter2")
        else:
            handler.fail(302, Location="http://alice.hunter2.invalid/")
        return True

    return fault


@pytest.mark.parametrize("says", ["reason", "login", "encoding", "redirect"])
def test_a_server_that_repeats_what_it_was_asked_with_is_not_quoted(bench: Bench, says: str) -> None:
    bench.server.fail("/file.raw", *[_echo(says)] * 3)
    url = bench.server.url.replace("://", "://alice:hunter%32@")
    with pytest.raises(ReconcilerError) as caught:
        bench.fetch("/file.raw?sig=hunter3", url=url)
    told = str(caught.value).lower() + (caught.value.hint or "")
    assert "***" in told
    assert not [it for it in ("alice", "hunter", "ywxpy2u6") if it in told]
