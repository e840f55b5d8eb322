"""Which images are on their way here: their complete layers are kept until all is here, over runs that break off."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

from reconciler.host.base.durable import read_json, write_json
from reconciler.host.base.walk import children

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reconciler.paths import Paths

LIFETIME: Final = 7 * 86400  # seconds after which nobody goes on with what was begun


def begin(paths: Paths, key: str, blobs: Iterable[str]) -> None:
    """Note before its transfer of what an image is made; of what the same source led to before, nothing is kept."""
    write_json(_record(paths, key), {"blobs": sorted(blobs)})


def end(paths: Paths, key: str) -> None:
    """All is here, or what is here is no use."""
    _record(paths, key).unlink(missing_ok=True)


def is_fresh(path: Path) -> bool:
    """Whether somebody may still go on with what was begun there."""
    try:
        return time.time() - path.stat().st_mtime < LIFETIME
    except OSError:
        return False


def blobs(paths: Paths) -> Iterator[str]:
    """The digests of what images are made of whose transfers may still go on."""
    for record in filter(is_fresh, children(paths.transfers)):
        yield from _blobs(record)


def _blobs(record: Path) -> list[str]:
    match read_json(record):
        case {"blobs": [*digests]}:
            return [it for it in digests if isinstance(it, str)]
        case _:
            return []


def _record(paths: Paths, key: str) -> Path:
    return paths.transfers / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
