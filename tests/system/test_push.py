"""What is pushed can be had: from trees and image files, by registry, into the merged overlay."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.diskimages import erofs, extension_tree, make_tree, squashfs
from tests.rig.node import run_in_root
from tests.rig.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.commands, pytest.mark.system]


def _push(bench: Bench, name: str, *arguments: str | Path, **env: str) -> str:
    """Push to a repository of this test's own; returns the source."""
    destination = f"docker://{bench.registry.address}/{bench.repository}/{name}"
    bench.livelayer("push", *map(str, arguments), destination, status=0, **env)
    return destination


def _manifest(bench: Bench, source: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(bench.namespace.run("skopeo", "inspect", "--raw", source).stdout)


def test_every_shape_can_be_had(bench: Bench, tmp_path: Path) -> None:
    """All at once: directories with each compression, for several platforms; image files inside and as artifacts."""
    trees = {name: extension_tree(tmp_path / name, name) for name in ("plain", "small", "many", "inside", "bare")}
    inside, bare = squashfs(trees["inside"], tmp_path / "inside.raw"), erofs(trees["bare"], tmp_path / "bare.raw")
    subprocess.run(["zstd", "--quiet", str(bare)], check=True)
    platforms = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    sources = {
        "plain": _push(bench, "plain:1.0", trees["plain"]),
        "small": _push(bench, "small:1.0", "--compression", "zstd", trees["small"]),
        "many": _push(bench, "many:1.0", *platforms, trees["many"]),
        "inside": _push(bench, "inside:1.0", inside),
        "bare": _push(bench, "bare:1.0", "--artifact", f"{bare}.zst"),
    }
    raw = {"inside", "bare"}
    lines = [f"  {it}: {{source: '{source}'{', format: raw' * (it in raw)}}}\n" for it, source in sources.items()]
    bench.configure(f"extensions:\n{''.join(lines)}")
    bench.livelayer("apply")
    assert bench.merged() == sorted(sources)
    assert [bench.says(name) for name in sources] == list(sources)
    assert _manifest(bench, sources["small"])["layers"][0]["mediaType"].endswith("+zstd")
    assert [it["platform"]["architecture"] for it in _manifest(bench, sources["many"])["manifests"]] == [
        "amd64",
        "arm64",
    ]
    artifact = _manifest(bench, sources["bare"])
    assert artifact["layers"][0]["annotations"] == {"org.opencontainers.image.title": "bare.raw.zst"}
    assert artifact["annotations"]["org.opencontainers.image.version"] == "1.0"


def test_several_builds_become_one_image(bench: Bench, tmp_path: Path) -> None:
    """One of them a layout that was written before; an update of the same tag is had, too."""
    for architecture in ("x86-64", "arm64"):
        release = {"usr/lib/extension-release.d/extension-release.tool": f"ID=_any\nARCHITECTURE={architecture}\n"}
        extension_tree(tmp_path / architecture, "tool", {**release, "usr/share/tool": architecture})
    bench.livelayer("push", str(tmp_path / "arm64"), f"oci:{tmp_path}/layout")
    source = _push(bench, "tool:1", tmp_path / "x86-64", tmp_path / "layout")
    bench.configure(f"defaults: {{pull: always}}\nextensions: {{tool: {{source: '{source}'}}}}\n")
    bench.livelayer("apply")
    assert bench.namespace.run("cat", "/usr/share/tool").stdout == "x86-64"
    make_tree(tmp_path / "x86-64", {"usr/share/news": "new"})
    _push(bench, "tool:1", tmp_path / "x86-64", tmp_path / "layout")
    bench.livelayer("apply")
    assert bench.namespace.run("cat", "/usr/share/news").stdout == "new"
    bench.want()
    bench.livelayer("apply")
    assert bench.merged() == []


def test_the_same_tree_has_the_same_digest_everywhere(bench: Bench, tmp_path: Path) -> None:
    tree = extension_tree(tmp_path / "tool", "tool")
    again = tmp_path / "again"
    subprocess.run(["cp", "--recursive", str(tree), str(again)], check=True)
    subprocess.run(["chown", "--recursive", "1000:1000", str(again)], check=True)
    times = {"SOURCE_DATE_EPOCH": "1700000000"}
    digests = {
        bench.livelayer("push", str(path), target, status=0, **times).stdout
        for path in (tree, again)
        for target in (
            f"docker://{bench.registry.address}/{bench.repository}/tool:v1",
            f"dir:{tmp_path}/copy-{path.name}",
        )
    }
    # The tag is a version, and is said; elsewhere there is none.
    assert len(digests) == 2
    plain = [
        bench.livelayer("push", "--dry-run", str(path), "dir:/x", status=0, **times).stdout for path in (tree, again)
    ]
    assert plain[0] == plain[1]


def test_what_cannot_be_pushed(bench: Bench, tmp_path: Path) -> None:
    tree = extension_tree(tmp_path / "tool", "tool")
    with Registry(tmp_path / "private", user="robot", password="secret") as private:
        bench.allow_plain_http(private)
        told = bench.livelayer("push", str(tree), f"docker://{private.address}/tool:1", status=1).stderr
        assert "the registry does not let these credentials push there" in told
        assert "skopeo login" in told
        (tmp_path / "auth.json").write_text(private.auth_json())
        environment = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
        bench.livelayer("push", str(tree), f"docker://{private.address}/tool:1", status=0, **environment)
    told = bench.livelayer("push", str(tree), f"docker://{private.address}/tool:2", status=1).stderr
    assert "the registry refuses connections" in told


def test_a_registry_that_takes_nothing(bench: Bench, tmp_path: Path) -> None:
    tree = extension_tree(tmp_path / "tool", "tool")
    with Registry(tmp_path / "read-only", read_only=True) as mirror:
        bench.allow_plain_http(mirror)
        told = bench.livelayer("push", str(tree), f"docker://{mirror.address}/tool:1", status=1).stderr
    assert "the registry takes no images" in told


def test_it_takes_no_root(installed_root: Path, registry: Registry, tmp_path: Path) -> None:
    """As somebody in a CI job, from the wheel, with settings of their own."""
    registry.start()
    home = tmp_path / "home"
    extension_tree(home / "tool", "tool")
    settings = home / ".config/containers/registries.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(registry.registries_conf())
    subprocess.run(["chown", "--recursive", "1000:1000", str(home)], check=True)
    destination = f"docker://{registry.address}/no-root/tool:1"
    somebody = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "env", "HOME=/mnt")
    options = ("--read-only", "--tmpfs=/var/tmp:mode=1777", f"--bind={home}:/mnt")
    run_in_root(installed_root, *somebody, "livelayer", "push", "/mnt/tool", destination, options=options)
    found = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", destination], check=True, capture_output=True
    )
    assert json.loads(found.stdout)["annotations"]["org.opencontainers.image.title"] == "tool"
