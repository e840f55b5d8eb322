"""Transfers that break off: what has come is kept, what passes is tried again, only what is missing is fetched."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Failed, Unavailable
from reconciler.fetch.transports.registry import Registry as Transport
from reconciler.host.registry import attempts, unfinished
from reconciler.host.registry.skopeo import Skopeo
from reconciler.loop.garbage import clear_away
from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from tests.luck import IS_LONG
from tests.rig import faultyregistry as faulty
from tests.rig.faultyregistry import FaultyRegistry, status
from tests.rig.images import Member, command, write_image
from tests.rig.newerskopeo import newer_skopeo
from tests.rig.registry import Registry
from tests.seed import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.paths import Paths
    from tests.rig.faultyregistry import Exchange, Fault

pytestmark = pytest.mark.commands

LAYERS: Final = 12
COMPLETE: Final = 5
BLOBS: Final = "/blobs/"
UNAUTHORIZED: Final = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "expired"}]}).encode()


def _bulk(number: int) -> tuple[Member, ...]:
    return (Member(f"usr/share/bulk{number}", hashlib.shake_128(b"%d" % number).digest(1 << 16)),)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with an image of many layers, and a later version that shares most of them."""
    home = tmp_path_factory.mktemp("published")
    with Registry(home / "registry") as registry:
        common = [_bulk(number) for number in range(1, LAYERS - 1)]
        for tag, last in (("v1", LAYERS), ("v2", LAYERS + 1)):
            write_image(home / "layout", tag, command("x", "x"), *common, _bulk(last))
            registry.push(home / "layout", tag, f"broken/x:{tag}")
        yield registry


@pytest.fixture
def proxy(published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyRegistry]:
    settings = tmp_path / "home/.config/containers/registries.conf"
    settings.parent.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(attempts, "PAUSE", 0.01)
    with FaultyRegistry(published.address) as running:
        settings.write_text(f'[[registry]]\nlocation = "{running.address}"\ninsecure = true\n')
        yield running


def _run(paths: Paths, proxy: FaultyRegistry, tag: str = "v1") -> Result:
    configure(paths, f"extensions: {{x: {{source: 'docker://{proxy.address}/broken/x:{tag}'}}}}")
    return converge(paths, Options(), "test")


def _kept(paths: Paths) -> set[str]:
    return {it.name for it in (paths.blobs / "sha256").glob("*")}


def _break_off(paths: Paths, proxy: FaultyRegistry, fault: Fault) -> None:
    """Let all layers fail once some are complete: a failure ends what is on its way."""

    def fail(exchange: Exchange) -> None:
        _wait_until(lambda: len(_kept(paths)) >= COMPLETE)
        fault(exchange)

    proxy.inject(fail, BLOBS, after=COMPLETE + 1)  # newer versions of skopeo ask for the configuration first


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.03)


def _asked(proxy: FaultyRegistry) -> Counter[str]:
    """How often each blob was asked for."""
    found = (re.search(r"^GET .*/blobs/sha256:(\w+)$", it) for it in proxy.requests)
    return Counter(it[1] for it in found if it)


ENDS: Final[dict[str, tuple[Fault, str]]] = {
    "closed": (faulty.part_then(faulty.hang_up), "registry.broken-off"),
    "reset": (faulty.part_then(faulty.reset), "registry.broken-off"),
    "closed at once": (faulty.hang_up, "registry.broken-off"),
    "cut short": (faulty.cut_short, "digest.mismatch"),
    "ended without a length": (faulty.ended_without_a_length, "digest.mismatch"),
    "500": (status(500), "registry.failed"),
    "503": (status(503), "registry.failed"),
    "401": (status(401, UNAUTHORIZED, Content_Type="application/json"), "registry.credentials"),
    "403": (status(403), "registry.credentials"),
    "404": (status(404), "image.malformed"),
    "429": (status(429, Retry_After="3600"), "registry.busy"),
}


@pytest.mark.parametrize(("fault", "code"), ENDS.values(), ids=ENDS)
def test_a_later_run_fetches_only_what_is_missing(
    paths: Paths, proxy: FaultyRegistry, fault: Fault, code: str
) -> None:
    _breaks_off_and_goes_on(paths, proxy, fault, code)


