"""Layers are unpacked while skopeo still fetches them, from a registry that can stop in the middle of a blob."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from tests.rig.images import Member, command, write_image
from tests.rig.webserver import WebServer
from tests.seed import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.paths import Paths
    from tests.rig.webserver import Handler

pytestmark = pytest.mark.commands

BULK = hashlib.shake_128(b"bulk").digest(6 << 20)
FIRST = Member("usr/share/first", b"first")
SECOND = Member("usr/share/second", b"second")


class SlowRegistry:
    """A registry of one image whose blobs are sent as tests want it."""

    def __init__(self, web: WebServer, layers: Sequence[Sequence[Member]]) -> None:
        self.web = web
        write_image(web.directory / "layout", "latest", *layers)
        (manifest,) = json.loads((web.directory / "layout/index.json").read_text())["manifests"]
        content = json.loads(self._file(manifest["digest"]).read_text())
        self.blobs = [layer["digest"] for layer in content["layers"]]
        for name in ("latest", manifest["digest"]):
            self._serve(f"/v2/x/manifests/{name}", manifest["digest"], manifest["mediaType"])
        for digest in (*self.blobs, content["config"]["digest"]):
            self._serve(f"/v2/x/blobs/{digest}", digest)
        web.faults["/v2/"] = [_answering(lambda it: it.send(200, b"{}", Content_Length="2"))] * 20
        self.source = f"docker://{web.url.removeprefix('http://')}/x:latest"

    def hold(self, digest: str, at: int, until: Callable[[], bool]) -> None:
        """Send only `at` bytes of a blob until a condition is true."""
        self._before(digest, lambda it: self._send_in_two(it, self._file(digest).read_bytes(), at, until))

    def break_off(self, digest: str, at: int, times: int) -> None:
        """Send only `at` bytes of a blob and hang up, some times."""
        for _ in range(times):
            self._before(digest, lambda it: self._send_part(it, self._file(digest).read_bytes(), at))

    def _before(self, digest: str, fault: Callable[[Handler], bool]) -> None:
        self.web.faults[f"/v2/x/blobs/{digest}"].insert(0, fault)

    @staticmethod
    def _send_in_two(handler: Handler, content: bytes, at: int, until: Callable[[], bool]) -> bool:
        handler.send(200, content[:at], Content_Length=str(len(content)))
        handler.wfile.flush()
        deadline = time.monotonic() + 100
        while not until():
            if time.monotonic() > deadline:
                handler.hang_up()  # what was waited for does not happen before the rest is here
                return True
            time.sleep(0.01)
        handler.wfile.write(content[at:])
        return True

    @staticmethod
    def _send_part(handler: Handler, content: bytes, at: int) -> bool:
        handler.send(200, content[:at], Content_Length=str(len(content)))
        handler.hang_up()
        return True

    def _serve(self, path: str, digest: str, media_type: str = "application/octet-stream") -> None:
        answer = _answering(lambda it: it.serve(self._file(digest), Content_Type=media_type))
        self.web.faults[path] = [answer] * 20

    def _file(self, digest: str) -> Path:
        return self.web.directory / "layout/blobs/sha256" / digest.removeprefix("sha256:")


def _answering(send: Callable[[Handler], None]) -> Callable[[Handler], bool]:
    def answer(handler: Handler) -> bool:
        send(handler)
        return True

    return answer


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SlowRegistry]]:
    (tmp_path / "web").mkdir()
    with WebServer(tmp_path / "web") as web:
        settings = tmp_path / ".config/containers/registries.conf"
        settings.parent.mkdir(parents=True)
        location = web.url.removeprefix("http://")
        settings.write_text(f'[[registry]]\nlocation = "{location}"\ninsecure = true\n')
        monkeypatch.setenv("HOME", str(tmp_path))
        yield lambda *layers: SlowRegistry(web, layers)


def _converge(paths: Paths, registry: SlowRegistry, more: str = "") -> Result:
    configure(paths, f"extensions: {{x: {{source: '{registry.source}'{more}}}}}")
    return converge(paths, Options(), "test")


def _is_unpacked(paths: Paths, member: Member) -> Callable[[], bool]:
    """Whether a file lies somewhere in the staging directory, complete."""

    def look() -> bool:
        with suppress(FileNotFoundError):
            return any(it.read_bytes() == member.content for it in paths.staging.glob(f"*/tree/{member.name}"))
        return False

    return look


def _is_packed(paths: Paths) -> Callable[[], bool]:
    return lambda: any(it.stat().st_size for it in paths.staging.glob("*/packed"))


def test_a_layer_is_unpacked_while_it_is_fetched(paths: Paths, serve: Callable[..., SlowRegistry]) -> None:
    registry = serve((FIRST, *command("x", "x"), Member("usr/share/bulk", BULK)))
    registry.hold(registry.blobs[0], 5 << 20, _is_unpacked(paths, FIRST))
    assert _converge(paths, registry).in_sync
    (entry,) = paths.store.iterdir()
    assert (entry / "usr/share/bulk").read_bytes() == BULK


def test_a_layer_is_packed_while_it_is_fetched(paths: Paths, serve: Callable[..., SlowRegistry]) -> None:
    registry = serve((*command("x", "x"), Member("usr/share/bulk", BULK)))
    registry.hold(registry.blobs[0], 5 << 20, _is_packed(paths))
    assert _converge(paths, registry, ", format: squashfs").in_sync


def test_lower_layers_are_unpacked_while_the_upper_are_fetched(
    paths: Paths, serve: Callable[..., SlowRegistry]
) -> None:
    registry = serve((FIRST, *command("x", "x")), (SECOND,), (Member("usr/share/bulk", BULK),))
    registry.hold(registry.blobs[2], 5 << 20, _is_unpacked(paths, SECOND))
    assert _converge(paths, registry).in_sync


def test_what_was_read_of_a_broken_copy_is_thrown_away(paths: Paths, serve: Callable[..., SlowRegistry]) -> None:
    registry = serve((FIRST, *command("x", "x"), Member("usr/share/bulk", BULK)))
    registry.break_off(registry.blobs[0], 5 << 20, 1)
    _converge(paths, registry)  # newer versions of skopeo go on where it broke off
    assert not list(paths.staging.iterdir())
    assert _converge(paths, registry).in_sync
    (entry,) = paths.store.iterdir()
    assert (entry / "usr/share/bulk").read_bytes() == BULK


def test_a_layer_that_never_comes_whole(paths: Paths, serve: Callable[..., SlowRegistry]) -> None:
    registry = serve((FIRST, *command("x", "x"), Member("usr/share/bulk", BULK)))
    registry.break_off(registry.blobs[0], 5 << 20, 20)
    result = _converge(paths, registry)
    assert "skopeo" in result.problems[0].sentence
    assert not list(paths.staging.iterdir())
    assert not paths.store.exists() or not list(paths.store.iterdir())


def test_layers_that_are_here_are_not_waited_for(paths: Paths, serve: Callable[..., SlowRegistry]) -> None:
    registry = serve((FIRST, *command("x", "x")), (Member("usr/share/bulk", BULK),))
    assert _converge(paths, registry).in_sync
    first, second = registry.blobs
    (paths.blobs / "sha256" / second.removeprefix("sha256:")).unlink()
    configure(paths, "settings: {allow_empty: true}\nextensions: {}")
    assert converge(paths, Options(), "test").in_sync
    for entry in paths.store.iterdir():
        (entry / "usr/share/first").unlink()
        entry.rename(paths.staging / "gone")
    registry.hold(second, 5 << 20, _is_unpacked(paths, FIRST))
    before = len(registry.web.requests)
    assert _converge(paths, registry).in_sync
    assert not [path for path, _ in registry.web.requests[before:] if path.endswith(first)]
