"""Filling the root of a node that is being installed: from an installer without systemd-sysext, nothing merged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import command

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

NO_SYSTEMD = "for program in systemctl systemd-sysext systemd-confext systemd-dissect; do mount --bind /bin/false "
NO_SYSTEMD += '"$(command -v $program)" || :; done'


class Installer:
    """An installer and the root it fills, which has nothing but an os-release."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.target = bench.namespace.path("/target")
        (self.target / "etc/livelayer").mkdir(parents=True)
        self.os_release("ID=debian\nVERSION_ID=12\n")
        bench.namespace.run("sh", "-c", NO_SYSTEMD)

    def os_release(self, text: str) -> None:
        (self.target / "etc/os-release").write_text(text)

    def want(self, **sources: str) -> None:
        listed = "".join(f"  {name}: {{source: '{it}', format: auto}}\n" for name, it in sources.items())
        (self.target / "etc/livelayer/extensions.yaml").write_text(f"extensions:\n{listed}")

    def apply(self, status: int = 0, root: str = "") -> subprocess.CompletedProcess[str]:
        """As a careless installer would, whose mask keeps everybody else out."""
        script = 'umask 077; exec "$0" --root "$1" apply'
        return self.bench.namespace.run(
            "sh", "-c", script, self.bench.command, root or str(self.target), status=status
        )

    def runs(self, name: str) -> bool:
        return (self.target / f"var/lib/extensions/{name}/usr/bin/{name}").exists()


@pytest.fixture
def installer(bench: Bench) -> Installer:
    """An installer without systemd's tools."""
    return Installer(bench)


def test_a_root_is_filled_once_and_for_all(installer: Installer) -> None:
    """Relative links, modes that do not depend on the installer's mask, nothing merged; again: nothing to do."""
    target = installer.target
    installer.want(tool=installer.bench.push("tool", command("tool", "runs")))
    told = installer.apply().stderr
    assert "no systemd is installed there; the rules of 254 are assumed" in told
    assert "directory, auto: it is small" in told
    link = target / "var/lib/extensions/tool"
    assert os.readlink(link).startswith("../livelayer/store/sha256/")
    for path, mode in (("var", 0o755), ("var/lib/extensions", 0o755), ("var/lib/livelayer", 0o700), ("run", 0o755)):
        assert (target / path).stat().st_mode & 0o777 == mode, path
    assert (link / "usr/bin").stat().st_uid == 0
    moved = target.with_name("elsewhere")
    target.rename(moved)
    assert (moved / "var/lib/extensions/tool/usr/bin/tool").exists()
    moved.rename(target)
    before = link.lstat()
    again = installer.apply().stderr
    assert "in sync" in again
    assert "plan:" not in again
    assert link.lstat() == before
    assert installer.bench.namespace.run("findmnt", "--source", "sysext", status=1).stdout == ""


def test_what_is_in_the_way_is_left_alone_and_the_others_are_placed(installer: Installer) -> None:
    """As an earlier bundle left it there."""
    leftover = installer.target / "var/lib/extensions/tool/usr/bin/old"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("old")
    sources = {name: installer.bench.push(name, command(name, "runs"), name=name) for name in ("tool", "other")}
    installer.want(**sources)
    told = installer.apply(status=1).stderr
    assert f"{installer.target}/var/lib/extensions/tool is in the way, and livelayer did not place it" in told
    assert leftover.read_text() == "old"
    assert (installer.runs("tool"), installer.runs("other")) == (False, True)


def test_a_root_that_cannot_be_written_is_told(installer: Installer) -> None:
    installer.want(tool=installer.bench.push("tool", command("tool", "runs")))
    read_only = installer.bench.namespace.path("/read-only")
    read_only.mkdir()
    installer.bench.namespace.run("mount", "--bind", "-o", "ro", str(installer.target), str(read_only))
    told = installer.apply(status=1, root=str(read_only)).stderr
    assert "cannot be opened: Read-only file system" in told
    assert sorted(os.listdir(installer.target)) == ["etc"]


def test_what_fits_the_target_decides_not_what_fits_the_installer(installer: Installer) -> None:
    release = "ID=elsewhere\nVERSION_ID=1\n"
    installer.want(tool=installer.bench.push("tool", command("tool", "runs", release)))
    assert "ID=elsewhere, this host has ID=debian" in installer.apply(status=1).stderr
    assert not installer.runs("tool")
    installer.os_release(release)
    installer.apply()
    assert installer.runs("tool")
    (installer.target / "etc/os-release").unlink()
    told = installer.apply(status=1).stderr
    assert "there is no os-release file" in told
    assert "check the path given to --root" in told


def test_absolute_links_of_the_target_do_not_lead_into_the_installer(installer: Installer) -> None:
    target = installer.target
    (target / "data").mkdir()
    (target / "var").mkdir()
    (target / "var/lib").symlink_to("/data")
    (target / "run").symlink_to("/data/run")
    outside = _names(installer.bench.namespace.path("/var/lib/extensions"))
    installer.want(tool=installer.bench.push("tool", command("tool", "runs")))
    installer.apply()
    assert (target / "data/extensions/tool/usr/bin/tool").exists()
    assert (target / "data/run/livelayer/status.json").exists()
    installer.bench.namespace.run("test", "-e", "/data", status=1)
    assert _names(installer.bench.namespace.path("/var/lib/extensions")) == outside


def test_the_persistent_partition_of_a_kairos_node_is_filled(installer: Installer) -> None:
    """Bound to where it will be on the node: links from one directory of it into another hold there."""
    target, disk = installer.target, installer.bench.namespace.path("/disk")
    (target / "etc/kairos-release").touch()
    for name in ("extensions", "kairos"):
        (disk / f"var-lib-{name}.bind").mkdir(parents=True)
        (target / "var/lib" / name).mkdir(parents=True)
        installer.bench.namespace.run(
            "mount", "--bind", str(disk / f"var-lib-{name}.bind"), str(target / "var/lib" / name)
        )
    installer.want(tool=installer.bench.push("tool", command("tool", "runs")))
    installer.apply()
    link = (disk / "var-lib-extensions.bind/tool").readlink()
    assert str(link).startswith("../kairos/livelayer/store/sha256/")
    found = target / "var/lib/extensions/tool/usr/bin/tool"
    assert "runs" in installer.bench.namespace.run("cat", str(found)).stdout
    assert "in sync" in installer.apply().stderr


def _names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.exists() else []