@pytest.mark.parametrize("end", ["cut short", "503", "401"])
def test_a_later_run_of_a_newer_skopeo_does_so(
    paths: Paths, proxy: FaultyRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("PATH", f"{newer_skopeo(tmp_path / 'newer')}:{os.environ['PATH']}")
    _breaks_off_and_goes_on(paths, proxy, *ENDS[end])


def _breaks_off_and_goes_on(paths: Paths, proxy: FaultyRegistry, fault: Fault, code: str) -> None:
    _break_off(paths, proxy, fault)
    (problem,) = _run(paths, proxy).problems
    assert problem.code == code
    kept = _kept(paths)
    assert COMPLETE <= len(kept) <= COMPLETE + 1
    clear_away(paths, Options(), dry_run=False)
    assert _kept(paths) == kept
    proxy.heal()
    proxy.requests.clear()
    assert _run(paths, proxy).in_sync
    assert _asked(proxy).keys() == _kept(paths) - kept - {_manifest(paths)}
    again = {name for name, times in _asked(proxy).items() if times > 1}
    assert len(again) <= 1  # newer versions of skopeo ask for the configuration twice
    assert not list(paths.transfers.iterdir())


def _manifest(paths: Paths) -> str:
    """The only blob that is a manifest here; registries do not give these as blobs."""
    (found,) = (it.name for it in (paths.blobs / "sha256").iterdir() if b'"schemaVersion"' in it.read_bytes())
    return found


PASSING: Final = {name: ENDS[name][0] for name in ("closed", "reset", "closed at once", "500", "503", "401", "403")}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_tried_again_in_the_same_run(paths: Paths, proxy: FaultyRegistry, fault: Fault) -> None:
    _passes(paths, proxy, fault)


@pytest.mark.parametrize("end", PASSING if IS_LONG else ("closed", "401"))
def test_so_it_is_with_a_newer_skopeo(
    paths: Paths, proxy: FaultyRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Which goes on with half a layer by itself."""
    monkeypatch.setenv("PATH", f"{newer_skopeo(tmp_path / 'newer')}:{os.environ['PATH']}")
    _passes(paths, proxy, PASSING[end])


def _passes(paths: Paths, proxy: FaultyRegistry, fault: Fault) -> None:
    proxy.inject(fault, BLOBS, after=6, times=1)
    assert _run(paths, proxy).in_sync
    assert max(_asked(proxy).values()) == 2
    assert sum(_asked(proxy).values()) <= LAYERS + 3


@pytest.mark.parametrize("end", PASSING if IS_LONG else ("closed", "503", "401"))
def test_so_is_the_configuration(paths: Paths, proxy: FaultyRegistry, published: Registry, end: str) -> None:
    """The last to come, or the first."""
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    url = f"http://{published.address}/v2/broken/x/manifests/v1"
    with urllib.request.urlopen(urllib.request.Request(url, headers=accept)) as answer:
        config = json.load(answer)["config"]["digest"]
    proxy.inject(PASSING[end], f"/blobs/{config}", times=1)
    assert _run(paths, proxy).in_sync
    assert _asked(proxy).pop(config.removeprefix("sha256:")) == 2
    assert sum(_asked(proxy).values()) == LAYERS + 2


@pytest.mark.parametrize("fault", [faulty.ended_without_a_length, faulty.cut_short])
def test_a_layer_that_ends_early_without_a_word_is_tried_again(
    paths: Paths, proxy: FaultyRegistry, fault: Fault
) -> None:
    proxy.inject(fault, BLOBS, after=6, times=1)
    assert _run(paths, proxy).in_sync
    assert sum(_asked(proxy).values()) <= LAYERS + 3


def test_a_line_that_breaks_after_every_few_layers_brings_it_in_one_run(paths: Paths, proxy: FaultyRegistry) -> None:
    counter = itertools.count()

    def third(exchange: Exchange) -> None:
        exchange.hang_up() if next(counter) % 3 else exchange.relay(exchange.ask())

    proxy.inject(third, BLOBS)
    assert _run(paths, proxy).in_sync


def test_what_brings_nothing_is_not_tried_for_ever(paths: Paths, proxy: FaultyRegistry) -> None:
    proxy.inject(faulty.hang_up, BLOBS)
    assert [it.code for it in _run(paths, proxy).problems] == ["registry.broken-off"]
    assert max(_asked(proxy).values()) <= 3


@pytest.mark.parametrize("where", ["/v2/$", "/manifests/"])
def test_a_look_up_that_breaks_off_is_tried_again(paths: Paths, proxy: FaultyRegistry, where: str) -> None:
    proxy.inject(faulty.hang_up, where, times=1)
    assert _run(paths, proxy).in_sync


def test_a_token_that_expires_is_asked_anew(paths: Paths, proxy: FaultyRegistry) -> None:
    """Each is good for some requests; all in all the image takes more."""
    tokens = faulty.Tokens(uses=9)
    proxy.inject(tokens.give, "/token")
    proxy.inject(tokens.demand)
    assert _run(paths, proxy).in_sync
    assert max(_asked(proxy).values()) <= 3


def test_what_nobody_goes_on_with_goes_after_a_week(paths: Paths, proxy: FaultyRegistry) -> None:
    _break_off(paths, proxy, status(500))
    _run(paths, proxy)
    (record,) = paths.transfers.iterdir()
    kept = len(_kept(paths))
    configure(paths, "settings: {allow_empty: true}\nextensions: {}")
    assert clear_away(paths, Options(), dry_run=False) == []
    os.utime(record, (1, 1))
    gone = [it.what for it in clear_away(paths, Options(), dry_run=False)]
    assert gone == ["record", *["blob"] * kept]


def test_layers_that_another_image_of_the_source_does_not_have_go(paths: Paths, proxy: FaultyRegistry) -> None:
    """A tag was moved while its image was on its way: what both have is kept."""
    proxy.inject(status(404), BLOBS, after=LAYERS)
    _run(paths, proxy)
    assert len(_kept(paths)) == LAYERS
    proxy.heal()
    proxy.moved["/v2/broken/x/manifests/v1"] = "/v2/broken/x/manifests/v2"
    proxy.inject(status(404), BLOBS)
    _run(paths, proxy)
    clear_away(paths, Options(), dry_run=False)
    assert len(_kept(paths)) == LAYERS - 1


def test_a_layer_that_a_power_cut_damaged_is_fetched_again(paths: Paths, proxy: FaultyRegistry) -> None:
    _break_off(paths, proxy, status(500))
    _run(paths, proxy)
    for blob, size in zip(sorted((paths.blobs / "sha256").iterdir()), (0, 100), strict=False):
        os.truncate(blob, size)
    proxy.heal()
    assert _run(paths, proxy).in_sync
    for blob in (paths.blobs / "sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_a_transfer_that_filled_the_disk_keeps_nothing(
    paths: Paths, proxy: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Skopeo.copy

    def fill(*arguments: object) -> None:
        with pytest.raises(Unavailable):
            real(*arguments)  # type: ignore[arg-type]  # as it is called
        raise Failed("the disk is full", code="disk.full")

    monkeypatch.setattr(Skopeo, "copy", fill)
    _break_off(paths, proxy, status(500))
    _run(paths, proxy)
    clear_away(paths, Options(), dry_run=False)
    assert _kept(paths) == set()


def test_how_far_it_is_counts_what_is_missing(
    paths: Paths, proxy: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals: list[int | None] = []
    real = Transport._left  # noqa: SLF001

    def left(*arguments: object) -> int | None:
        totals.append(real(*arguments))  # type: ignore[arg-type]  # as it is called
        return totals[-1]

    monkeypatch.setattr(Transport, "_left", left)
    _break_off(paths, proxy, status(500))
    _run(paths, proxy)
    here = sum(it.stat().st_size for it in (paths.blobs / "sha256").iterdir())
    proxy.heal()
    _run(paths, proxy)
    first, second = totals
    assert first is not None
    assert second == first - here


def test_a_damaged_record_keeps_nothing(paths: Paths) -> None:
    paths.transfers.mkdir(parents=True)
    for number, text in enumerate(("", "{", "[]", '{"blobs": 1}', '{"blobs": [1, {}]}')):
        (paths.transfers / f"{number}.json").write_text(text)
    assert list(unfinished.blobs(paths)) == []


def _attempts(*ends: tuple[str, int]) -> tuple[Callable[[], int], Callable[[], int], list[int]]:
    """An attempt with these ends, each a code and what is missing then; an empty code is success."""
    left, number, tried = [100], iter(ends), []

    def attempt() -> int:
        code, left[0] = next(number)
        tried.append(left[0])
        if code:
            raise Unavailable("no", code=code)
        return left[0]

    return attempt, lambda: left[0], tried


@pytest.mark.parametrize(
    ("ends", "tried"),
    [
        ([("registry.broken-off", 100)] * 9, 3),
        ([("registry.broken-off", it) for it in (90, 80, 70, 70, 60, 60, 60, 60, 60)], 8),
        ([("registry.timeout", 100)] * 2, 1),
        ([("registry.timeout", 90), ("registry.timeout", 90)], 2),
        ([("registry.not-found", 90)] * 2, 1),
        ([("registry.busy", 90)] * 2, 1),
        ([("program.timeout", 90)] * 2, 1),
        ([("digest.mismatch", 100)] * 3, 2),
        ([("registry.failed", 100), ("", 0)], 2),
        ([("program.crashed", 100), ("", 0)], 2),
    ],
)
def test_attempts_end(ends: list[tuple[str, int]], tried: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSE", 0.0)
    attempt, missing, done = _attempts(*ends)
    if ends[-1][0]:
        with pytest.raises(Unavailable):
            attempts.persevere(attempt, attempts.TRANSFER, missing)
    else:
        attempts.persevere(attempt, attempts.TRANSFER, missing)
    assert len(done) == tried
