"""The record of what was activated since the boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.host.base.durable import read_json, write_json
from reconciler.model.state.activation import Activation, activation_as_json, activation_from_json

if TYPE_CHECKING:
    from reconciler.paths import Paths


def read_activation(paths: Paths) -> Activation:
    return activation_from_json(read_json(paths.activation))


def write_activation(paths: Paths, record: Activation) -> None:
    """In a directory that a power cut empties: then all is owed anew."""
    write_json(paths.activation, activation_as_json(record), durable=False)
