"""SELinux: with Debian's policy, from registry to overlay. The kernel here enforces nothing, but keeps the labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import Member, command
from tests.rig.newererofs import newer_mkfs
from tests.rig.selinux import give_policy, type_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]
_HOSTILE = {"SCHILY.xattr.security.selinux": "hostile_u:object_r:shadow_t:s0"}
_SHOW = "import os,sys; print(os.getxattr(sys.argv[1], 'security.selinux').decode().split(':')[2])"


def _push(bench: Bench, name: str) -> str:
    unit = Member(f"usr/lib/systemd/system/{name}.service", b"[Service]\n", pax=_HOSTILE)
    return bench.push(name, (*command(name, name), unit), name=name)


def test_an_installation_target_is_labelled_by_its_own_policy(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "target"
    for directory in ("etc/livelayer", "usr/lib/systemd"):
        (root / directory).mkdir(parents=True)
    (root / "etc/os-release").write_text("ID=debian\nVERSION_ID=12\n")
    (root / "usr/lib/systemd/libsystemd-shared-252.so").touch()
    give_policy(root, "enforcing")
    formats = {"d": "directory", "s": "squashfs", "e": "erofs"}
    wanted = {name: {"source": _push(bench, name), "format": form} for name, form in formats.items()}
    (root / "etc/livelayer/extensions.yaml").write_text(f"extensions: {wanted}")
    bench.livelayer("--root", str(root), "apply", PATH=f"{newer_mkfs(tmp_path / 'bin')}:{os.environ['PATH']}")
    placed = {path.name: path for path in (root / "var/lib/extensions").iterdir()}
    assert placed.keys() == {"d", "s.raw", "e.raw"}
    assert type_of(placed["d"]) == type_of(placed["s.raw"].resolve()) == "var_lib_t"
    for name in ("s", "e"):
        bench.namespace.run("mkdir", f"/run/{name}")
        bench.namespace.run("mount", "-o", "loop,ro", str(placed[f"{name}.raw"]), f"/run/{name}")
    for name, tree in (("d", str(placed["d"])), ("s", "/run/s"), ("e", "/run/e")):
        for path, kind in ((f"bin/{name}", "bin_t"), (f"lib/systemd/system/{name}.service", "systemd_unit_t")):
            assert bench.namespace.run("python3", "-c", _SHOW, f"{tree}/usr/{path}").stdout == f"{kind}\n"


def test_the_running_system_is_told_by_its_kernel(bench: Bench) -> None:
    """Here by a file in place of the kernel's: its configuration alone says nothing about what runs."""
    bench.want(x=_push(bench, "x"))
    bench.livelayer("apply")
    (stored,) = bench.namespace.path("/var/lib/livelayer/store/sha256").glob("*.directory")
    assert type_of(stored / "usr/bin/x") is None

    run = bench.namespace.run
    run("mount", "-t", "tmpfs", "tmpfs", "/sys/fs")
    run("mkdir", "/sys/fs/selinux")
    run("sh", "-c", "echo 1 > /sys/fs/selinux/enforce")
    bench.want(y=_push(bench, "y"))
    assert "setfiles is not there" in bench.livelayer("apply", status=1, PATH="/usr/bin").stderr
    assert bench.merged() == []
    bench.livelayer("apply")
    assert bench.says("y") == "y"
    assert run("python3", "-c", _SHOW, "/usr/bin/y").stdout == "bin_t\n"
    assert run("python3", "-c", _SHOW, "/usr/lib/systemd/system/y.service").stdout == "systemd_unit_t\n"
