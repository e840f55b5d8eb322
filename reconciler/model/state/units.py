"""What systemd says of units, and how they stand to the content they run from."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from reconciler.dataclass import dataclass

PROPERTIES: Final = (
    *("Id", "Names", "LoadState", "ActiveState", "SubState", "Result", "Type", "ConditionResult"),
    *("InactiveExitTimestampMonotonic", "ExecMainStartTimestampMonotonic", "InactiveEnterTimestampMonotonic"),
    *("ActiveEnterTimestamp", "InactiveEnterTimestamp", "NRestarts"),
)
"""The properties that are asked for, as `systemctl show` names them."""
_UP: Final = frozenset({"active", "reloading", "refreshing", "activating"})
_LOOP: Final = 3  # restarts by systemd after which a service that has begun anew lately is not taken for running
_LATELY: Final = 30 * 10**9  # nanoseconds
_BETWEEN_CRASHES: Final = "auto-restart"  # systemd waits for RestartSec=; auto-restart-queued since 254


class UnitWord(StrEnum):
    """How a unit stands, in one word."""

    RUNNING = "running"
    FINISHED = "finished"  # a oneshot service that has done its work
    OLD_CODE = "old-code"  # it runs, since before its extension's present content was merged
    STARTING = "starting"
    FAILED = "failed"  # also between two attempts of systemd's own
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as the service manager has it. Times are of CLOCK_MONOTONIC, in nanoseconds; 0: never."""

    name: str
    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    is_oneshot: bool = False
    condition: bool = True  # False: a condition of it did not hold when it was last started
    started: int = 0
    stopped: int = 0
    since: str = ""  # when it got into its present state, as systemd words it
    restarts: int = 0  # by systemd itself, since it was started by a job
    seen: int = 0  # when systemd was asked

    @property
    def is_loaded(self) -> bool:
        return self.load == "loaded"

    @property
    def is_up(self) -> bool:
        return self.active in _UP and not self.sub.startswith(_BETWEEN_CRASHES)

    @property
    def loops(self) -> bool:
        """Whether it crashes and is restarted, again and again; systemd goes on with that by itself."""
        return self.restarts >= _LOOP and self.active in _UP and self.seen - self.started < _LATELY

    def word(self, merged: int) -> UnitWord:
        """How it stands to content that was merged at this time of CLOCK_MONOTONIC, in nanoseconds."""
        if self.loops:
            return UnitWord.FAILED
        if self.is_up and self.started < merged:
            return UnitWord.OLD_CODE
        if self.is_up:
            return UnitWord.STARTING if self.active == "activating" and not self.is_oneshot else UnitWord.RUNNING
        if self.active in {"failed", "activating"}:
            return UnitWord.FAILED
        if self.is_oneshot and self.result == "success" and self.condition and self.stopped > merged:
            return UnitWord.FINISHED
        return UnitWord.STOPPED

    @property
    def is_forgotten_oneshot(self) -> bool:
        """Systemd forgets a unit that has done its work and that nothing else refers to."""
        return self.is_oneshot and self.active == "inactive" and not self.stopped

    @property
    def words(self) -> str:
        """Its state, for people."""
        if not self.is_loaded:
            return {"not-found": "not found"}.get(self.load, self.load)
        if not self.condition and not self.is_up:
            return "not started, since a condition of it does not hold"
        if self.loops:
            return f"crashing again and again ({self.restarts} times by now)"
        if self.sub.startswith(_BETWEEN_CRASHES):
            return f"{self.active} ({', '.join((self.sub, *self._failure))})"
        return f"failed ({', '.join(self._failure)})" if self.active == "failed" and self._failure else self.active

    @property
    def _failure(self) -> tuple[str, ...]:
        return (self.result,) if self.result != "success" else ()


def parse_units(text: str, seen: int) -> dict[str, Unit]:
    """What `systemctl show` printed at a time of several units, a block each; by each of a unit's names."""
    found: dict[str, Unit] = {}
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if name := values.get("Id"):
            unit = _unit(name, values, seen)
            found |= dict.fromkeys((name, *values.get("Names", "").split()), unit)
    return found


def _unit(name: str, values: dict[str, str], seen: int) -> Unit:
    active = values.get("ActiveState", "inactive")
    is_up = active in _UP
    process, left = (
        _nanoseconds(values.get(f"{it}TimestampMonotonic", "")) for it in ("ExecMainStart", "InactiveExit")
    )
    return Unit(
        name,
        values.get("LoadState", "not-found"),
        active,
        values.get("SubState", "dead"),
        values.get("Result", "success"),
        is_oneshot=values.get("Type") == "oneshot",
        condition=values.get("ConditionResult") == "yes" or not left,
        started=process or left,
        stopped=_nanoseconds(values.get("InactiveEnterTimestampMonotonic", "")),
        since=values.get("ActiveEnterTimestamp" if is_up else "InactiveEnterTimestamp", ""),
        restarts=_number(values.get("NRestarts", "")),
        seen=seen,
    )


def _nanoseconds(microseconds: str) -> int:
    return _number(microseconds) * 1000


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
