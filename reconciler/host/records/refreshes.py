"""The record of refreshes that failed. It is gone after a reboot, which merges anew."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from reconciler.host.base.durable import read_json, write_json
from reconciler.model.kind import Kind
from reconciler.model.state.failedrefresh import FailedRefresh

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.state.observed import ObservedState
    from reconciler.paths import Paths


def read_failed_refreshes(paths: Paths) -> dict[Kind, FailedRefresh]:
    record = read_json(paths.failed_refreshes)
    try:
        return {Kind(kind): FailedRefresh.from_json(it) for kind, it in (record or {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def write_failed_refreshes(paths: Paths, failed: Mapping[Kind, FailedRefresh]) -> None:
    if not failed:
        paths.failed_refreshes.unlink(missing_ok=True)
        return
    write_json(paths.failed_refreshes, {kind: it.as_json() for kind, it in failed.items()}, durable=False)


def cause_of(kind: Kind, observed: ObservedState, wanted: object) -> str:
    """A digest of what a refresh starts from: what lies in the search directories, and what is wanted there."""
    links = sorted([it.name, it.entry.file_name, it.changed] for it in observed.links.values())
    others = [[str(it.path), *_marks(it.path)] for it in observed.unmanaged if it.kind is kind and it.searched]
    policy = observed.host.image_policies.get(kind)
    parts = [links, others, policy.text if policy else None, wanted]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _marks(path: Path) -> list[int]:
    """Of a directory only what is at its top: what changes below it is found when the refresh is due again."""
    try:
        status = os.stat(path)  # noqa: PTH116 - followed, and not read
    except OSError:
        return []
    return [status.st_ino, status.st_ctime_ns, status.st_size]
