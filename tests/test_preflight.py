"""What keeps extensions from being placed, on miniature nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.host import links
from reconciler.model.kind import Kind
from reconciler.reconcile import Options, converge, look
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from reconciler.paths import Paths

ONE = "docker://registry/one:v1"


def _crowd(paths: Paths) -> None:
    """As many extensions of others as an overlay takes."""
    for number in range(94):
        (paths.links(Kind.SYSEXT) / f"ext{number:04}").mkdir()


@pytest.mark.parametrize("reaction", ["refuse", "warn"])
def test_one_extension_too_many_is_kept_out_or_told(paths: Paths, reaction: str) -> None:
    _crowd(paths)
    fill_store(paths, ONE, "one", "a")
    configure(paths, f"settings: {{preflight: {{layers: {reaction}}}}}\nextensions: {{one: {{source: '{ONE}'}}}}")
    seen = look(paths, Options())
    told = [item.message for item in seen.problems] if reaction == "refuse" else list(seen.warnings)
    assert [words for words in told if words.startswith("one: with it, 95 extensions would be merged")] == told != []
    assert converge(paths, Options(), "test").in_sync == (reaction == "warn")
    assert bool(links.read_links(paths, 252).links) == (reaction == "warn")
