"""systemctl(1): units of the running system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.errors import Failed, ReconcilerError
from reconciler.host.base.command import Finished, check, run

_TIMEOUT: Final = 120.0  # seconds; the slowest unit that ought to be restarted after a merge
_BOOTED: Final = Path("/run/systemd/system")
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


def booted_with_systemd() -> bool:
    """See sd_booted(3)."""
    return _BOOTED.is_dir()


def in_managers_mount_namespace() -> bool:
    """Whether this process sees and changes the mounts that PID 1 does."""
    return Path("/proc/self/ns/mnt").readlink() == Path("/proc/1/ns/mnt").readlink()


def unit_state(unit: str) -> UnitState:
    """Ask for a unit; one that does not exist or is masked is not loaded."""
    properties = ("LoadState", "ActiveState", "CanReload", "ConditionResult", *_HIDING)
    finished = _systemctl("show", f"--property={','.join(properties)}", unit)
    return parse_unit_state(finished.stdout.decode())


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
    return _systemctl("show", "--property=InvocationID", "--value", unit).stdout.decode().strip()


def command_line(unit: str) -> str:
    """What a unit starts, with its arguments, as systemd shows it; empty for a unit that is not there."""
    return _systemctl("show", "--property=ExecStart", "--value", unit).stdout.decode(errors="replace")


def restart(*units: str) -> Finished:
    """Restart units. Their start limits are for crash loops, not for us: what is used up of them is forgotten."""
    _systemctl("reset-failed", *units)
    return _systemctl("restart", *units)


def reload(unit: str) -> Finished:
    return _systemctl("reload", unit)


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


def daemon_reload() -> None:
    check(_systemctl("daemon-reload"), "systemctl daemon-reload")


def restart_all(units: tuple[str, ...]) -> None:
    finished = restart(*units)
    if finished.status != 0:
        names = " ".join(units)
        hint = f"look at: systemctl status {names}"
        raise Failed(f"systemctl restart {names} failed: {finished.complaint}", hint, code="unit.restart-failed")


def stop_all(units: tuple[str, ...], *, only_orphans: bool = False) -> None:
    """Stop units by name or pattern; what is not running or not loaded is as it should be.

    Orphans run on although their unit file is gone: `Upholds=` may have started them again meanwhile.
    """
    if not units:
        return
    listed = _systemctl("list-units", "--plain", "--no-legend", "--state=active,activating,reloading", *units)
    rows = [line.split() for line in listed.stdout.decode().splitlines()]
    names = [row[0] for row in rows if len(row) > 1 and (row[1] == "not-found" or not only_orphans)]
    if names:
        check(_systemctl("stop", *names), f"systemctl stop {' '.join(names)}")


def journal_since(unit: str, since: float, lines: int = 5) -> str:
    """The last lines a unit's processes wrote since a time (of the epoch), on one line; empty where is no journal."""
    arguments = (f"--unit={unit}", f"--since=@{since:.6f}", f"--lines={lines}")
    try:
        run("journalctl", "--sync", timeout=_TIMEOUT)  # what a unit said last is on its way yet
        finished = run("journalctl", *arguments, "--output=cat", "--no-pager", "--quiet", timeout=_TIMEOUT)
    except ReconcilerError:
        return ""
    return "; ".join(finished.stdout.decode(errors="replace").split("\n")).strip("; ")


def _systemctl(*arguments: str) -> Finished:
    return run("systemctl", "--no-ask-password", *arguments, timeout=_TIMEOUT)
