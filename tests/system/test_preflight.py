"""What extensions would hide, beside a real host and in a real overlay."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.diskimages import extension_tree, squashfs
from tests.rig.images import extension
from tests.rig.releases import RELEASES

if TYPE_CHECKING:
    from tests.rig.node import Node
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]


def test_what_hides_the_hosts_is_told_or_kept_out(bench: Bench) -> None:
    tops = (Path("/usr/lib"), Path("/usr/share/perl"), Path("/usr/share/doc"))
    link = next(path for top in tops for path in top.iterdir() if path.is_symlink() and path.is_dir())
    sources = {
        "good": bench.push("good", extension("good", {"usr/bin/good": "", "usr/bin/tool": "echo good"}), name="good"),
        "hides": bench.push("hides", extension("hides", {"usr/bin/env": ""}), name="hides"),
        "over": bench.push("over", extension("over", {f"{str(link)[1:]}/x": ""}), name="over"),
        "zoo": bench.push("zoo", extension("zoo", {"usr/bin/tool": "echo zoo"}), name="zoo"),
    }
    listed = "".join(f"  {name}: {{source: '{source}'}}\n" for name, source in sources.items())
    bench.configure(f"settings: {{preflight: {{host_files: refuse}}}}\nextensions:\n{listed}")
    told = bench.livelayer("apply", status=1).stderr
    assert "hides: hides /usr/bin/env of this host" in told
    assert f"over: {link} is a directory in it and a symbolic link on this host" in told
    assert "zoo: hides /usr/bin/tool of good" in told
    assert bench.merged() == ["good", "zoo"]
    assert "this host" in bench.status()["hides"]["reason"]
    assert os.readlink(link)
    found = json.loads(bench.livelayer("provides", "/bin/tool", "--json").stdout)
    assert found["path"] == "/usr/bin/tool"
    assert [(it["name"], it["seen"]) for it in found["extensions"]] == [("zoo", True), ("good", False)]
    assert found["host"] is False
    assert "hidden by zoo: /usr/bin/tool" in bench.livelayer("explain", "good").stdout
    (explained,) = json.loads(bench.livelayer("explain", "zoo", "--json").stdout)["extensions"]
    assert explained["hides"] == [{"extension": "good", "paths": ["/usr/bin/tool"]}]
    assert bench.livelayer("provides", "/usr/bin/env").stdout == "this host: is seen\n"
    assert bench.livelayer("provides", "/usr/bin/none", status=1).stdout == "nothing has /usr/bin/none\n"
    assert bench.livelayer("provides", "/usr/bin/tool").stdout == "zoo: is seen\ngood: hidden by zoo\n"


@pytest.mark.releases(*RELEASES)
def test_the_host_is_what_lies_below_what_is_merged(shared_node: Node, tmp_path: Path) -> None:
    """What was placed by hand is merged still, when what takes its place is looked at."""
    node, byhand = shared_node, "/var/lib/extensions/tool.raw"
    node.path(byhand).parent.mkdir(exist_ok=True)
    squashfs(extension_tree(tmp_path / "tool", "tool"), node.path(byhand))
    node.run("systemd-sysext", "refresh")
    assert node.run("tool").stdout == "tool\n"
    extension_tree(node.path("/srv/tool"), "tool")
    extension_tree(node.path("/srv/env"), "env")
    settings = "settings: {preflight: {host_files: refuse}}\nextensions:\n  tool: {source: 'file:///srv/tool'}\n"
    node.write("/etc/livelayer/extensions.yaml", settings)
    told = node.run("livelayer", "apply", status=1).stderr
    assert f"remove {byhand}" in told
    assert "of this host" not in told
    node.path(byhand).unlink()
    assert "of this host" not in node.run("livelayer", "apply").stderr
    assert node.run("livelayer", "plan").stdout == "in sync\n"
    assert node.run("tool").stdout == "tool\n"
    assert node.run("livelayer", "provides", "/usr/bin/tool").stdout == "tool: is seen\n"
    node.write("/etc/livelayer/extensions.yaml", f"{settings}  env: {{source: 'file:///srv/env'}}\n")
    assert "env: hides /usr/bin/env of this host" in node.run("livelayer", "apply", status=1).stderr
