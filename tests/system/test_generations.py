"""History, rollback and gc with the real systemd-sysext, skopeo and registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.images import command

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]


def _history(bench: Bench) -> list[dict[str, Any]]:
    document = json.loads(bench.livelayer("history", "--json").stdout)
    generations: list[dict[str, Any]] = document["generations"]
    return generations


def _standing(bench: Bench) -> tuple[int | None, int | None]:
    document = json.loads(bench.livelayer("status", "--json").stdout)
    return document["generation"], document["held_generation"]


def _install(bench: Bench, tag: str, settings: str = "{}") -> str:
    source = bench.push(tag, command("x", tag))
    bench.configure(f"settings: {settings}\nextensions: {{x: {{source: '{source}'}}}}\n")
    bench.livelayer("apply")
    assert bench.says("x") == tag
    return source


def test_a_rollback_takes_no_network_and_holds_until_the_configuration_changes(bench: Bench) -> None:
    _install(bench, "v1")
    newer = _install(bench, "v2")
    assert _standing(bench) == (2, None)
    bench.registry.stop()

    rollback = bench.livelayer("rollback")
    assert "(as in generation 1)" in rollback.stderr
    told = rollback.stdout
    assert told == "generation 1 is in force until the configuration changes\n"
    assert bench.says("x") == "v1"
    bench.livelayer("apply")
    assert bench.says("x") == "v1", "a run must not undo a rollback"
    assert _standing(bench) == (3, 1)
    assert "generation 1 is held" in bench.livelayer("status").stderr
    assert bench.livelayer("plan").stdout == "in sync\n"

    bench.configure(f"extensions: {{x: {{source: '{newer}', pull: missing}}}}\n")
    bench.livelayer("apply")
    assert bench.says("x") == "v2"
    assert _standing(bench) == (4, None)


def test_a_broken_configuration_does_not_end_a_rollback(bench: Bench) -> None:
    _install(bench, "v1")
    _install(bench, "v2")
    bench.livelayer("rollback", "1")
    bench.configure("extensions: [")
    bench.livelayer("apply", status=1)
    assert bench.says("x") == "v1"
    assert _standing(bench) == (3, 1)


def test_what_came_and_what_went_comes_and_goes_again(bench: Bench) -> None:
    a, b = (bench.push("v1", command(name, name), name=name) for name in "ab")
    bench.want(a=a)
    bench.livelayer("apply")
    bench.want(b=b)
    bench.livelayer("apply")
    assert bench.merged() == ["b"]
    assert "(it is not in generation 1)" in bench.livelayer("rollback").stderr
    assert bench.merged() == ["a"]
    bench.livelayer("rollback", "--release")
    assert bench.merged() == ["b"]
    assert _standing(bench) == (4, None)
    assert [
        (it["by"], [(c["name"], bool(c["from"]), bool(c["to"])) for c in it["changes"]]) for it in _history(bench)
    ] == [
        ("apply", [("a", False, True)]),
        ("apply", [("a", True, False), ("b", False, True)]),
        ("rollback to 1", [("a", False, True), ("b", True, False)]),
        ("rollback --release", [("a", True, False), ("b", False, True)]),
    ]
    lines = bench.livelayer("history").stdout.splitlines()
    assert lines[0].split() == ["GENERATION", "TIME", "BY", "CHANGES"]
    assert lines[-1].split()[0] == "1"


def test_there_is_nothing_to_go_back_to(bench: Bench) -> None:
    told = bench.livelayer("rollback", status=1).stderr
    assert "there is no generation to go back to" in told
    _install(bench, "v1")
    assert "there is no generation 7" in bench.livelayer("rollback", "7", status=1).stderr


def test_content_that_is_gone_is_not_gone_back_to(bench: Bench) -> None:
    _install(bench, "v1")
    _install(bench, "v2")
    entry = bench.namespace.path("/var/lib/livelayer/generations/1.json")
    name = json.loads(entry.read_text())["extensions"][0]["entry"]
    bench.namespace.run("rm", "-r", f"/var/lib/livelayer/store/sha256/{name}")
    told = bench.livelayer("rollback", status=1).stderr
    assert "generation 1: the store does not have x any more" in told
    assert bench.says("x") == "v2"


def test_old_generations_and_what_only_they_need_go(bench: Bench) -> None:
    for tag in ("v1", "v2", "v3"):
        _install(bench, tag, "{retention: {generations: 2}}")
    store = bench.namespace.path("/var/lib/livelayer/store/sha256")
    assert [it["generation"] for it in _history(bench)] == [2, 3]
    assert len(list(store.iterdir())) == 2
    blobs = list(bench.namespace.path("/var/lib/livelayer/blobs/sha256").iterdir())
    assert len(blobs) == 2 * 3  # manifest, configuration and layer of each
    assert json.loads(bench.livelayer("gc", "--json").stdout)["dropped"] == []


def test_gc_tells_first_what_it_would_drop(bench: Bench) -> None:
    _install(bench, "v1")
    _install(bench, "v2")
    bench.namespace.run("rm", "/var/lib/livelayer/generations/1.json")
    would = json.loads(bench.livelayer("gc", "--dry-run", "--json").stdout)
    assert would["dry_run"] is True
    assert would["freed"] == sum(it["bytes"] for it in would["dropped"]) > 0
    assert sorted(it["what"] for it in would["dropped"]) == [
        *("blob", "blob", "blob"),
        "content",
        "record",  # its manifest
    ]
    for it in would["dropped"]:
        bench.namespace.run("test", "-e", it["path"])
    did = json.loads(bench.livelayer("gc", "--json").stdout)
    assert did["dropped"] == would["dropped"]
    assert bench.livelayer("gc").stdout == "0 bytes freed\n"
    assert bench.says("x") == "v2"


def test_content_stays_while_an_overlay_shows_it(bench: Bench) -> None:
    """Removed with `refresh: boot`, it stays merged until the next boot."""
    _install(bench, "v1")
    bench.configure("settings: {allow_empty: true, refresh: boot, retention: {generations: 1}}\nextensions: {}\n")
    bench.livelayer("apply")
    bench.namespace.run("rm", "-r", "/var/lib/livelayer/generations")
    assert json.loads(bench.livelayer("gc", "--json").stdout)["dropped"] == []
    assert bench.says("x") == "v1"


def test_an_older_version_stays_while_the_overlay_shows_it(bench: Bench) -> None:
    """Two updates that wait for the next boot leave no generation that needs it."""
    settings = "{refresh: boot, retention: {generations: 1}}"
    _install(bench, "v1")
    for tag in ("v2", "v3", "v4"):
        source = bench.push(tag, command("x", tag))
        bench.configure(f"settings: {settings}\nextensions: {{x: {{source: '{source}'}}}}\n")
        bench.livelayer("apply")
        assert bench.says("x") == "v1"
    bench.namespace.run("systemd-sysext", "refresh")
    assert bench.says("x") == "v4"
    assert json.loads(bench.livelayer("gc", "--json").stdout)["freed"] > 0
    assert len(list(bench.namespace.path("/var/lib/livelayer/store/sha256").iterdir())) == 2
