"""The record of changes that are yet to prove themselves, and of those that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.host.base.durable import read_json, write_json
from reconciler.model.state.checks import Health, health_as_json, health_from_json

if TYPE_CHECKING:
    from reconciler.paths import Paths


def read_health(paths: Paths) -> Health:
    """What is recorded; nothing, on most nodes."""
    record = read_json(paths.health)
    return health_from_json(record) if record is not None else Health()


def write_health(paths: Paths, health: Health) -> None:
    """Record it, durably: a change that failed must not come back after a power cut.

    Raises:
        Failed: it cannot be written.
    """
    if health != read_health(paths):
        write_json(paths.health, health_as_json(health))
