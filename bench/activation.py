"""What activation adds: to a run that finds nothing to do, and to an update until its service runs the new code.

On a booted node, with one extension whose service `units.start` lists, and the same extension without it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bench.edit_to_merged import BenchNode, booted, until
from bench.figures import Row
from tests.rig.images import extension, write_image

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS: Final = 25
_UPDATES: Final = 15
_CONFIG: Final = "/etc/livelayer/extensions.yaml"
_UNIT: Final = "demo.service"
_TAGS: Final = ("v1", "v2")
_SAID: Final = "/run/demo"
_LISTED: Final = f", units: {{start: [{_UNIT}]}}"
_LINK: Final = "/var/lib/extensions/demo"
# What a person would type, with all that it takes.
_BY_HAND: Final = (
    "ln -sfn {target} {link} && systemctl reset-failed systemd-sysext.service && "
    "systemctl restart systemd-sysext.service && systemctl daemon-reload && systemctl restart {unit}"
)


def run() -> list[Row]:
    with booted() as node:
        targets = _fetch(node)
        return [*_noop(node), *_update(node, targets)]


def _fetch(node: BenchNode) -> dict[str, str]:
    """Have both versions in the store; returns where the link leads for each."""
    targets = {}
    for tag in _TAGS:
        files = {
            "usr/bin/demo": f"#!/bin/sh\necho {tag} > {_SAID}\nexec sleep infinity\n",
            f"usr/lib/systemd/system/{_UNIT}": "[Service]\nExecStart=/usr/bin/demo\n",
        }
        write_image(node.path("/var/lib/images"), tag, extension("demo", files))
        _apply(node, tag, _LISTED)
        targets[tag] = str(node.path(_LINK).readlink())
    return targets


def _apply(node: BenchNode, tag: str, more: str) -> None:
    node.write(_CONFIG, f"extensions: {{demo: {{source: 'oci:/var/lib/images:{tag}'{more}}}}}\n")
    node.run("livelayer", "apply")


def _noop(node: BenchNode) -> list[Row]:
    """Runs in sync, with and without a unit to look at, in turn."""
    times: dict[str, list[float]] = {_LISTED: [], "": []}
    for _ in range(_ROUNDS):
        for more, taken in times.items():
            _apply(node, _TAGS[-1], more)  # the configuration has changed: this one takes it up
            taken.append(_timed(lambda: node.run("livelayer", "apply")))
    plain = Row("apply in sync, no unit listed", times[""])
    return [plain, Row("  with a unit in units.start", times[_LISTED], subject=plain, goal="at least 0.80")]


def _update(node: BenchNode, targets: dict[str, str]) -> list[Row]:
    """Until the new service speaks."""
    ours: list[float] = []
    by_hand: list[float] = []
    for number in range(_UPDATES):
        tag, other = _TAGS[number % 2], _TAGS[(number + 1) % 2]
        ours.append(_timed(lambda tag=tag: _apply(node, tag, _LISTED), lambda tag=tag: _said(node) == tag))
        line = _BY_HAND.format(target=targets[other], link=_LINK, unit=_UNIT)
        by_hand.append(_timed(lambda line=line: node.run("sh", "-c", line), lambda other=other: _said(node) == other))
        _apply(node, other, _LISTED)
    applied = Row("apply until an updated service runs", ours)
    return [applied, Row("  by hand: ln, restart, daemon-reload, restart", by_hand, subject=applied)]


def _said(node: BenchNode) -> str:
    return node.run("cat", _SAID).stdout.strip()


def _timed(do: Callable[[], object], condition: Callable[[], bool] = lambda: True) -> float:
    begun = time.monotonic()
    do()
    return until(condition, begun)
