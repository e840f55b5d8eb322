"""Chance that can be repeated: the seed is printed, and LIVELAYER_SEED sets it."""

from __future__ import annotations

import os
import random
import time
from typing import Final

IS_LONG: Final = bool(os.environ.get("LIVELAYER_LONG"))
"""Whether there is time for everything: 1,000 kills, every boundary, many more examples (`make test-long`)."""

ALL_RELEASES: Final = IS_LONG or bool(os.environ.get("LIVELAYER_ALL_RELEASES"))
"""Whether a test runs on each release of Debian that it is marked with, or on one of them, by lot."""


def examples(brief: int) -> int:
    """How many examples a property is tried with."""
    return 20 * brief if IS_LONG else brief


def seeded(salt: str) -> random.Random:
    """A generator of its own for each test. Without a seed it is always the same one, except in the long mode."""
    seed = os.environ.get("LIVELAYER_SEED") or (str(time.time_ns()) if IS_LONG else "livelayer")
    print(f"LIVELAYER_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    return random.Random(f"{seed} {salt}")  # noqa: S311 - no secret
