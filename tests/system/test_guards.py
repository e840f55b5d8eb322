"""Guards against mass removals and against storms of attempts, with the real systemd-sysext and registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.images import command
from tests.system import test_node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.registry import Registry
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]


def test_a_mass_removal_takes_a_confirmation(bench: Bench) -> None:
    sources = {name: bench.push("v1", command(name, name), name=name) for name in "abc"}
    listed = "".join(f"  {name}: {{source: '{source}'}}\n" for name, source in sources.items())
    bench.configure(f"settings: {{prune_limit: 50%}}\nextensions:\n{listed}")
    bench.livelayer("apply")
    bench.configure(f"settings: {{prune_limit: 50%}}\nextensions: {{a: {{source: '{sources['a']}'}}}}\n")
    told = bench.livelayer("apply", status=1).stderr
    assert "2 of 3 extensions are not listed any more (b, c); settings.prune_limit: 50% keeps them all" in told
    assert "if they shall go: livelayer apply --confirm-prune" in told
    assert bench.merged() == ["a", "b", "c"]
    assert bench.status()["b"]["state"] == "held"
    bench.livelayer("apply", "--confirm-prune")
    assert bench.merged() == ["a"]


def test_an_empty_and_an_unreadable_configuration_remove_nothing(bench: Bench) -> None:
    source = bench.push("v1", command("x", "x"))
    bench.configure(f"extensions: {{x: {{source: '{source}'}}}}\n")
    bench.livelayer("apply")
    for text in ("extensions: {}\n", "extensions: [", "\0", "extensions: {x: {source: 5}}"):
        bench.configure(text)
        bench.livelayer("apply", status=1)
        assert bench.merged() == ["x"], text
    main = "/etc/livelayer/extensions.yaml"
    bench.namespace.run("rm", main)
    bench.livelayer("apply")
    bench.namespace.run("mkdir", main)
    bench.livelayer("apply", status=1)
    bench.namespace.run("rmdir", main)
    bench.namespace.run("ln", "-s", "loop.yaml", "/etc/livelayer/loop.yaml")
    bench.namespace.run("ln", "-s", "loop.yaml", main)
    bench.livelayer("apply", status=None)
    assert bench.merged() == ["x"]


def test_what_an_unmounted_place_listed_is_not_pruned(bench: Bench) -> None:
    """Until it is back, or gone for good by somebody's word; what never was a mount point is another matter."""
    x, y = (bench.push("v1", command(name, name), name=name) for name in "xy")
    bench.namespace.run("mkdir", "-p", "/run/oem")
    bench.namespace.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run/oem")
    listed = bench.namespace.root / "run/oem/90.yaml"
    listed.write_text(f"#cloud-config\nlivelayer: {{extensions: {{x: {{source: '{x}'}}}}}}\n")
    bench.configure(f"settings: {{cloud_config: [/run/oem]}}\nextensions: {{y: {{source: '{y}'}}}}\n")
    bench.livelayer("apply")
    assert bench.merged() == ["x", "y"]
    bench.namespace.run("mount", "--bind", "/run/oem", "/mnt")
    bench.namespace.run("umount", "/run/oem")
    for _ in range(2):
        told = bench.livelayer("apply", status=1).stderr
        assert "/run/oem: is not mounted, and had cloud-configs when it was; nothing is pruned (x)" in told
        assert "mount it, or if they shall go: livelayer apply --confirm-prune" in told
        assert bench.merged() == ["x", "y"]
    bench.namespace.run("mount", "--bind", "/mnt", "/run/oem")
    bench.livelayer("apply")
    assert bench.merged() == ["x", "y"]
    bench.namespace.run("umount", "/run/oem")
    bench.livelayer("apply", "--confirm-prune")
    assert bench.merged() == ["y"]
    listed.write_text(f"#cloud-config\nlivelayer: {{extensions: {{x: {{source: '{x}'}}}}}}\n")
    bench.livelayer("apply")
    listed.unlink()
    bench.livelayer("apply")
    assert bench.merged() == ["y"]


def _document(bench: Bench) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bench.livelayer("status", "--json").stdout)
    return document


def test_a_source_that_does_not_answer_is_left_alone_by_automatic_runs(bench: Bench) -> None:
    """Until it is due, a person asks, or the configuration changes; the others go on."""
    here, away = (bench.push("v1", command(name, name), name=name) for name in ("here", "away"))
    unreachable = away.replace(bench.registry.address, "127.0.0.1:9")
    bench.registries_conf("nobody", '[[registry]]\nlocation = "127.0.0.1:9"\ninsecure = true\n')
    bench.want(here=here, away=unreachable)
    bench.livelayer("apply", "--automatic", status=1)
    assert bench.merged() == ["here"]
    first = bench.status()["away"]
    assert (first["state"], first["retry_at"] is None) == ("failed", False)
    assert _document(bench)["retry_at"] == first["retry_at"]

    # Now it would answer; but that is not found out before the time.
    mirror = f'[[registry.mirror]]\nlocation = "{bench.registry.address}"\ninsecure = true\n'
    bench.registries_conf("nobody", f'[[registry]]\nlocation = "127.0.0.1:9"\n{mirror}')
    bench.livelayer("apply", "--automatic", status=1)
    assert bench.status()["away"] == first
    assert f"tried again at {first['retry_at']}" in bench.livelayer("status").stdout
    bench.livelayer("apply", "--automatic", "--retry")
    assert bench.merged() == ["away", "here"]
    assert _document(bench)["retry_at"] is None


def test_livelayers_own_extension_is_not_pruned(node: Node, registry: Registry, tmp_path: Path) -> None:
    """It runs from an extension that it has placed itself, and that the configuration forgets."""
    bench = test_node.Bench(node, registry, tmp_path)
    other = bench.push("other", "v1", command("other", "other"))
    release = "/srv/livelayer/usr/lib/extension-release.d/extension-release.livelayer"
    node.run("mkdir", "-p", *(f"/srv/livelayer/usr/local/{it}" for it in ("lib", "bin")), release.rpartition("/")[0])
    node.run("cp", "-a", "/usr/local/lib/livelayer", "/srv/livelayer/usr/local/lib/")
    node.run("cp", "-a", "/usr/local/bin/livelayer", "/srv/livelayer/usr/local/bin/")
    node.write(release, "ID=_any\n")
    bench.want(livelayer="file:///srv/livelayer", other=other)
    node.run("livelayer", "apply")
    bench.want(other=other)
    node.run("livelayer", "apply")
    assert bench.merged() == ["livelayer", "other"]
    (tool,) = [it for it in bench.status()["extensions"] if it["name"] == "livelayer"]
    assert (tool["state"], tool["reason"]) == (
        "held",
        "no configuration lists it, but livelayer itself runs from it",
    )
    node.write(test_node.MAIN, f"extensions: {{livelayer: {{state: absent}}, other: {{source: '{other}'}}}}\n")
    node.run("livelayer", "apply")
    assert bench.merged() == ["other"]
