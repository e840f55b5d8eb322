"""What is merged runs: users, directories and units after an apply, after a boot, after a merge by others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import Member, extension
from tests.rig.releases import BOOKWORM, RELEASES
from tests.system.test_node import MAIN, UNITS, Bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.releases(*RELEASES)]

ACTIVE = "units: {start: [x.service]}"
CHECKED = "units: {restart: [x.service]}, checks: {units: [x.service], settle: 1s, timeout: 8s}"
TRIGGERS = ("livelayer.path", "livelayer.timer", "livelayer.service", "livelayer-recheck.service")
USERS = {
    "usr/lib/sysusers.d/x.conf": 'u xuser - "A user of its own" /var/lib/x\n',
    "usr/lib/tmpfiles.d/x.conf": "d /var/lib/x 0700 xuser xuser -\n",
}


@pytest.fixture
def bench(node: Node, registry: Registry, tmp_path: Path) -> Bench:
    """Everything a test needs."""
    return Bench(node, registry, tmp_path)


def _service(
    version: str, does: str = "exec sleep infinity", more: dict[str, str] | None = None, unit: str = ""
) -> list[Member]:
    files = {
        "usr/bin/x": f'#!/bin/sh\n[ "$1" = says ] && exec echo {version}\n{does}\n',
        "usr/lib/systemd/system/x.service": f"[Service]\nExecStart=/usr/bin/x\n{unit}",
        **(more or {}),
    }
    return list(extension("x", files))


def _want(bench: Bench, source: str, more: str = ACTIVE, settings: str = "") -> None:
    bench.node.write(MAIN, f"{settings}extensions: {{x: {{source: '{source}', {more}}}}}\n")


def _is(bench: Bench, unit: str = "x.service") -> str:
    return bench.node.run("systemctl", "is-active", unit, status=None).stdout.strip()


def _pid(bench: Bench) -> str:
    return bench.node.run("systemctl", "show", "--property=MainPID", "--value", "x.service").stdout.strip()


def _units(bench: Bench) -> dict[str, str]:
    (it,) = (it for it in bench.status()["extensions"] if it["name"] == "x")
    return {unit["name"]: unit["state"] for unit in it["units"]}


def _reasons(bench: Bench) -> str:
    return json.dumps(bench.status()["extensions"])


def test_a_service_with_a_user_of_its_own_runs_now_and_after_a_boot(bench: Bench) -> None:
    unit = "User=xuser\nWorkingDirectory=/var/lib/x\n"
    one, two = (bench.push("x", tag, _service(tag, more=USERS, unit=unit)) for tag in ("v1", "v2"))
    bench.enable(*UNITS)
    _want(bench, one)
    bench.eventually(lambda: _is(bench) == "active")
    bench.node.run("livelayer", "status", "--check")
    assert _units(bench) == {"x.service": "running"}
    assert bench.node.run("stat", "--format=%U %a", "/var/lib/x").stdout == "xuser 700\n"

    bench.node.reboot()
    assert _is(bench) == "active"
    bench.node.run("livelayer", "status", "--check")

    before = _pid(bench)
    _want(bench, two)
    bench.eventually(lambda: _pid(bench) not in {before, "0"})
    bench.eventually(lambda: bench.status()["in_sync"])
    assert bench.node.run("/usr/bin/x", "says").stdout == "v2\n"

    bench.node.write(MAIN, "settings: {allow_empty: true}\nextensions: {}\n")
    bench.eventually(lambda: bench.merged() == [])
    assert _is(bench) != "active"


def test_a_good_update_that_comes_with_a_boot_stays(bench: Bench) -> None:
    late = "[Unit]\nAfter=multi-user.target\n"  # whose start waits for the end of the boot
    one, two = (bench.push("x", tag, _service(tag, unit=late)) for tag in ("v1", "v2"))
    bench.enable(*UNITS)
    _want(bench, one, CHECKED)
    bench.eventually(lambda: bench.status()["in_sync"] and _is(bench) == "active")
    bench.node.run("systemctl", "stop", *TRIGGERS)
    _want(bench, two, CHECKED)
    bench.node.run("livelayer", "apply", "--no-refresh")
    assert bench.node.run("/usr/bin/x", "says").stdout == "v1\n"

    bench.node.reboot()
    assert bench.node.run("/usr/bin/x", "says").stdout == "v2\n"
    bench.eventually(lambda: bench.status()["in_sync"])
    assert _is(bench) == "active"
    assert bench.node.run("/usr/bin/x", "says").stdout == "v2\n"
    assert json.loads(bench.node.run("livelayer", "history", "--json").stdout)["generations"][-1]["generation"] == 2


def test_a_first_version_merged_by_a_boot_is_checked_there(bench: Bench) -> None:
    """With `refresh: boot` nothing is merged at once; what fails then goes with the next boot."""
    boot = "settings: {refresh: boot}\n"
    bench.enable(*UNITS)
    bench.node.run("systemctl", "stop", *TRIGGERS)
    _want(bench, bench.push("x", "good", _service("good")), CHECKED, boot)
    bench.node.run("livelayer", "apply")
    assert bench.merged() == []
    bench.node.reboot()
    bench.eventually(lambda: _is(bench) == "active" and bench.status()["in_sync"])

    _want(bench, bench.push("x", "bad", _service("bad", "exit 1")), CHECKED, boot)
    bench.node.run("livelayer", "apply")
    bench.node.reboot()
    bench.eventually(lambda: "failed its checks" in _reasons(bench))
    bench.node.reboot()
    bench.eventually(lambda: _is(bench) == "active")
    assert bench.node.run("/usr/bin/x", "says").stdout == "good\n"


def test_what_is_upheld_starts_by_an_apply_and_by_a_boot(bench: Bench) -> None:
    """Also where systemd starts it as soon as it is merged, before its user is made (257), and gives it up."""
    more = {"usr/lib/systemd/system/multi-user.target.d/10-x.conf": "[Unit]\nUpholds=x.service\n", **USERS}
    bench.enable("livelayer-boot.service", "livelayer-activate.service")
    _want(bench, bench.push("x", "v1", _service("v1", more=more, unit="User=xuser\n")), "pull: missing")
    bench.node.run("livelayer", "apply")
    assert _is(bench) == "active"
    bench.node.reboot()
    bench.eventually(lambda: _is(bench) == "active")


def test_units_that_fail_are_told_again_and_keep_no_other_from_starting(bench: Bench) -> None:
    more = {"usr/lib/systemd/system/y.service": "[Service]\nType=exec\nExecStart=/nonexistent\n"}
    units = "units: {start: [missing.service, y.service, x.service]}"
    _want(bench, bench.push("x", "v1", _service("v1", more=more)), units)
    told = bench.node.run("livelayer", "apply", status=1).stderr
    assert "x: y.service" in told
    assert "x: missing.service" in told
    assert _is(bench) == "active"
    for _ in range(2):
        bench.node.run("livelayer", "status", "--check", status=2)
        bench.node.run("systemctl", "start", "livelayer.service", status=1)
    assert _units(bench) == {"missing.service": "stopped", "x.service": "running", "y.service": "failed"}
    assert json.loads(bench.node.run("livelayer", "history", "--json").stdout)["generations"] == []
    assert bench.status()["retry_at"]

    bench.node.run("systemctl", "stop", "x.service")
    bench.node.run("livelayer", "apply", "--automatic", status=1)
    assert _is(bench) == "active"

    _want(bench, bench.push("x", "v1", _service("v1", more=more)), ACTIVE)  # what failed is not wanted any more
    bench.node.run("livelayer", "apply", "--automatic")
    assert bench.status()["retry_at"] is None
    bench.node.write(MAIN, "settings: {allow_empty: true}\nextensions: {}\n")
    bench.node.run("livelayer", "apply")
    assert bench.node.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


@pytest.mark.releases(BOOKWORM)
def test_what_crashes_again_and_again_does_not_run_and_is_looked_at_again(bench: Bench) -> None:
    loop = "Restart=always\nRestartSec=100ms\n[Unit]\nStartLimitIntervalSec=0\n"
    bench.enable("livelayer.timer")
    _want(bench, bench.push("x", "v1", _service("v1", does="sleep 0.5; exit 3", unit=loop)))
    bench.node.run("livelayer", "apply", status=None)
    restarts = ("systemctl", "show", "--property=NRestarts", "--value", "x.service")
    bench.eventually(lambda: int(bench.node.run(*restarts).stdout) >= 3)
    assert _units(bench) == {"x.service": "failed"}
    for _ in range(2):
        assert "crashing again and again" in bench.node.run("livelayer", "apply", status=1).stderr
        bench.node.run("livelayer", "status", "--check", status=2)


@pytest.mark.releases(BOOKWORM)
def test_units_of_several_extensions_start_side_by_side(bench: Bench) -> None:
    slow = {"usr/lib/systemd/system/a.service": "[Service]\nType=oneshot\nExecStart=sleep 6\nRemainAfterExit=yes\n"}
    fast = {"usr/lib/systemd/system/z.service": "[Service]\nExecStart=sleep infinity\n"}
    sources = {name: bench.push(name, "v1", extension(name, it)) for name, it in (("a", slow), ("z", fast))}
    listed = "".join(
        f"  {it}: {{source: '{source}', units: {{start: [{it}.service]}}}}\n" for it, source in sources.items()
    )
    bench.node.write(MAIN, f"extensions:\n{listed}")
    bench.node.run("livelayer", "apply")
    show = ("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value")
    begun = [int(bench.node.run(*show, f"{it}.service").stdout) for it in sources]
    assert begun == sorted(begun, reverse=True)


@pytest.mark.releases(BOOKWORM)
def test_what_was_left_alone_is_done_when_it_shall_be(bench: Bench) -> None:
    directory = {"usr/lib/tmpfiles.d/x.conf": "d /srv/left 0755 root root -\n"}
    source = bench.push("x", "v1", _service("v1", more=directory))
    _want(bench, source, "activation: none")
    bench.node.run("livelayer", "apply")
    assert not bench.node.path("/srv/left").exists()
    bench.node.run("livelayer", "status", "--check")
    _want(bench, source, "activation: auto")
    bench.node.run("livelayer", "status", "--check", status=2)
    bench.node.run("livelayer", "apply")
    assert bench.node.path("/srv/left").exists()
    bench.node.run("livelayer", "status", "--check")


@pytest.mark.releases(BOOKWORM)
def test_what_fails_without_being_asked_for_is_told_alike_everywhere(bench: Bench) -> None:
    """A directory of a user whom nobody makes keeps it from being in sync, a unit of a drop-in does not."""
    more = {
        "usr/lib/systemd/system/multi-user.target.d/10-y.conf": "[Unit]\nUpholds=y.service\n",
        "usr/lib/systemd/system/y.service": "[Service]\nType=exec\nExecStart=/nonexistent\n",
    }
    _want(bench, bench.push("x", "v1", _service("v1", more=more)), "pull: missing")
    bench.node.run("livelayer", "apply")
    bench.eventually(lambda: "y.service is failed" in _reasons(bench))
    assert "y.service is failed" in bench.node.run("livelayer", "explain", "x").stdout
    bench.node.run("livelayer", "status", "--check")

    more["usr/lib/tmpfiles.d/x.conf"] = "d /run/ghostly 0700 ghost ghost -\n"
    _want(bench, bench.push("x", "v2", _service("v2", more=more)), "pull: missing")
    for _ in range(2):
        bench.node.run("livelayer", "apply", "--automatic", status=1)
        bench.node.run("livelayer", "status", "--check", status=2)
    assert "ghost" in _reasons(bench)
    explained = bench.node.run("livelayer", "explain", "x").stdout
    assert "to do     activate" in explained
    assert "again at" in explained
    assert [
        it["generation"] for it in json.loads(bench.node.run("livelayer", "history", "--json").stdout)["generations"]
    ] == [1]


def test_a_oneshot_that_systemd_forgets_has_done_its_work(bench: Bench) -> None:
    once = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran >> /run/once'\n"
    units = {f"usr/lib/systemd/system/{it}": once for it in ("a@.service", "@a.service", "once.service")}
    layer = _service("v1", more={**units, "usr/lib/sysusers.d/--help.conf": "u dashuser -\n"})
    _want(bench, bench.push("x", "v1", layer), "units: {start: [x.service, once.service]}")
    bench.node.run("rm", "--force", "/run/once")
    for _ in range(2):
        bench.node.run("livelayer", "apply")
    bench.node.run("livelayer", "status", "--check")
    assert bench.node.run("cat", "/run/once").stdout == "ran\n"
    assert _units(bench) == {"x.service": "running", "once.service": "finished", "@a.service": "stopped"}
    bench.node.run("id", "dashuser")
    _want(bench, bench.push("x", "v1", layer), "pull: missing")  # its units are only looked at, after the template
    assert _units(bench)["x.service"] == "running"


def test_units_that_an_update_drops_are_stopped_but_those_of_the_host_run_on(bench: Bench) -> None:
    bench.node.write("/etc/systemd/system/host.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n")
    bench.node.run("systemctl", "daemon-reload")
    bench.node.run("systemctl", "start", "host.service")
    running = "[Service]\nExecStart=/usr/bin/sleep infinity\n"
    more = {
        "usr/local/lib/systemd/system/local.service": running,
        "usr/lib/systemd/system/old.service": running,
        "usr/lib/systemd/system/host.service": running,
        "usr/lib/systemd/system/dbus.service": running,
        "usr/lib/systemd/system/*.service": running,
        "usr/lib/systemd/system/--host=h.service": running,
        "usr/lib/systemd/system/many@.service": running,
    }
    names = ("local.service", "old.service", "many@a.service")
    _want(bench, bench.push("x", "v1", _service("v1", more=more)), f"units: {{start: [{', '.join(names)}]}}")
    bench.node.run("livelayer", "apply")
    assert [_is(bench, it) for it in names] == ["active"] * 3
    _want(bench, bench.push("x", "v2", _service("v2")))
    bench.node.run("livelayer", "apply")
    assert [_is(bench, it) for it in names] == ["inactive"] * 3
    assert [_is(bench, it) for it in ("host.service", "dbus.service", "systemd-journald.service")] == ["active"] * 3


def test_an_extension_says_itself_what_to_restart_and_nothing_is_started_twice(bench: Bench) -> None:
    def layer(version: str) -> list[Member]:
        release = "ID=_any\nEXTENSION_RESTART_UNITS=x.service\nEXTENSION_RELOAD_MANAGER=1\n"
        service = _service(version, "echo started >> /run/x-starts; exec sleep infinity")
        return [*service[:-1], *extension("x", {}, release)]  # another release file

    def starts() -> int:
        return len(bench.node.run("cat", "/run/x-starts").stdout.split())

    for number, (tag, more) in enumerate((("v1", "pull: missing"), ("v2", ACTIVE), ("v3", CHECKED)), 1):
        _want(bench, bench.push("x", tag, layer(tag)), more)
        bench.node.run("livelayer", "apply")
        assert (_is(bench), starts()) == ("active", number)


def test_a_merge_by_others_is_paid_for(bench: Bench) -> None:
    _want(bench, bench.push("x", "v1", _service("v1", more=USERS)))
    bench.node.run("livelayer", "apply", "--no-refresh")
    bench.node.run("systemd-sysext", "refresh")
    assert _is(bench) != "active"
    bench.node.run("livelayer", "status", "--check", status=2)
    bench.node.run("livelayer", "activate")
    assert _is(bench) == "active"
    bench.node.run("id", "xuser")
    bench.node.run("livelayer", "status", "--check")

    bench.node.run("systemd-sysext", "unmerge")
    bench.node.run("livelayer", "activate")
    assert _is(bench) != "active"
    bench.node.run("livelayer", "apply")
    assert _is(bench) == "active"
    bench.node.run("livelayer", "status", "--check")


LOCK = "import fcntl, time; file = open('/etc/.pwd.lock', 'w'); fcntl.lockf(file, fcntl.LOCK_EX); time.sleep(600)"


@pytest.mark.parametrize("then", ["run", "boot"])
def test_a_kill_between_merge_and_activation_loses_nothing(bench: Bench, then: str) -> None:
    """The lock of the user database holds up systemd-sysusers, and so the run, at the right moment."""
    bench.enable("livelayer-boot.service")
    _want(bench, bench.push("x", "v1", _service("v1", more=USERS, unit="User=xuser\n")))
    bench.node.run("systemd-run", "--unit=lock", "python3", "-c", LOCK)
    bench.node.run("systemd-run", "--unit=run", "livelayer", "apply")
    bench.eventually(
        lambda: bench.node.run("sh", "-c", "grep -qx systemd-sysuser /proc/[0-9]*/comm", status=None).returncode == 0
    )
    bench.node.run("systemctl", "kill", "--signal=KILL", "run.service")
    bench.node.run("systemctl", "stop", "lock.service")
    assert bench.merged() == ["x"]
    assert _is(bench) != "active"
    bench.eventually(lambda: bench.node.run("systemctl", "is-active", "run.service", status=None).returncode != 0)
    bench.node.run("livelayer", "status", "--check", status=2)
    if then == "boot":
        bench.node.reboot()
        bench.eventually(lambda: _is(bench) == "active")
    else:
        bench.node.run("livelayer", "apply", "--automatic")
        assert _is(bench) == "active"
    bench.node.run("livelayer", "status", "--check")


def test_users_cannot_be_made_while_etc_is_read_only_and_the_way_out_works(bench: Bench) -> None:
    if bench.node.run("systemd-confext", "status", status=None).returncode:
        pytest.skip("this systemd has no configuration extensions")
    users = {path: text.replace("xuser", "yuser") for path, text in USERS.items()}  # whom no other test has made
    bench.node.run("mkdir", "-p", "/run/confexts/c/etc/extension-release.d")
    bench.node.run("sh", "-c", "echo ID=_any > /run/confexts/c/etc/extension-release.d/extension-release.c")
    bench.node.run("systemd-confext", "refresh")
    _want(bench, bench.push("x", "v1", _service("v1", more=users, unit="User=yuser\n")))
    told = bench.node.run("livelayer", "apply", status=1).stderr
    assert "x: systemd-sysusers" in told
    (hint,) = {line.strip() for line in told.splitlines() if "systemd-confext unmerge" in line}
    bench.node.run("sh", "-c", hint.partition("without them: ")[2])
    assert _is(bench) == "active"
    bench.node.run("livelayer", "status", "--check")
    _want(bench, bench.push("x", "v2", _service("v2", more=users, unit="User=yuser\n")))
    bench.node.run("livelayer", "apply")  # the user is there
    bench.node.run("test", "-e", "/etc/extension-release.d/extension-release.c")


def test_a_node_whose_next_boot_would_merge_nothing_is_told(bench: Bench) -> None:
    _want(bench, bench.push("x", "v1", _service("v1")))
    told = bench.node.run("livelayer", "apply").stderr
    (command,) = {
        line.partition("does: ")[2] for line in told.splitlines() if "the next boot will merge no sysext" in line
    }
    assert "the next boot will merge no sysext" in bench.node.run("livelayer", "status").stderr
    bench.node.run("sh", "-c", command)
    assert "the next boot" not in bench.node.run("livelayer", "status").stderr
    bench.node.reboot()
    assert _is(bench) == "active"


def test_a_service_that_runs_on_old_code_is_named(bench: Bench) -> None:
    one, two = (bench.push("x", tag, _service(tag)) for tag in ("v1", "v2"))
    _want(bench, one, "pull: missing")
    bench.node.run("livelayer", "apply")
    bench.node.run("systemctl", "start", "x.service")
    assert _units(bench) == {"x.service": "running"}
    _want(bench, two, "pull: missing")
    bench.node.run("livelayer", "apply")
    assert _units(bench) == {"x.service": "old-code"}
    assert "x.service runs since before its content changed" in _reasons(bench)
    bench.node.run("systemctl", "restart", "x.service")
    assert _units(bench) == {"x.service": "running"}


def test_a_recheck_that_is_stopped_has_not_failed(bench: Bench) -> None:
    bench.node.run("systemctl", "start", "--no-block", "livelayer-recheck.service")
    bench.eventually(lambda: _is(bench, "livelayer-recheck.service") == "activating")
    bench.node.run("systemctl", "stop", "livelayer-recheck.service")
    assert _is(bench, "livelayer-recheck.service") == "inactive"
