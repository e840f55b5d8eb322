"""Checks with the real systemd-sysext: what fails its checks goes back to what was there before."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import command, extension

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]
HEALTHY = "checks: {command: [x, check], timeout: 1s}"


def _program(says: str, *, healthy: bool) -> str:
    return f'#!/bin/sh\necho {says}\n[ "$1" != check ] || exit {0 if healthy else 3}\n'


def _push(bench: Bench, tag: str, *, healthy: bool) -> str:
    return bench.push(tag, extension("x", {"usr/bin/x": _program(tag, healthy=healthy)}))


def _want(bench: Bench, source: str, checks: str = HEALTHY, more: str = "") -> None:
    bench.configure(f"settings: {{allow_empty: true}}\nextensions:\n  x: {{source: '{source}', {checks}}}\n{more}")


def test_an_update_that_fails_its_check_is_taken_back(bench: Bench) -> None:
    good, bad = _push(bench, "good", healthy=True), _push(bench, "bad", healthy=False)
    _want(bench, good)
    bench.livelayer("apply")
    _want(bench, bad)
    told = bench.livelayer("apply", status=1).stderr
    assert "x: failed its checks: x check exits with 3" in told
    assert bench.says("x") == "good"
    status = bench.status()["x"]
    assert (status["state"], status["merged"]) == ("failed", True)
    assert "failed its checks: x check exits with 3; sha256:" in status["reason"]
    assert status["placed"] != status["desired"]
    # It is not tried again, and what is recorded is what is good.
    told = bench.livelayer("apply", status=1).stderr
    assert "plan: " not in told
    assert len(json.loads(bench.livelayer("history", "--json").stdout)["generations"]) == 1


def test_it_is_tried_again_when_asked_or_when_the_file_changes(bench: Bench) -> None:
    good, bad = _push(bench, "good", healthy=True), _push(bench, "bad", healthy=False)
    _want(bench, good)
    bench.livelayer("apply")
    _want(bench, bad, "checks: {file: /run/there, timeout: 1s}")
    bench.livelayer("apply", status=1)
    assert bench.says("x") == "good"
    bench.namespace.run("touch", "/run/there")
    bench.livelayer("apply", "--retry", "x")
    assert bench.says("x") == "bad"
    bench.namespace.run("rm", "/run/there")
    _want(bench, good, "checks: {file: /run/there, timeout: 1s}")
    bench.livelayer("apply", status=1)
    _want(bench, good, "checks: {file: /run, timeout: 1s}")
    bench.livelayer("apply")
    assert bench.says("x") == "good"


def test_a_first_merge_that_fails_its_check_is_withdrawn(bench: Bench) -> None:
    other = bench.push("v1", command("other", "other"), name="other")
    _want(bench, _push(bench, "bad", healthy=False), more=f"  other: {{source: '{other}'}}\n")
    bench.livelayer("apply", status=1)
    assert bench.merged() == ["other"]
    assert "it is withdrawn" in bench.status()["x"]["reason"]
    assert bench.status()["other"]["state"] == "in-sync"


def test_one_that_was_withdrawn_is_taken_once_its_tag_leads_to_a_better_one(bench: Bench) -> None:
    _want(bench, _push(bench, "v1", healthy=False), f"pull: missing, {HEALTHY}")
    bench.livelayer("apply", status=1)
    _push(bench, "v1", healthy=True)
    bench.livelayer("apply")
    assert bench.says("x") == "v1"


def test_the_check_of_the_whole_takes_everything_back(bench: Bench) -> None:
    """Also what was removed comes back; and no later run tries the same again."""
    a, b, c = (bench.push("v1", command(name, name), name=name) for name in "abc")
    settings = "settings: {checks: {file: /usr/bin/a, timeout: 1s}}\n"
    bench.configure(f"{settings}extensions: {{a: {{source: '{a}'}}, b: {{source: '{b}'}}}}\n")
    bench.livelayer("apply")
    bench.configure(f"{settings}extensions: {{b: {{source: '{b}'}}, c: {{source: '{c}'}}}}\n")
    told = bench.livelayer("apply", status=1).stderr
    assert "the node: failed its checks: /usr/bin/a does not exist" in told
    assert bench.merged() == ["a", "b"]
    assert bench.says("a") == "a"
    assert bench.status()["a"]["state"] == "failed"
    assert "its removal was taken back" in bench.status()["a"]["reason"]
    assert "plan: " not in bench.livelayer("apply", status=1).stderr
    bench.configure(f"extensions: {{b: {{source: '{b}'}}, c: {{source: '{c}'}}}}\n")
    bench.livelayer("apply")
    assert bench.merged() == ["b", "c"]


def test_a_change_that_an_interrupted_run_left_unchecked_is_checked(bench: Bench) -> None:
    good, bad = _push(bench, "good", healthy=True), _push(bench, "bad", healthy=False)
    _want(bench, good)
    bench.livelayer("apply")
    _want(bench, bad, "checks: {command: [sleep, '100'], timeout: 100s}")
    _kill_when_merged(bench)
    assert bench.says("x") == "bad"
    assert (bench.status()["x"]["state"], bench.status()["x"]["code"]) == ("pending", "checks.pending")
    assert bench.status()["x"]["reason"] == "waits for checks: sleep 100"
    _want(bench, bad)
    told = bench.livelayer("apply", status=1).stderr
    assert "an earlier run has not checked its change" in told
    assert bench.says("x") == "good"


def _kill_when_merged(bench: Bench) -> None:
    run = bench.namespace.command(bench.command, "apply")
    with subprocess.Popen(run, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        while bench.namespace.run("x", status=None).stdout.strip() != "bad":
            assert running.poll() is None
            time.sleep(0.05)
        running.kill()


def test_units_cannot_be_checked_where_systemd_does_not_run(bench: Bench) -> None:
    _want(bench, _push(bench, "v1", healthy=True), "checks: {units: [x.service], timeout: 1s}")
    assert "systemd does not run here" in bench.livelayer("apply", status=1).stderr
