"""What cannot fit: layers that are here or come with another image count once, and so does one entry."""

from __future__ import annotations

from reconciler.model.config.desired import Wanted
from reconciler.model.config.part import Part
from reconciler.model.content.format import Format
from reconciler.model.content.ociread import Layer, Manifest
from reconciler.model.content.resolution import Resolution
from reconciler.model.content.source import parse_source
from reconciler.model.plan.action import Fetch
from reconciler.model.plan.space import in_excess
from reconciler.model.state.entry import Entry

SOURCE = "docker://registry/x:v1"


def _digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def _fetch(name: str, letter: str, size: int | None, fetched_as: Format = Format.DIRECTORY) -> Fetch:
    resolution = Resolution(_digest(letter), _digest(letter), size=size)
    wanted = Wanted(name, (Part(SOURCE, parse_source(SOURCE)),), format=fetched_as)
    return Fetch(wanted, resolution, Entry(resolution.manifest, None, fetched_as), "not in the store")


def _left_out(
    *fetches: Fetch, free: int, layers: dict[str, dict[str, int]] | None = None, here: str = ""
) -> list[tuple[str, int, int]]:
    manifests = {
        _digest(image): Manifest("", tuple(Layer(_digest(it), size, "", None) for it, size in found.items()))
        for image, found in (layers or {}).items()
    }
    found = in_excess(fetches, manifests, frozenset(map(_digest, here)), free)
    return [(it.fetch.wanted.name, it.needed, it.left) for it in found]


def test_what_comes_first_is_kept_and_smaller_ones_go_on() -> None:
    fetches = _fetch("a", "a", 6), _fetch("b", "b", 6), _fetch("c", "c", 4), _fetch("d", "d", None)
    assert _left_out(*fetches, free=10) == [("b", 6, 4)]
    assert _left_out(*fetches, free=16) == []


def test_one_entry_of_two_extensions_counts_once() -> None:
    fetches = _fetch("a", "a", 6), _fetch("b", "a", 6)
    assert _left_out(*fetches, free=6) == []
    assert _left_out(*fetches, free=5) == [("a", 6, 5), ("b", 6, 5)]


def test_layers_that_are_here_are_not_transferred() -> None:
    """Unpacked, they take their room nevertheless; packed anew, perhaps less."""
    layers = {"a": {"1": 4, "2": 2}}
    assert _left_out(_fetch("a", "a", 6, Format.SQUASHFS), free=2, layers=layers, here="1") == []
    assert _left_out(_fetch("a", "a", 6, Format.SQUASHFS), free=1, layers=layers, here="1") == [("a", 2, 1)]
    assert _left_out(_fetch("a", "a", 6), free=5, layers=layers, here="12") == [("a", 6, 5)]


def test_layers_of_two_images_are_transferred_once() -> None:
    fetches = [_fetch(name, name, 6, Format.EROFS) for name in ("a", "b")]
    layers = {"a": {"1": 4, "2": 2}, "b": {"1": 4, "3": 2}}
    assert _left_out(*fetches, free=8, layers=layers) == []
    assert _left_out(*fetches, free=7, layers=layers) == [("b", 2, 1)]
