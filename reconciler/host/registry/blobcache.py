"""skopeo's cache of where blobs were seen, which a power cut or a kill can leave damaged.

skopeo before 1.14 keeps it in a database (bbolt) that ends the program when it is damaged, at this copy and at each
later one. Nothing is lost with it, and programs that have it open go on with what they have.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from reconciler.errors import Failed

log = logging.getLogger(__name__)

_ROOTS: Final = "/var/lib/containers/cache"  # containers/image, pkg/blobinfocache
_FILE: Final = "blob-info-cache-v1.boltdb"


def drop_if_damaged(trace: str) -> None:
    """Remove the cache if a skopeo crashed in it, as the trace on its stderr tells, so that the next one starts."""
    file = _directory() / _FILE
    if "go.etcd.io/bbolt" not in trace or not file.exists():
        return
    with Failed.on_oserror(f"{file}: skopeo's cache is damaged, and cannot be removed", f"remove {file}"):
        file.unlink(missing_ok=True)
    log.warning("%s: skopeo's cache was damaged, and is removed", file)


def _directory() -> Path:
    if os.geteuid() == 0:
        return Path(_ROOTS)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share", "containers/cache")
