"""However many extensions share a source, it is asked once: requests and programs are counted."""

from __future__ import annotations

import json
import threading
import urllib.request
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Unavailable
from reconciler.fetch.answers import Answers
from reconciler.fetch.transport import Access, look_up
from reconciler.host.sources import catalogs, local
from reconciler.loop.reconcile import converge, look
from reconciler.loop.session import Options
from reconciler.model.config.part import Part
from reconciler.model.content.format import Format
from reconciler.model.content.ociread import digest_of
from reconciler.model.content.source import parse_source
from tests.rig.faultyregistry import FaultyRegistry, status
from tests.rig.images import Member, extension, tar, write_image, write_index
from tests.rig.images import command as command_of
from tests.rig.openpgp import KeyOwner
from tests.rig.registry import Registry
from tests.rig.webserver import WebServer
from tests.seed import configure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from reconciler.paths import Paths
    from tests.rig.faultyregistry import Exchange

MANY: Final = 500


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def proxy(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyRegistry]:
    write_image(tmp_path / "layout", "v1", command_of("x1", "x"), [Member("usr/share/bulk", b"x" * 1000)])
    write_index(tmp_path / "layout", "index", {"amd64": command_of("x1", "x"), "arm64": command_of("x1", "y")})
    for tag in ("v1", "index"):
        registry.push(tmp_path / "layout", tag, f"question/x:{tag}")
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = tmp_path / ".config/containers/registries.conf"
    settings.parent.mkdir(parents=True)
    with FaultyRegistry(registry.address) as running:
        settings.write_text(f'[[registry]]\nlocation = "{running.address}"\ninsecure = true\n')
        yield running


def _many(paths: Paths, body: str, settings: str = "{}", count: int = MANY) -> None:
    lines = [f"  x{number}: {{{body.replace('@', str(number))}}}" for number in range(count)]
    configure(paths, "\n".join([f"settings: {settings}", "extensions:", *lines]))


def _calls(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[tuple[object, ...]]:
    """With what a function of a module is called from now on."""
    calls: list[tuple[object, ...]] = []
    real = getattr(module, name)

    def call(*arguments: object) -> object:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, name, call)
    return calls


@pytest.mark.commands
@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("source: 'docker://REGISTRY/question/x:v1'", 1),
        ("source: 'docker://REGISTRY/question/x:v1', pull: always", 1),
        ("source: 'docker://REGISTRY/question/x:index'", 2),
        ("source: 'docker://REGISTRY/question/x', version: '1.@'", 1),  # as many ranges, of one list
    ],
)
def test_a_registry_is_asked_once(
    paths: Paths, proxy: FaultyRegistry, started: list[str], body: str, asked: int
) -> None:
    _many(paths, body.replace("REGISTRY", proxy.address))
    result = look(paths, Options())
    assert len(result.view.targets) == MANY
    assert started == ["skopeo"] * asked
    assert len([it for it in proxy.requests if "/manifests/" in it or "/tags/list" in it]) == asked


@pytest.mark.commands
def test_a_failure_is_told_of_each_and_asked_for_once(
    paths: Paths, proxy: FaultyRegistry, started: list[str]
) -> None:
    proxy.inject(status(503), "/manifests/")
    _many(paths, f"source: 'docker://{proxy.address}/question/x:v1'")
    problems = look(paths, Options()).problems
    assert {it.extension for it in problems} == {f"x{number}" for number in range(MANY)}
    assert started == ["skopeo"]


@pytest.mark.commands
def test_a_silent_registry_keeps_no_other_waiting(paths: Paths, proxy: FaultyRegistry) -> None:
    """However many extensions it has: the other's answer is what ends its silence."""
    answered = threading.Event()

    def wait(exchange: Exchange) -> None:
        assert answered.wait(100)
        exchange.relay(exchange.ask())

    def answer(exchange: Exchange) -> None:
        exchange.relay(exchange.ask())
        answered.set()

    proxy.inject(wait, "x/manifests/v1")
    proxy.inject(answer, "x/manifests/index")
    lines = [f"  x{number}: {{source: 'docker://{proxy.address}/question/x:v1'}}" for number in range(20)]
    lines.append(f"  y: {{source: 'docker://{proxy.address}/question/x:index'}}")
    configure(paths, "\n".join(["extensions:", *lines]))
    assert {it.code for it in look(paths, Options()).problems} <= {"overlay.too-many"}


