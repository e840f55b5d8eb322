"""Which of an architecture's variants this machine's processor runs, beyond what all of the architecture do."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

# The levels of x86-64 by the flags in /proc/cpuinfo that each adds (x86-64 psABI, "Micro-Architecture Levels").
_LEVELS: Final = {
    "v2": "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
    "v3": "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "v4": "avx512bw avx512cd avx512dq avx512f avx512vl",
}
_CPUINFO: Final = Path("/proc/cpuinfo")


def best_variant(machine: str) -> str:
    """The highest level of x86-64 that it has; empty: the first, or another architecture, or it cannot be told."""
    if machine != "x86_64":
        return ""
    return level_of(_flags())


def level_of(flags: frozenset[str]) -> str:
    found = ""
    for level, needed in _LEVELS.items():
        if not flags >= {*needed.split()}:
            break
        found = level
    return found


@cache
def _flags() -> frozenset[str]:
    """Those of the first processor; all of a machine have the same."""
    try:
        with _CPUINFO.open() as lines:
            found = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(found.partition(":")[2].split())
