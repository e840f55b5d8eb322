"""Cloud-configs carried out for real: bundles and listed extensions become merged extensions."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.model.content.ociread import digest_of
from tests.rig import diskimages
from tests.rig.images import Member, command, extension
from tests.rig.webserver import Handler, WebServer, certificate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.registry import Registry
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

PLACE = "/etc/livelayer/oem"
# As the documentation of Kairos has it.
PAGE = """\
#cloud-config
install:
  bundles:
  - rootfs_path: /var/lib/extensions/ipfs
    targets:
    - container://quay.io/example/ipfs-sysext:v0.15.0
"""
KUBO = extension("kubo", {"usr/bin/ipfs": "#!/bin/sh\necho ipfs 0.15.0\n"})


def _cloud(bench: Bench, text: str, name: str = "90_custom.yaml") -> None:
    path = bench.namespace.path(f"{PLACE}/{name}")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _follow(bench: Bench, settings: str = "") -> None:
    bench.configure(f"settings: {{allow_empty: true, cloud_config: [{PLACE}]{settings}}}\n")


def _mirrored(source: str) -> str:
    """What lets quay.io/example be the test's own registry."""
    repository = source.removeprefix("docker://").rpartition("/")[0]
    return f'[[registry]]\nprefix = "quay.io/example"\nlocation = "{repository}"\ninsecure = true\n'


def test_the_page_as_it_stands_is_followed_and_left_again(bench: Bench) -> None:
    source = bench.push("v0.15.0", KUBO, name="ipfs-sysext")
    bench.registries_conf("quay", _mirrored(source))
    _follow(bench)
    _cloud(bench, PAGE)
    bench.livelayer("apply")
    assert bench.says("ipfs") == "ipfs 0.15.0"
    assert bench.merged() == ["ipfs"]
    assert bench.livelayer("plan").stdout == "in sync\n"

    bench.push("v0.16.0", extension("kubo", {"usr/bin/ipfs": "#!/bin/sh\necho ipfs 0.16.0\n"}), name="ipfs-sysext")
    _cloud(bench, PAGE.replace("v0.15.0", "v0.16.0"))
    bench.livelayer("apply", "--if-changed")
    assert bench.says("ipfs") == "ipfs 0.16.0"

    _cloud(bench, f"{PAGE}  - [")
    assert "90_custom.yaml:8:1: no valid YAML" in bench.livelayer("apply", status=1).stderr
    assert bench.merged() == ["ipfs"]
    _cloud(bench, "#cloud-config\n")
    bench.livelayer("apply")
    assert bench.merged() == []


def test_bundles_of_every_kind(bench: Bench, tmp_path: Path) -> None:
    """Local archives, upper-case schemes, no tag, several targets for one place, names that begin alike."""
    local, first, second = (
        bench.push("latest", layer, name=name)
        for name, layer in (
            ("local", command("local", "from an archive")),
            ("tailscale", command("tailscale", "first")),
            ("tailscale-more", [Member("usr/bin/tailscale", b"#!/bin/sh\necho second\n", 0o755)]),
        )
    )
    agent = bench.push("latest", command("tailscale-agent", "agent"), name="agent").removesuffix(":latest")
    archive = tmp_path / "local.tar"
    copied = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", local, f"docker-archive:{archive}:local:v1"]
    subprocess.run(copied, check=True)
    _follow(bench)
    _cloud(
        bench,
        f"""\
#kairos-config
hostname: node-{{{{ trunc 4 .MachineID }}}}
install:
  bundles:
  - {{rootfs_path: /var/lib/extensions/tailscale, targets: ['{first.replace("docker", "CONTAINER")}', '{second}']}}
  - {{rootfs_path: /var/lib/extensions/tailscale-agent/, targets: ['{agent.replace("docker", "Docker")}']}}
  - {{targets: ['run://quay.io/example/setup']}}
bundles:
- {{rootfs_path: /var/lib/extensions/local, targets: ['container://{archive}'], local_file: true}}
""",
    )
    bench.livelayer("apply")
    assert bench.merged() == ["local", "tailscale", "tailscale-agent"]
    said = [bench.says(name) for name in ("local", "tailscale", "tailscale-agent")]
    assert said == ["from an archive", "second", "agent"]
    assert "run://quay.io/example/setup for / is not livelayer's" in bench.livelayer("plan", "-v").stderr

    _cloud(
        bench,
        "#node-config\ninstall:\n  bundles:\n"
        f"  - {{rootfs_path: /var/lib/extensions/tailscale-agent, targets: ['{agent}']}}\n",
    )
    bench.livelayer("apply")
    assert bench.merged() == ["tailscale-agent"]