@pytest.mark.commands
def test_what_a_fetch_starts_does_not_grow_with_extensions(
    paths: Paths, proxy: FaultyRegistry, started: list[str]
) -> None:
    """An entry for each, since its release file is renamed; the image comes once."""
    _many(paths, f"source: 'docker://{proxy.address}/question/x:v1', rename: true", count=8)
    assert converge(paths, Options(), "test").in_sync
    assert started == ["skopeo"] * 2
    blobs = [it for it in proxy.requests if it.startswith("GET") and "/blobs/" in it]
    assert len(blobs) == len(set(blobs))
    started.clear()
    assert converge(paths, Options(), "test").in_sync
    assert started == []


@pytest.mark.commands
def test_a_list_of_checksums_is_read_and_checked_once(paths: Paths, tmp_path: Path, started: list[str]) -> None:
    www = tmp_path / "www"
    www.mkdir()
    names = [f"x{number}" for number in range(20)]
    archives = {name: tar(extension(name, {})) for name in names}
    lines = [f"{digest_of(content).removeprefix('sha256:')} *{name}.tar\n" for name, content in archives.items()]
    (www / "SHA256SUMS").write_text("".join(lines))
    for name, content in archives.items():
        (www / f"{name}.tar").write_bytes(content)
    with KeyOwner("vendor") as vendor, WebServer(www) as server:
        vendor.sign(www / "SHA256SUMS")
        vendor.export(paths.root / "etc/livelayer/keyring.gpg")
        access = Access(paths, "x86_64")
        sources = {name: parse_source(f"{server.url}/{name}.tar") for name in names}
        found = {name: look_up(Part(name, source), access, Format.DIRECTORY) for name, source in sources.items()}
        assert {name: it.digest for name, it in found.items()} == {
            name: digest_of(content) for name, content in archives.items()
        }
        assert started == ["gpgv"]
        asked = [path for path, _ in server.requests]
        assert sorted(path for path in asked if "SHA256SUMS" in path) == ["/SHA256SUMS", "/SHA256SUMS.gpg"]


def test_a_file_of_this_node_is_read_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = _calls(monkeypatch, local, "look_at")
    archive = paths.root / "srv/x.tar"
    archive.parent.mkdir()
    archive.write_bytes(tar(command_of("x1", "x")))
    _many(paths, "source: 'file:///srv/x.tar', format: directory")
    assert {it.code for it in look(paths, Options()).problems} <= {"overlay.too-many"}
    assert [path for path, _ in looks] == [archive]


@pytest.mark.commands
def test_a_catalog_is_read_once(
    paths: Paths, proxy: FaultyRegistry, registry: Registry, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://{registry.address}/v2/question/x/manifests/v1"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=accept)) as answer:
        digest = answer.headers["Docker-Content-Digest"]
    image = {"sysext": {"amd64": {"oci": f"{proxy.address}/question/x@{digest}"}}}
    catalog = {"layers": [{"name": "x", "latest": "1.0.0", "tags": [{"tag": "1.0.0", **image}]}]}
    (paths.root / "catalog.json").write_text(json.dumps(catalog))
    parsed = _calls(monkeypatch, catalogs, "parse_catalog")
    _many(paths, "source: 'catalog:x', platform: linux/amd64", "{catalogs: ['file:///catalog.json']}")
    assert {it.code for it in look(paths, Options()).problems} <= {"overlay.too-many"}
    assert len(parsed) == 1
    assert started == ["skopeo"]


def test_answers_are_those_of_the_first_who_asked() -> None:
    answers, asked = Answers(), list[int]()
    both = threading.Barrier(4, timeout=60)

    def ask() -> int:
        asked.append(1)
        return 7

    def fail() -> int:
        asked.append(2)
        raise Unavailable("no")

    def work() -> None:
        both.wait()
        assert answers.once("a question", ask) == 7
        with pytest.raises(Unavailable):
            answers.once("another", fail)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    assert sorted(asked) == [1, 2]
