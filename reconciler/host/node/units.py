"""systemctl(1): units of the running system."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, ReconcilerError, Unavailable
from reconciler.host.base.command import Finished, check, run
from reconciler.model.kind import template_of
from reconciler.model.state.units import PROPERTIES, Unit, parse_units

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

_TIMEOUT: Final = 120.0  # seconds; the slowest unit that ought to be restarted after a merge
_AT_ONCE: Final = 1000  # units, whose names fit a command line
_ANSWER: Final = b"LoadState="  # is there for every unit, known or not
_MASKED: Final = "is masked"
_PAUSES: Final = (0.2, 1.0)  # seconds before a question that got no answer is asked again
_TRANSIENT: Final = Path("/run/systemd/transient")
_HIDING: Final = (
    *("PrivateMounts", "PrivateTmp", "PrivateDevices", "ProtectSystem", "ProtectHome", "ProtectKernelModules"),
    *("ProtectKernelTunables", "ProtectKernelLogs", "ProtectControlGroups", "ReadOnlyPaths", "ReadWritePaths"),
    *("InaccessiblePaths", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "RootDirectory", "RootImage"),
)


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd knows about a unit."""

    is_loaded: bool
    is_active: bool
    can_reload: bool
    conditions_held: bool  # when it was last started; False if it never was
    words: str = ""  # its state, such as "failed"
    hiding: tuple[str, ...] = ()  # settings that give it a mount namespace of its own, where a merge stays unseen


def in_managers_mount_namespace() -> bool:
    """Whether this process sees and changes the mounts that PID 1 does.

    No mount is in two namespaces. To read what /proc/1/ns/mnt leads to would take CAP_SYS_PTRACE.
    """
    own, managers = (_mount_ids(Path(f"/proc/{process}/mountinfo")) for process in ("self", "1"))
    return not own.isdisjoint(managers)


def _mount_ids(mountinfo: Path) -> frozenset[bytes]:
    """Those of a table of mounts (proc_pid_mountinfo(5))."""
    return frozenset(line.split(maxsplit=1)[0] for line in mountinfo.read_bytes().splitlines())


def unit_state(unit: str) -> UnitState:
    """Ask for a unit; one that does not exist or is masked is not loaded."""
    properties = ("LoadState", "ActiveState", "CanReload", "ConditionResult", *_HIDING)
    return parse_unit_state(_shown(properties, unit))


def parse_unit_state(text: str) -> UnitState:
    properties = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return UnitState(
        is_loaded=properties.get("LoadState") == "loaded",
        is_active=properties.get("ActiveState") == "active",
        can_reload=properties.get("CanReload") == "yes",
        conditions_held=properties.get("ConditionResult") == "yes",
        words=properties.get("ActiveState", "") if properties.get("LoadState") == "loaded" else "not found",
        hiding=tuple(f"{it}={properties[it]}" for it in _HIDING if properties.get(it, "") not in {"", "no"}),
    )


def invocation(unit: str) -> str:
    """What tells one start of a unit from the next (INVOCATION_ID of systemd.exec(5))."""
    return _systemctl("show", "--property=InvocationID", "--value", "--", unit).stdout.decode().strip()


def command_line(unit: str) -> str:
    """What a unit starts, with its arguments, as systemd shows it; empty for a unit that is not there."""
    return _systemctl("show", "--property=ExecStart", "--value", "--", unit).stdout.decode(errors="replace")


def restart(unit: str) -> Finished:
    """Restart a unit. Its start limit is for crash loops, not for us: what is used up of it is forgotten."""
    _systemctl("reset-failed", "--", unit)
    return _systemctl("restart", "--", unit)


def reload(unit: str) -> Finished:
    return _systemctl("reload", "--", unit)


def start_later(unit: str, seconds: float, timer: str) -> None:
    """Let systemd start a unit after some time, by a transient timer of this name; one that waits is replaced."""
    cancel_start(timer)
    delay = (f"--on-active={seconds:.0f}", "--timer-property=AccuracySec=1s")
    names = (f"--unit={timer}", f"--description=Start {unit} again")
    start = ("systemctl", "--no-block", "start", unit)
    check(run("systemd-run", *names, "--collect", *delay, *start, timeout=_TIMEOUT), "systemd-run")


def cancel_start(timer: str) -> None:
    if (_TRANSIENT / f"{timer}.timer").exists():
        _systemctl("stop", f"{timer}.timer")


