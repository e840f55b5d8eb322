"""The levels of x86-64, from the flags of a processor."""

from __future__ import annotations

import pytest

from reconciler.host.node.processor import best_variant, level_of

V2 = "fpu sse2 cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("", ""),
        ("fpu sse2", ""),
        (V2, "v2"),
        (V2.replace("popcnt", ""), ""),
        (V3, "v3"),
        (V3.replace("movbe", ""), "v2"),
        (f"{V3} avx512bw avx512cd avx512dq avx512f avx512vl", "v4"),
        (V2 + " avx512bw avx512cd avx512dq avx512f avx512vl", "v2"),  # without what v3 has
    ],
)
def test_levels(flags: str, level: str) -> None:
    assert level_of(frozenset(flags.split())) == level


def test_other_architectures_have_none() -> None:
    assert best_variant("aarch64") == ""
    assert best_variant("x86_64") in {"", "v2", "v3", "v4"}
