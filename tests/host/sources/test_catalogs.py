"""Catalogs read from a real web server, and what is kept of them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid, Unavailable
from reconciler.host.sources import catalogs
from reconciler.host.sources.catalogs import Catalogs
from reconciler.host.sources.web import Patience
from reconciler.model.content.catalog import Selector
from reconciler.model.content.limits import Transfers
from tests.rig.webserver import Handler, WebServer, trusted_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.paths import Paths

pytestmark = pytest.mark.commands  # a certificate is made by openssl


def _catalog(letter: str, *names: str) -> str:
    image = f"registry.example/{letter}@sha256:{letter * 64}"
    tags = [{"tag": "1.0", "sysext": {"amd64": {"oci": image}}}]
    return json.dumps({"layers": [{"name": name, "latest": "1.0", "tags": tags} for name in names]})


def _out_of_order(handler: Handler) -> bool:
    handler.fail(503)
    return True


def _selector(name: str) -> Selector:
    return Selector(name, None, None, "amd64")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server with TLS that this process trusts, and nobody's patience."""
    haste = Patience(attempts=1, stall=1, pause=0.01, longest=0.01)
    monkeypatch.setattr(catalogs, "PATIENCE", haste)
    with trusted_server(tmp_path, monkeypatch) as running:
        yield running


def _catalogs(paths: Paths, server: WebServer, *names: str) -> Catalogs:
    return Catalogs(paths, tuple(f"{server.url}/{name}.json" for name in names))


def test_a_catalog_comes_within_the_time_of_a_transfer(paths: Paths, server: WebServer) -> None:
    def drip(handler: Handler) -> bool:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(b" " * 2000)
            time.sleep(0.05)

    server.fail("/own.json", drip)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        Catalogs(paths, (f"{server.url}/own.json",), Transfers(timeout=1.0)).find(_selector("git"))
    assert time.monotonic() - began < 20


def test_the_first_catalog_that_has_a_name_counts(paths: Paths, server: WebServer) -> None:
    (server.directory / "own.json").write_text(_catalog("a", "git", "in-house"))
    (server.directory / "public.json").write_text(_catalog("b", "git", "fwupd"))
    catalogs = _catalogs(paths, server, "own", "public")
    assert catalogs.find(_selector("git")).source.reference.startswith("registry.example/a")
    assert catalogs.find(_selector("fwupd")).source.reference.startswith("registry.example/b")
    assert len(server.requests) == 2  # each once, however many extensions want it
    with pytest.raises(
        Invalid, match=r"nowhere is in no catalog: .*own\.json: has no nowhere; .*public\.json: has no"
    ):
        catalogs.find(_selector("nowhere"))


def test_a_server_that_is_away_is_made_good_by_the_copy_of_an_earlier_run(paths: Paths, server: WebServer) -> None:
    (server.directory / "own.json").write_text(_catalog("a", "git"))
    first = _catalogs(paths, server, "own")
    first.find(_selector("git"))
    assert not paths.catalogs.exists()  # looking changes nothing
    first.remember()
    server.fail("/own.json", _out_of_order)
    assert _catalogs(paths, server, "own").find(_selector("git")).tag == "1.0"


def test_without_a_copy_another_catalog_may_have_it_and_a_later_run_may_find_it(
    paths: Paths, server: WebServer
) -> None:
    (server.directory / "public.json").write_text(_catalog("b", "fwupd"))
    server.fail("/own.json", _out_of_order)
    catalogs = _catalogs(paths, server, "own", "public")
    assert catalogs.find(_selector("fwupd")).tag == "1.0"
    with pytest.raises(Unavailable, match="git is in no catalog"):
        catalogs.find(_selector("git"))


@pytest.mark.parametrize(("asked", "told"), [("3600", 3600), ("", None)])
def test_a_catalog_that_asks_for_a_pause_gets_it(
    paths: Paths, server: WebServer, asked: str, told: float | None
) -> None:
    def busy(handler: Handler) -> bool:
        handler.fail(503, Retry_After=asked)
        return True

    server.fail("/own.json", busy)
    with pytest.raises(Unavailable, match="asks to come back later") as caught:
        _catalogs(paths, server, "own", "nowhere").find(_selector("git"))
    assert caught.value.retry_after == told


def test_what_is_no_catalog_is_told_with_its_address(paths: Paths, server: WebServer) -> None:
    (server.directory / "own.json").write_text("<html>")
    address = f"{server.url}/own.json?token=x"
    with pytest.raises(Invalid, match=r"own\.json\?\*\*\*: is no catalog of extensions"):
        Catalogs(paths, (address,)).find(_selector("git"))


def test_a_catalog_may_be_a_file_of_the_node(paths: Paths) -> None:
    (paths.root / "releases.json").write_text(_catalog("a", "git"))
    assert Catalogs(paths, ("file:///releases.json",)).find(_selector("git")).tag == "1.0"
    with pytest.raises(Invalid, match=r"missing\.json: cannot be read: No such file"):
        Catalogs(paths, ("file:///missing.json",)).find(_selector("git"))
