"""What extensions would hide, beside a real host and in a real overlay."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.diskimages import extension_tree, make_tree, squashfs
from tests.rig.images import command, extension
from tests.rig.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rig.node import Node
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]


RELEASES_OF: Final = "usr/lib/extension-release.d/extension-release"
LOCKS_OUT: Final = "/usr/bin has mode and owner 0700 0:0 in it and 0755 0:0 on this host"


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
    node.write("/etc/livelayer/extensions.yaml", "settings: {allow_empty: true}\nextensions: {}\n")
    node.run("livelayer", "apply")


def _as_nobody(node: Node) -> int:
    return node.run("setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/true", status=None).returncode


def _narrow(tree: Path) -> None:
    """As a tree is that was made under umask 077."""
    for path in (tree, *tree.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)


def _foreign(tree: Path) -> None:
    """As a tree is that a user made."""
    for path in (tree, *tree.rglob("*")):
        os.chown(path, 1000, 1000)


@pytest.mark.releases(*RELEASES)
def test_an_extension_that_locks_users_out_is_kept_out(shared_node: Node) -> None:
    """Whatever its form; what systemd itself makes of it is seen first."""
    node = shared_node
    byhand, made = node.path("/var/lib/extensions/narrow"), node.path("/srv/narrow")
    _narrow(extension_tree(byhand, "narrow"))
    before = node.run("stat", "--format=%a", "/usr").stdout
    node.run("systemd-sysext", "refresh")
    assert node.run("stat", "--format=%a", "/usr", "/usr/bin", "/usr/lib").stdout == f"{before}700\n700\n"
    assert _as_nobody(node) != 0
    shutil.rmtree(byhand)
    node.run("systemd-sysext", "refresh")
    assert _as_nobody(node) == 0
    _narrow(extension_tree(made, "narrow"))
    configured = "settings: {{preflight: {{directories: {}}}, allow_empty: true}}\nextensions: {}\n"
    listed = "{narrow: {source: 'file:///srv/narrow'}}"
    node.write("/etc/livelayer/extensions.yaml", configured.format("refuse", listed))
    assert LOCKS_OUT in node.run("livelayer", "apply", status=1).stderr
    assert _as_nobody(node) == 0
    node.write("/etc/livelayer/extensions.yaml", configured.format("warn", listed))
    assert LOCKS_OUT in node.run("livelayer", "apply").stderr
    assert _as_nobody(node) != 0
    node.write("/etc/livelayer/extensions.yaml", configured.format("refuse", "{}"))
    node.run("livelayer", "apply")
    assert _as_nobody(node) == 0


@pytest.mark.parametrize("form", ["directory", "squashfs", "raw"])
def test_what_locks_users_out_is_known_of_every_form(bench: Bench, tmp_path: Path, form: str) -> None:
    tree = extension_tree(tmp_path / "tree", "narrow")
    _narrow(tree)
    source = tmp_path / "source"
    if form == "raw":
        squashfs(tree, source)
    else:
        subprocess.run(["tar", "--create", f"--file={source}", f"--directory={tree}", "."], check=True)
    bench.configure(f"extensions: {{narrow: {{source: 'file://{source}', format: {form}}}}}")
    assert LOCKS_OUT in bench.livelayer("apply", status=1).stderr
    assert bench.merged() == []
    assert LOCKS_OUT in bench.status()["narrow"]["reason"]


@pytest.mark.releases(*RELEASES)
@pytest.mark.parametrize("spoil", [_narrow, _foreign])
def test_what_build_makes_of_such_a_tree_lets_everybody_in(shared_node: Node, spoil: Callable[[Path], None]) -> None:
    node = shared_node
    spoil(extension_tree(node.path("/srv") / spoil.__name__, "built"))
    source = ("--from", f"/srv/{spoil.__name__}", "--format", "directory", "--output", "/srv/built", "--force")
    node.run("livelayer", "build", "built", *source)
    node.write("/etc/livelayer/extensions.yaml", "extensions: {built: {source: 'file:///srv/built'}}\n")
    node.run("livelayer", "apply")
    assert node.run("stat", "--format=%a %u", "/usr/bin", "/usr/lib").stdout == "755 0\n755 0\n"
    assert _as_nobody(node) == 0


@pytest.mark.releases(*RELEASES)
def test_what_systemd_makes_of_release_files_of_another_name_or_host(shared_node: Node) -> None:
    """One that is for any name is merged; of what others placed and what is left out, the reason is told."""
    node = shared_node
    lax = make_tree(
        node.path("/srv/lax"), {"usr/bin/lax": "#!/bin/sh\necho lax\n", f"{RELEASES_OF}.other": "ID=_any\n"}
    )
    os.setxattr(lax / f"{RELEASES_OF}.other", "user.extension-release.strict", b"false")
    byhand = node.path("/var/lib/extensions")
    make_tree(byhand / "foreign", {"usr/x": "", f"{RELEASES_OF}.foreign": "ID=fedora\n"})
    make_tree(byhand / "arch", {"usr/y": "", f"{RELEASES_OF}.arch": "ID=_any\nARCHITECTURE=s390x\n"})
    make_tree(byhand / "named", {"usr/z": "", f"{RELEASES_OF}.another": "ID=_any\n"})
    node.write("/etc/livelayer/extensions.yaml", "extensions: {lax: {source: 'file:///srv/lax'}}\n")
    node.run("livelayer", "apply")
    assert node.run("lax").stdout == "lax\n"
    found = {it["name"]: it for it in json.loads(node.run("livelayer", "status", "--json").stdout)["extensions"]}
    assert (found["lax"]["state"], found["lax"]["merged"]) == ("in-sync", True)
    for name, words in (
        ("foreign", "ID=fedora, this host has ID=debian"),
        ("arch", "this machine is"),
        ("named", "another"),
    ):
        assert not found[name]["merged"]
        assert f"placed by others: /var/lib/extensions/{name}; systemd does not merge it: " in found[name]["reason"]
        assert words in found[name]["reason"]
        assert words in node.run("livelayer", "explain", name).stdout
        shutil.rmtree(byhand / name)


def test_an_image_file_with_a_release_file_of_another_name(bench: Bench, tmp_path: Path) -> None:
    """Merged if that is for any name; else the hint is followed."""
    tree = make_tree(
        tmp_path / "tree", {"usr/bin/tool": "#!/bin/sh\necho tool\n", f"{RELEASES_OF}.other": "ID=_any\n"}
    )
    squashfs(tree, tmp_path / "strict.raw")
    bench.configure(f"extensions: {{tool: {{source: 'file://{tmp_path}/strict.raw', format: raw}}}}")
    told = bench.livelayer("apply", status=1).stderr
    assert "call the extension other\n" in told
    bench.configure(f"extensions: {{other: {{source: 'file://{tmp_path}/strict.raw', format: raw}}}}")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"
    os.setxattr(tree / f"{RELEASES_OF}.other", "user.extension-release.strict", b"false")
    squashfs(tree, tmp_path / "lax.raw")
    bench.configure(f"extensions: {{tool: {{source: 'file://{tmp_path}/lax.raw', format: raw}}}}")
    bench.livelayer("apply")
    assert bench.merged() == ["tool"]
    assert bench.status()["tool"]["state"] == "in-sync"


def test_what_the_old_name_brought_is_not_the_hosts(bench: Bench) -> None:
    """An extension under another name has the files that are seen already, and takes nothing from the host."""
    source = bench.push("v1", command("tool", "tool"))
    for name in ("tool", "other"):
        bench.configure(
            "settings: {preflight: {host_files: refuse}}\n"
            f"extensions: {{{name}: {{source: '{source}', rename: true}}}}\n"
        )
        bench.livelayer("apply")
        assert bench.merged() == [name]
        assert bench.says("tool") == "tool"
