"""Whether skopeo's policy asks for signatures at all (containers-policy.json(5)); which, only skopeo decides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_SYSTEM: Final = Path("/etc/containers/policy.json")
_USER: Final = ".config/containers/policy.json"  # below HOME; goes before the system's
_WORDS: Final = (b'"signedBy"', b'"sigstoreSigned"')


def asks_for_signatures() -> bool:
    """Whether some image, somewhere, must be signed. A policy that cannot be read makes skopeo fail, so: no."""
    user = Path(os.environ.get("HOME", "/root"), _USER)
    try:
        policy = (user if user.exists() else _SYSTEM).read_bytes()
    except OSError:
        return False
    return any(word in policy for word in _WORDS)
