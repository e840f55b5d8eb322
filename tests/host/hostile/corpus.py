"""All hostile layers together."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.host.hostile import (
    bombs,
    compressed,
    digests,
    duplicates,
    headers,
    kinds,
    links,
    names,
    sparse_lies,
    whiteouts,
)

_THEMES: Final = {
    "name": names.CASES,
    "link": links.CASES,
    "whiteout": whiteouts.CASES,
    "kind": kinds.CASES,
    "header": headers.CASES,
    "sparse": sparse_lies.CASES,
    "bomb": bombs.CASES,
    "twice": duplicates.CASES,
    "compressed": compressed.CASES,
    "digest": digests.CASES,
}
LAYERS: Final = [replace(case, name=f"{theme}: {case.name}") for theme, cases in _THEMES.items() for case in cases]
