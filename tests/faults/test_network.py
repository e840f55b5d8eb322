"""Each fault between a node and a registry has its own words, and is that extension's own: the other converges."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
from contextlib import ExitStack
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from reconciler.errors import Invalid, ReconcilerError, Unavailable
from reconciler.fetch.transports import registry as transport
from reconciler.host.merge.links import read_links
from reconciler.host.registry.skopeo import Skopeo
from reconciler.host.sources import web
from reconciler.loop.reconcile import converge, look
from reconciler.loop.session import Options
from reconciler.model.kind import Kind
from tests.rig import faultyregistry as faulty
from tests.rig.faultyregistry import FaultyRegistry, status
from tests.rig.images import Member, command, write_image
from tests.rig.newerskopeo import newer_skopeo
from tests.rig.webserver import certificate, expired_certificate
from tests.seed import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.paths import Paths
    from tests.rig.faultyregistry import Fault
    from tests.rig.registry import Registry
    from tests.system.bench import Bench

pytestmark = pytest.mark.commands

BULK: Final = Member("usr/share/bulk", hashlib.shake_128(b"bulk").digest(1 << 19))
MANIFESTS: Final = "/manifests/"
BLOBS: Final = "/blobs/"
JSON: Final = {"Content_Type": "application/json"}
HASTE: Final = web.Patience(attempts=2, pause=0.01)


def _said(code: str, message: str = "as recorded") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _slow_down(after: str) -> Fault:
    return status(429, _said("TOOMANYREQUESTS"), Retry_After=after, **JSON)


def _unauthorized(exchange: faulty.Exchange) -> None:
    """As a registry with a service for tokens says it."""
    realm = f'Bearer realm="http://{exchange.headers["Host"]}/token",service="registry"'
    exchange.refuse(401, _said("UNAUTHORIZED"), WWW_Authenticate=realm, **JSON)


def _first_a_part(end: Fault) -> tuple[tuple[Fault, str], ...]:
    """Half of it once, then nothing any more."""
    started: set[str] = set()

    def fault(exchange: faulty.Exchange) -> None:
        is_first = not started
        started.add("")
        (faulty.part_then(end) if is_first else end)(exchange)

    return ((fault, ""),)


BASIC: Final = status(401, _said("UNAUTHORIZED"), WWW_Authenticate='Basic realm="registry"', **JSON)
DENIED: Final = status(403, _said("DENIED"), **JSON)
PORTAL: Final = status(200, b"<html>Please log in</html>", Content_Type="text/html")


class Trouble(NamedTuple):
    """What goes wrong, and what is to be said of it."""

    faults: tuple[tuple[Fault, str], ...]  # and for which paths
    kind: type[ReconcilerError]
    words: str
    hint: str
    retry_after: float | None = None
    stall: float = 60.0  # seconds


IMAGES: Final = {
    "reset": Trouble(((faulty.reset, "/v2/$"),), Unavailable, "connection to the registry broke off", "later run"),
    "reset at the manifest": Trouble(((faulty.reset, MANIFESTS),), Unavailable, "broke off .*reset", "later run"),
    "reset in a blob": Trouble(
        ((faulty.part_then(faulty.reset), BLOBS),), Unavailable, "broke off .*reset", "later run"
    ),
    "no answer": Trouble(((faulty.hang_up, ""),), Unavailable, "broke off .*EOF", "later run"),
    "half a manifest": Trouble(
        ((faulty.part_then(faulty.hang_up), MANIFESTS),), Unavailable, "broke off .*unexpected EOF", "later run"
    ),
    "half a blob": Trouble(
        ((faulty.part_then(faulty.hang_up), BLOBS),), Unavailable, "broke off .*unexpected EOF", "later run"
    ),
    "half a manifest as if it were all": Trouble(
        ((faulty.cut_short, MANIFESTS),), Unavailable, "sends no manifest, or half of one", "proxy"
    ),
    "half a blob as if it were all": Trouble(
        ((faulty.cut_short, BLOBS),), Unavailable, "not what its digest says", "push the image again"
    ),
    "another blob": Trouble(((faulty.corrupt, BLOBS),), Unavailable, "not what its digest says", "push the image"),
    "a login page": Trouble(((PORTAL, ""),), Unavailable, "sends no manifest", "login page"),
    "stall": Trouble(((faulty.stall, "/v2/$"),), Unavailable, "nothing came for 5 s", "network", stall=5.0),
    "stall at the manifest": Trouble(
        ((faulty.stall, MANIFESTS),), Unavailable, "nothing came for 5 s", "network", stall=5.0
    ),
    "drip in a blob": Trouble(
        ((faulty.part_then(faulty.drip), BLOBS),), Unavailable, "nothing came for 5 s", "network", stall=5.0
    ),
    "stall in a blob": Trouble(
        ((faulty.part_then(faulty.stall), BLOBS),), Unavailable, "nothing came for 5 s", "network", stall=5.0
    ),
    "500": Trouble(((status(500), MANIFESTS),), Unavailable, "has trouble of its own .*500", "who runs it"),
    "502 at a blob": Trouble(((status(502), BLOBS),), Unavailable, "has trouble of its own .*502", "who runs it"),
    "503": Trouble(((status(503), "/v2/$"),), Unavailable, "has trouble of its own .*503", "who runs it"),
    "429 for an hour": Trouble(((_slow_down("3600"), MANIFESTS),), Unavailable, "asks to slow down", "later", 3600.0),
    "429 for an hour at a blob": Trouble(
        ((_slow_down("3600"), BLOBS),), Unavailable, "asks to slow down", "later", 3600.0
    ),
    "429 until a date": Trouble(
        ((_slow_down(formatdate(4e9, usegmt=True)), MANIFESTS),), Unavailable, "asks to slow down", "later", 86400.0
    ),
    "429 again and again": Trouble(((_slow_down("0"), MANIFESTS),), Unavailable, "asks to slow down", "later", 0.0),
    "no credentials": Trouble(((BASIC, ""),), Invalid, "wants valid credentials", "skopeo login .* 127.0.0.1:"),
    "credentials expire": Trouble(((BASIC, BLOBS),), Invalid, "wants valid credentials", "skopeo login"),
    "the token is refused": Trouble(
        ((status(401, _said("UNAUTHORIZED")), "/token"), (_unauthorized, "")),
        Invalid,
        "wants valid credentials",
        "skopeo login",
    ),
    "the token is forbidden": Trouble(
        ((status(403), "/token"), (_unauthorized, "")), Invalid, "does not let these credentials read", "access"
    ),
    "no tokens today": Trouble(
        ((status(503), "/token"), (_unauthorized, "")), Unavailable, "has trouble of its own", "later run"
    ),
    "denied": Trouble(((DENIED, MANIFESTS),), Invalid, "does not let these credentials read it", "access"),
    "denied at a blob": Trouble(((DENIED, BLOBS),), Invalid, "does not let these credentials read it", "access"),
    "no such image": Trouble(
        ((status(404, _said("MANIFEST_UNKNOWN"), **JSON), MANIFESTS),), Invalid, "no such image", "name and the tag"
    ),
    "no such blob": Trouble(((status(404), BLOBS),), Invalid, "a part that is missing", "push the image again"),
}
FILES: Final = {
    "reset": Trouble(((faulty.reset, ""),), Unavailable, "the connection broke off", "later run"),
    "reset in the middle": Trouble(
        _first_a_part(faulty.reset), Unavailable, "the connection broke off", "goes on from there"
    ),
    "no content": Trouble(
        ((faulty.part_then(faulty.hang_up, 0), ""),), Unavailable, "the connection ended after", "goes on from there"
    ),
    "half as if it were all": Trouble(((faulty.cut_short, ""),), Invalid, "has the digest", "digest:"),
    "another file": Trouble(((faulty.corrupt, ""),), Invalid, "has the digest", "digest:"),
    "stall": Trouble(((faulty.stall, ""),), Unavailable, "does not go on", "later run", stall=1.0),
    "stall in the middle": Trouble(
        _first_a_part(faulty.stall), Unavailable, "does not go on", "goes on from there", stall=1.0
    ),
    "500": Trouble(((status(500), ""),), Unavailable, "500 .*the server has trouble", "later run"),
    "503 for an hour": Trouble(
        ((status(503, Retry_After="3600"), ""),), Unavailable, "asks to come back later", "later run", 3600.0
    ),
    "429 until a date": Trouble(
        ((status(429, Retry_After=formatdate(4e9, usegmt=True)), ""),), Unavailable, "come back later", "run", 86400.0
    ),
    "401": Trouble(((status(401), ""),), Invalid, "wants valid credentials", "USER:PASSWORD@"),
    "403": Trouble(((status(403), ""),), Invalid, "the server forbids it", "access"),
    "404": Trouble(((status(404), ""),), Invalid, "there is no such file", "source:"),
}


class Published(NamedTuple):
    """What is in the registry: an image whose only layer is an archive that can be an extension of its own."""

    layout: Path
    name: str
    layer: str  # digest


@pytest.fixture(scope="module")
def published(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The image of the extension that has trouble; the other's is in the layout only."""
    layout = tmp_path_factory.mktemp("faults") / "layout"
    write_image(layout, "good", command("good", "good"))
    digest = write_image(layout, "bad", (*command("bad", "bad"), BULK))
    registry.push(layout, "bad", "faults/bad:v1")
    manifest = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())
    return Published(layout, "faults/bad", manifest["layers"][0]["digest"])


