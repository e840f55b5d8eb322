"""Labels by Debian's own policy. To write them takes no kernel with SELinux."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.node import selinux
from tests.rig.selinux import give_policy, type_of

if TYPE_CHECKING:
    from reconciler.paths import Paths

TYPES = {
    "": "root_t",
    "usr": "usr_t",
    "usr/bin": "bin_t",
    "usr/bin/x": "bin_t",
    "usr/bin/link": "bin_t",
    "usr/lib/libx.so.1": "lib_t",
    "usr/lib64/libx.so.1": "lib_t",
    "usr/lib/systemd/system/x.service": "systemd_unit_t",
    "usr/lib/systemd/system/httpd.service": "httpd_unit_t",
    "usr/sbin/sshd": "sshd_exec_t",
    "usr/share/x": "usr_t",
    "opt/x/bin/x": "bin_t",
    "opt/x/file\nSELINUX": "usr_t",
    "etc/ssh/ssh_host_rsa_key": "sshd_key_t",
    "etc/x.conf": "etc_t",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An extension's files, one of them with a label of its image."""
    tree = tmp_path / "tree [x](y)*"
    for name in TYPES:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("link"):
            path.symlink_to("/etc/passwd")
        elif "." in name or name.count("/") > 1 or name.endswith(("x", "sshd")):
            path.write_text("x")
        else:
            path.mkdir(exist_ok=True)
    os.setxattr(tree / "usr/bin/x", "security.selinux", b"hostile_u:object_r:shadow_t:s0\0")
    return tree


@pytest.mark.commands
@pytest.mark.parametrize("mode", ["enforcing", "permissive"])
def test_files_get_the_labels_of_where_they_will_appear(tree: Path, paths: Paths, mode: str) -> None:
    give_policy(paths.root, mode)
    before = type_of(paths.root), Path("/etc/passwd").stat().st_ctime_ns
    assert selinux.label(tree, paths)
    assert {name: type_of(tree / name) for name in TYPES} == TYPES
    assert os.getxattr(tree / "usr/bin/x", "security.selinux") == b"system_u:object_r:bin_t:s0\0"
    assert (type_of(paths.root), Path("/etc/passwd").stat().st_ctime_ns) == before


@pytest.mark.parametrize("configuration", [None, "SELINUX=disabled\n", "SELINUXTYPE=default\n", "SELINUX=nonsense\n"])
def test_nothing_is_labelled_where_selinux_is_off(tree: Path, paths: Paths, configuration: str | None) -> None:
    """Nor is any program started."""
    if configuration:
        give_policy(paths.root, "enforcing")
        (paths.root / "etc/selinux/config").write_text(configuration)
    assert not selinux.label(tree, paths)
    selinux.label_state(paths)
    assert type_of(tree / "usr/sbin/sshd") is None


def _remove_contexts(paths: Paths, _: pytest.MonkeyPatch) -> None:
    (paths.root / "etc/selinux/default/contexts/files/file_contexts").unlink()


def _remove_setfiles(_: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def _spoil_contexts(paths: Paths, _: pytest.MonkeyPatch) -> None:
    (paths.root / "etc/selinux/default/contexts/files/file_contexts").write_text(
        "/usr(/.*? system_u:object_r:usr_t:s0\n"
    )


@pytest.mark.commands
@pytest.mark.parametrize("fault", [_remove_contexts, _remove_setfiles, _spoil_contexts])
def test_what_is_missing_is_an_error_where_selinux_is_one(
    tree: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: object
) -> None:
    assert callable(fault)
    give_policy(paths.root, "enforcing")
    fault(paths, monkeypatch)
    with pytest.raises(Failed, match="SELinux"):
        selinux.label(tree, paths)
    (paths.root / "etc/selinux/config").write_text("SELINUX=permissive\nSELINUXTYPE=default\n")
    with caplog.at_level(logging.WARNING):
        assert not selinux.label(tree, paths)
    assert "SELinux" in caplog.text


@pytest.mark.commands
def test_the_state_of_a_node_that_does_not_run_is_labelled_as_its_kernel_would(paths: Paths) -> None:
    give_policy(paths.root, "enforcing")
    entry = paths.store / "0.directory/usr/bin"
    entry.mkdir(parents=True)
    (paths.store / "1.squashfs").touch()
    (paths.state / "desired.json").touch()
    (paths.root / "var/lib/extensions/x").symlink_to("../livelayer/store/sha256/0.directory")
    selinux.label_state(paths)
    for path in (paths.state, paths.store, paths.store / "1.squashfs", paths.root / "var/lib/extensions/x"):
        assert type_of(path) == "var_lib_t"
    assert type_of(paths.state / "desired.json") == "var_lib_t"
    assert type_of(entry) is None
    assert type_of(paths.root / "etc") is None