def test_listed_extensions_come_from_catalogs(bench: Bench, tmp_path: Path) -> None:
    tree = diskimages.extension_tree(tmp_path / "tree", "fwupd")
    image = diskimages.squashfs(tree, tmp_path / "fwupd.raw").read_bytes()
    newest = bench.push_artifact("2.1.7", image, name="sysext/fwupd")
    older = bench.push("2.54.1", command("git", "2.54.1"), name="sysext/git")
    tls = certificate(tmp_path / "tls")
    trust = str(tls / "server.pem")
    with WebServer(tmp_path, tls=tls) as server:
        _catalog(tmp_path, fwupd={"2.1.7": newest}, git={"2.54.1": older, "2.55.0": older})
        _follow(bench)
        catalogs = f"extensions: {{catalogs: ['{server.url}/releases.json']}}\n"
        fwupd = f"#cloud-config\n{catalogs}install:\n  extensions:\n  - fwupd\n"
        _cloud(bench, fwupd)
        bench.livelayer("apply", SSL_CERT_FILE=trust)
        assert bench.says("fwupd") == "fwupd"
        assert bench.status()["fwupd"]["source"] == "catalog:fwupd"
        assert f"docker://{newest.partition('//')[2].rpartition(':')[0]}@sha256:" in _explained(bench, "fwupd")
        asked = len(server.requests)
        assert bench.livelayer("plan", SSL_CERT_FILE=trust).stdout == "in sync\n"
        assert len(server.requests) == asked

        # The server of the catalog wants to be left alone: what it said before still leads to the registry.
        server.fail("/releases.json", *[_come_back_later] * 9)
        _cloud(bench, f"{fwupd}  - {{name: git, version: '>= 2.50 < 2.55'}}\n")
        told = bench.livelayer("apply", SSL_CERT_FILE=trust).stderr
        assert "taking the copy of an earlier run" in told
        assert bench.says("git") == "2.54.1"
        assert "version   2.54.1" in _explained(bench, "git")

        _cloud(bench, f"{fwupd}  - nowhere\n")
        assert "nowhere is in no catalog" in bench.livelayer("apply", status=1, SSL_CERT_FILE=trust).stderr
        assert bench.merged() == ["fwupd"]


def _come_back_later(handler: Handler) -> bool:
    """Other than one that is not there at all, it is not asked again and again."""
    handler.fail(503, Retry_After="3600")
    return True


def _catalog(directory: Path, **versions: dict[str, str]) -> None:
    """A catalog of images that were pushed, by extension and version."""
    layers = [
        {"name": name, "latest": max(tags), "tags": [_release(tag, source) for tag, source in tags.items()]}
        for name, tags in versions.items()
    ]
    (directory / "releases.json").write_text(json.dumps({"repo": "example/layers", "layers": layers}))


def _release(tag: str, source: str) -> dict[str, object]:
    inspect = ["skopeo", "inspect", "--raw", "--tls-verify=false", source]
    manifest = subprocess.run(inspect, check=True, capture_output=True).stdout
    reference = f"{source.removeprefix('docker://').rpartition(':')[0]}@{digest_of(manifest)}"
    return {"tag": tag, "sysext": {"amd64": {"oci": reference}, "arm64": {"oci": reference}}}


def _explained(bench: Bench, name: str) -> str:
    return bench.livelayer("explain", name).stdout


def test_an_import_and_a_named_file_lead_to_the_same(bench: Bench, tmp_path: Path) -> None:
    source = bench.push("v0.15.0", KUBO, name="ipfs-sysext")
    bench.registries_conf("quay", _mirrored(source))
    file, imported = tmp_path / "cloud.yaml", tmp_path / "imported.yaml"
    file.write_text(PAGE)
    plan = bench.livelayer("plan", "--cloud-config", str(file), status=2).stdout
    bench.livelayer("apply", "--cloud-config", str(file))
    assert bench.says("ipfs") == "ipfs 0.15.0"
    imported.write_text(bench.livelayer("import-cloud-config", str(file)).stdout)
    assert bench.livelayer("validate", str(imported)).stdout == "valid: 1 extensions\n"
    assert bench.livelayer("--config", str(imported), "plan").stdout == "in sync\n"
    assert "fetch ipfs" in plan


def test_modes_do_not_matter_where_nobody_can_write(bench: Bench) -> None:
    """As on the medium that a node was installed from."""
    tool = bench.push("v1", command("tool", "from the medium"), name="tool")
    bundle = f"#cloud-config\nbundles: [{{rootfs_path: /var/lib/extensions/tool, targets: ['{tool}']}}]\n"
    _cloud(bench, bundle)
    copy = f"mount -t tmpfs tmpfs /mnt && cp {PLACE}/* /mnt && chown 1000 /mnt /mnt/* && chmod -R 777 /mnt"
    bench.configure("settings: {cloud_config: [/mnt]}\n")
    bench.namespace.run("sh", "-c", copy)
    assert "/mnt: belongs to user 1000, not to root" in bench.livelayer("apply", status=1).stderr
    bench.namespace.run("mount", "-o", "remount,ro", "/mnt")  # the mount; who has another may write all the same
    bench.livelayer("apply", status=1)
    medium = "mksquashfs /mnt /run/medium -quiet -no-progress && umount /mnt && mount -o loop,ro /run/medium /mnt"
    bench.namespace.run("sh", "-c", medium)
    bench.livelayer("apply")
    assert bench.says("tool") == "from the medium"


def test_a_cloud_config_is_followed_on_kairos(node: Node, registry: Registry, tmp_path: Path) -> None:
    """By the path unit whenever it is saved, on account of nothing but the marks and places of Kairos."""
    from tests.system.test_node import Bench as NodeBench

    bench = NodeBench(node, registry, tmp_path)
    one, two = (bench.push("ipfs", tag, command("ipfs", tag)) for tag in ("v1", "v2"))
    node.write("/etc/kairos-release", 'KAIROS_VERSION="v3.5.0"\n')
    node.write("/oem/10_other.yaml", "#cloud-config\nhostname: {{ .Random }}\n")
    bench.enable("livelayer.path")
    node.write("/oem/90_custom.yaml", PAGE.replace("container://quay.io/example/ipfs-sysext:v0.15.0", one))
    bench.eventually(lambda: bench.says("ipfs") == "v1")
    node.write("/oem/90_custom.yaml", PAGE.replace("container://quay.io/example/ipfs-sysext:v0.15.0", two))
    bench.eventually(lambda: bench.says("ipfs") == "v2")
    assert "warning" not in node.run("livelayer", "validate").stderr
    node.write("/etc/livelayer/extensions.d/10.yaml", "settings: {allow_empty: true}\nextensions: {ipfs: null}\n")
    bench.eventually(lambda: bench.merged() == [])