class Site:
    """A node with two extensions: a healthy one, and one from behind a faulty registry."""

    def __init__(
        self, paths: Paths, registry: Registry, published: Published, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.paths, self.registry, self.published, self.monkeypatch = paths, registry, published, monkeypatch
        self._home = home
        self.settings = home / ".config/containers/registries.conf"
        self.settings.parent.mkdir(parents=True)
        self._set_environment()

    def _set_environment(self) -> None:
        self.monkeypatch.setenv("HOME", str(self._home))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            self.monkeypatch.delenv(name, raising=False)
            self.monkeypatch.delenv(name.lower(), raising=False)

    def allow_plain_http(self, address: str) -> None:
        self.settings.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')

    def converge(self, bad: str) -> Result:
        configure(self.paths, f"extensions: {{bad: {{{bad}}}, good: {{source: 'oci:{self.published.layout}:good'}}}}")
        return converge(self.paths, Options(), "test")

    @property
    def placed(self) -> set[str]:
        return {ident.name for ident in read_links(self.paths, 252).links}

    def is_kept_apart(self, bad: str, trouble: Trouble) -> None:
        """A run with the fault: its own words, the other extension, and nothing half-made."""
        result = self.converge(bad)
        assert self.placed == {"good"}
        assert not list(self.paths.staging.iterdir())
        assert len(list(self.paths.store.iterdir())) == 1
        assert [it.name for it in self.paths.links(Kind.SYSEXT).iterdir()] == ["good"]
        _is_told(result, trouble)

    def heals(self, bad: str) -> None:
        """A run without the fault."""
        self.monkeypatch.undo()
        self._set_environment()
        assert self.converge(bad).in_sync
        assert self.placed == {"good", "bad"}


def _is_told(result: Result, trouble: Trouble) -> None:
    (problem,) = result.problems
    target = result.view.targets["bad"]
    errors = [target] if isinstance(target, ReconcilerError) else [it.error for it in result.outcomes if it.error]
    assert type(errors[0]) is trouble.kind
    assert problem.sentence == str(errors[0].about("bad"))
    assert problem.extension == "bad"
    assert problem.sentence.startswith("bad: ")
    assert "\n" not in problem.sentence
    with pytest.raises(trouble.kind, match=trouble.words):
        raise errors[0]
    with pytest.raises(AssertionError, match=trouble.hint):
        raise AssertionError(problem.hint)
    if isinstance(errors[0], Unavailable):
        assert errors[0].retry_after == trouble.retry_after


@pytest.fixture
def site(
    paths: Paths, registry: Registry, published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Site:
    """A miniature node; nothing is merged, so that there is time for many faults."""
    registry.start()
    return Site(paths, registry, published, tmp_path, monkeypatch)


@pytest.fixture
def proxy(site: Site) -> Iterator[FaultyRegistry]:
    """A faulty registry that speaks plain HTTP, as the node knows."""
    with FaultyRegistry(site.registry.address) as running:
        site.allow_plain_http(running.address)
        yield running


@pytest.mark.by_lot(16)
@pytest.mark.parametrize("trouble", IMAGES.values(), ids=IMAGES)
def test_images(site: Site, proxy: FaultyRegistry, trouble: Trouble) -> None:
    for fault, where in trouble.faults:
        proxy.inject(fault, where)
    site.monkeypatch.setattr(transport, "Skopeo", functools.partial(Skopeo, stall=trouble.stall))
    bad = f"source: 'docker://{proxy.address}/{site.published.name}:v1'"
    site.is_kept_apart(bad, trouble)
    proxy.heal()
    site.heals(bad)


@pytest.mark.parametrize("trouble", FILES.values(), ids=FILES)
def test_files(site: Site, proxy: FaultyRegistry, trouble: Trouble) -> None:
    for fault, where in trouble.faults:
        proxy.inject(fault, where)
    patience = replace(HASTE, stall=trouble.stall)
    site.monkeypatch.setattr(web, "PATIENCE", patience)
    url = f"http://{proxy.address}/v2/{site.published.name}/blobs/{site.published.layer}"
    bad = f"source: '{url}', digest: '{site.published.layer}', format: directory"
    site.is_kept_apart(bad, trouble)
    proxy.heal()
    site.heals(bad)


def test_registries_are_asked_at_once(site: Site, proxy: FaultyRegistry) -> None:
    """A silent one does not keep the others waiting: neither request is answered before both are there."""
    both = threading.Barrier(2, timeout=100)

    def meet(exchange: faulty.Exchange) -> None:
        both.wait()
        exchange.relay(exchange.ask())

    proxy.inject(meet, MANIFESTS, times=2)
    one, two = (f"{{source: 'docker://{proxy.address}/{site.published.name}:{tag}'}}" for tag in ("v1", "other"))
    site.registry.push(site.published.layout, "bad", f"{site.published.name}:other")
    configure(site.paths, f"extensions: {{one: {one}, two: {two}}}")
    result = look(site.paths, Options())
    assert result.problems == ()
    assert [type(action).__name__ for action in result.view.plan.actions] == ["Fetch", "Fetch", "Place", "Place"]


class Way(NamedTuple):
    """How somebody is reached, and what is to be said if that is not possible."""

    trouble: Trouble
    address: str = ""  # in place of the proxy's
    tls: Callable[[Path], Path] | None = None
    trusted: bool = False
    through: Fault | None = None  # what the proxy that HTTPS_PROXY names does


def _way(kind: type[ReconcilerError], words: str, hint: str, **fields: Any) -> Way:  # noqa: ANN401 - those of Way
    return Way(Trouble((), kind, words, hint), **fields)


def _of_another_host(directory: Path) -> Path:
    return certificate(directory, "DNS:other.example")


NOWHERE: Final = "registry.invalid"
WAYS: Final = {
    "refused": _way(Unavailable, "refuses connections", "check that it is up", address="127.0.0.1:1"),
    "no such name": _way(Unavailable, "name cannot be resolved", "DNS", address=NOWHERE),
    "unknown authority": _way(Invalid, "certificate is not trusted", "install .*certificate", tls=certificate),
    "expired": _way(Unavailable, "certificate has expired", "renewed .*clock", tls=expired_certificate, trusted=True),
    "another host": _way(
        Invalid, "certificate is another host's", "correct the host", tls=_of_another_host, trusted=True
    ),
    "no TLS": _way(Unavailable, "no encrypted connection .*comes about", "later run|answers there"),
    "proxy without credentials": _way(
        Invalid, "the proxy .*wants valid credentials", "HTTPS_PROXY", address=NOWHERE, through=status(407)
    ),
    "proxy in trouble": _way(
        Unavailable, "503|Service Unavailable", "runs it|HTTPS_PROXY", address=NOWHERE, through=status(503)
    ),
}
SOURCES: Final = {
    "image": "source: 'docker://{address}/{name}:v1'",
    "file": "source: 'https://{address}/v2/{name}/blobs/{layer}', digest: '{layer}', format: directory",
}


@pytest.mark.by_lot(8)
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ways(site: Site, tmp_path: Path, way: Way, source: str) -> None:
    tls = way.tls(tmp_path / "tls") if way.tls else None
    site.monkeypatch.setattr(web, "PATIENCE", HASTE)
    with FaultyRegistry(site.registry.address, tls=tls) as proxy:
        if tls and way.trusted:
            site.monkeypatch.setenv("SSL_CERT_FILE", str(tls / "server.pem"))
        if way.through:
            proxy.inject(way.through)
            site.monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        site.is_kept_apart(_from(source, site, way.address or proxy.address), way.trouble)
        assert [it for it in proxy.requests if not it.startswith("CONNECT")] == []


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_proxy_that_is_down(site: Site, source: str) -> None:
    site.monkeypatch.setattr(web, "PATIENCE", HASTE)
    site.monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    trouble = Trouble((), Unavailable, "the proxy .*cannot be used .*refused", "HTTPS_PROXY")
    site.is_kept_apart(_from(source, site, NOWHERE), trouble)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_certificate_that_is_trusted(site: Site, tmp_path: Path, source: str) -> None:
    tls = certificate(tmp_path / "tls")
    site.monkeypatch.setenv("SSL_CERT_FILE", str(tls / "server.pem"))
    with FaultyRegistry(site.registry.address, tls=tls) as proxy:
        assert site.converge(_from(source, site, proxy.address)).in_sync
    assert site.placed == {"good", "bad"}


def _from(source: str, site: Site, address: str) -> str:
    return source.format(address=address, name=site.published.name, layer=site.published.layer)


def test_skopeo_waits_itself_for_as_short_as_it_is_asked_to(site: Site, proxy: FaultyRegistry) -> None:
    proxy.inject(_slow_down("1"), BLOBS, times=1)
    assert site.converge(f"source: 'docker://{proxy.address}/{site.published.name}:v1'").in_sync


@pytest.mark.by_lot(2)
@pytest.mark.parametrize(
    "name",
    [
        "stall in a blob",
        "429 for an hour at a blob",
        "half a blob as if it were all",
        "no such blob",
        "denied at a blob",
    ],
)
def test_a_newer_skopeo(site: Site, proxy: FaultyRegistry, tmp_path: Path, name: str) -> None:
    """Some of its words are others."""
    directory = newer_skopeo(tmp_path / "newer")
    site.monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    test_images(site, proxy, IMAGES[name])


@pytest.mark.system
def test_on_a_merged_node(bench: Bench, registry: Registry) -> None:
    """Several faults at once: what is merged stays so, what is new and healthy gets merged, the rest later."""
    faults = {
        "reset": (faulty.reset, MANIFESTS, "broke off"),
        "down": (status(503), MANIFESTS, "trouble of its own"),
        "login": (BASIC, "", "wants valid credentials"),
        "spoilt": (faulty.corrupt, BLOBS, "not what its digest says"),
        "kept": (faulty.part_then(faulty.hang_up), BLOBS, "broke off"),
    }
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(FaultyRegistry(registry.address)) for name in faults}
        for proxy in proxies.values():
            bench.registries_conf(proxy.address, f'[[registry]]\nlocation = "{proxy.address}"\ninsecure = true\n')
        sources = {
            name: bench.push("v1", command(name, "old"), name=name).replace(registry.address, proxy.address)
            for name, proxy in proxies.items()
        }
        bench.want(kept=sources["kept"])
        bench.livelayer("apply")
        bench.push("v2", command("kept", "new"), name="kept")
        sources["kept"] = sources["kept"].replace(":v1", ":v2")

        for name, (fault, where, _) in faults.items():
            proxies[name].inject(fault, where)
        # No name server is there: that is not the registry that refuses connections.
        bench.namespace.run("sh", "-c", "rm -f /etc/resolv.conf && echo nameserver 127.0.0.154 >/etc/resolv.conf")
        healthy = bench.push("v1", command("healthy", "well"), name="healthy")
        bench.want(**sources, healthy=healthy, nameless="docker://registry.invalid/x:v1")
        bench.livelayer("apply", status=1, HTTPS_PROXY="", https_proxy="")
        assert bench.merged() == ["healthy", "kept"]
        assert (bench.says("healthy"), bench.says("kept")) == ("well", "old")
        told = bench.status()
        for name, words in {**{name: it[2] for name, it in faults.items()}, "nameless": "be resolved"}.items():
            assert words in told[name]["reason"]
            assert told[name]["state"] == "failed"
        assert _left(bench, "/var/lib/livelayer/staging") == []
        assert _left(bench, "/var/lib/extensions") == ["healthy", "kept"]

        for proxy in proxies.values():
            proxy.heal()
        bench.want(**sources, healthy=healthy)
        bench.livelayer("apply")
        assert bench.merged() == sorted([*faults, "healthy"])
        assert bench.says("kept") == "new"


def _left(bench: Bench, directory: str) -> list[str]:
    return sorted(it.name for it in bench.namespace.path(directory).iterdir())