def forgive(units: Iterable[str]) -> None:
    """Let none of these count as failed; what systemctl says of those that did not fail is of no interest."""
    _systemctl("reset-failed", "--", *units)


def daemon_reload() -> None:
    check(_systemctl("daemon-reload"), "systemctl daemon-reload")


def show(names: Iterable[str]) -> dict[str, Unit]:
    """What the service manager says of units, by name; of one that it does not know, that.

    At a template, or what can be no unit's name, systemctl would end and say nothing of those that follow.
    """
    wanted = tuple(dict.fromkeys(names))
    asked = [name for name in wanted if "@." not in name and not name.startswith("@")]
    found: dict[str, Unit] = {}
    for first in range(0, len(asked), _AT_ONCE):
        some = asked[first : first + _AT_ONCE]
        found |= parse_units(_shown(PROPERTIES, *some), time.monotonic_ns())
    return {name: found.get(name, Unit(name)) for name in wanted}


def run_job(job: str, unit: str, *, block: bool = True) -> None:
    """Let systemctl start, restart or reload-or-restart a unit; Failed says why it could not, or that it failed.

    Without `block` only what keeps the job from being begun is told.
    """
    _systemctl("reset-failed", "--", unit)
    hint = f"look at: systemctl status {unit}"
    try:
        finished = _systemctl(*([] if block else ["--no-block"]), job, "--", unit)
    except Unavailable as error:
        slow = f"{unit}: {job} takes longer than {_TIMEOUT:.0f} s, and goes on"
        raise Failed(slow, hint, code="unit.start-failed") from error
    if finished.status != 0:
        complaint = _job_complaint(finished)
        hint = f"systemctl unmask {unit}" if _MASKED in complaint else hint
        raise Failed(f"{unit}: {job} failed: {complaint}", hint, code="unit.start-failed")


def _job_complaint(finished: Finished) -> str:
    """Its first line, since the second one only says where to look."""
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    return lines[0] if lines else finished.complaint


def stop_all(units: Collection[str], but_not: Callable[[Iterable[str]], set[str]]) -> list[str]:
    """Stop those of these units that run, and all instances of templates among them; returns which.

    No failure of theirs remains.

    Their names come from images: none is a pattern or an option here. `but_not` tells which are somebody else's.
    """
    if not units:
        return []
    listed = _systemctl("list-units", "--plain", "--no-legend", "--full")
    known = [line.split(maxsplit=1)[0] for line in listed.stdout.decode().splitlines() if line.strip()]
    names = [name for name in known if name in units or template_of(name) in units]
    others = but_not(names)
    if names := [name for name in names if name not in others]:
        check(_systemctl("stop", "--", *names), f"systemctl stop {' '.join(names)}")
        _systemctl("reset-failed", "--", *names)  # one that took the stop badly would leave the node degraded
    return names


def journal_since(unit: str, since: float, lines: int = 5) -> str:
    """The last lines a unit's processes wrote since a time (of the epoch), on one line; empty where is no journal."""
    arguments = (f"--unit={unit}", f"--since=@{since:.6f}", f"--lines={lines}")
    try:
        run("journalctl", "--sync", timeout=_TIMEOUT)  # what a unit said last is on its way yet
        finished = run("journalctl", *arguments, "--output=cat", "--no-pager", "--quiet", timeout=_TIMEOUT)
    except ReconcilerError:
        return ""
    return "; ".join(finished.stdout.decode(errors="replace").split("\n")).strip("; ")


def _shown(properties: Sequence[str], *units: str) -> str:
    """What `systemctl show` prints; a manager too busy for an answer is asked again. No answer at all is Failed."""
    question = ("show", f"--property={','.join(properties)}", "--", *units)
    finished = _systemctl(*question)
    for pause in _PAUSES:
        if _ANSWER not in finished.stdout:
            time.sleep(pause)
            finished = _systemctl(*question)
    if _ANSWER not in finished.stdout:
        reason = finished.complaint if finished.status else "it prints nothing"
        raise Failed(f"systemctl show {units[0]} gives no answer: {reason}", "look at: systemctl status")
    return finished.stdout.decode(errors="replace")


def _systemctl(*arguments: str) -> Finished:
    return run("systemctl", "--no-ask-password", *arguments, timeout=_TIMEOUT)
