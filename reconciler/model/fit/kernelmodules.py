"""Where extensions have kernel modules, and which files there are indexes that depmod(8) makes of them."""

from __future__ import annotations

import re
from typing import Final

MODULES: Final = "usr/lib/modules"  # a directory for each kernel, by its release
_INDEX: Final = re.compile(rf"{MODULES}/[^/]+/modules\.[a-z.]+")


def is_index(path: str) -> bool:
    """Whether a file, by its path without a leading slash, is made anew of all that are merged together."""
    return bool(_INDEX.fullmatch(path))
