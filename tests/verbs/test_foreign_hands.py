"""What root trusts and others can change: refused by name before anything is done by it, and mended by the hint."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.host.registry.skopeo import Skopeo
from reconciler.host.sources import sha256sums
from reconciler.host.sources.catalogs import Catalogs
from reconciler.host.sources.signedlists import SignedLists
from reconciler.model.content.catalog import Selector
from reconciler.model.kind import Kind
from tests.commandline import run
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.paths import Paths

ONE = "docker://registry/one:v1"
OTHER = 1234


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda paths: os.chown(paths.state, OTHER, OTHER), "lib/livelayer: belongs to user 1234, not to root"),
        (lambda paths: paths.state.chmod(0o777), "lib/livelayer: others than root can write it (mode 0777)"),
        (lambda paths: paths.state.parent.chmod(0o777), "var/lib: others than root can write it (mode 0777)"),
        (lambda paths: os.chown(paths.store.parent, OTHER, OTHER), "livelayer/store: belongs to user 1234"),
        (lambda paths: paths.store.chmod(0o770), "store/sha256: others than root can write it (mode 0770)"),
        (lambda paths: (paths.blobs.mkdir(), paths.blobs.chmod(0o1777)), "livelayer/blobs: others than root"),
        (lambda paths: (paths.last_good.touch(), paths.last_good.chmod(0o666)), "desired.json: others than root"),
    ],
)
def test_a_state_directory_of_others_is_refused(
    spoil: Callable[[Paths], object], told: str, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    spoil(paths)
    for verb in ("apply", "plan", "status"):
        assert run("--root", paths.root, verb) == 1
        assert told in capsys.readouterr().err
    assert not list(paths.links(Kind.SYSEXT).iterdir())


def test_a_state_directory_is_not_begun_where_others_can_write(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.root / "data").mkdir()
    os.chown(paths.root / "data", OTHER, OTHER)
    configure(paths, "settings: {state_dir: /data/livelayer, allow_empty: true}\n")
    assert run("--root", paths.root, "apply") == 1
    error = capsys.readouterr().err
    assert "data: belongs to user 1234, not to root; it leads to " in error
    assert not list((paths.root / "data").iterdir())
    os.chown(paths.root / "data", 0, 0)
    assert run("--root", paths.root, "apply") == 0


@pytest.mark.parametrize(
    ("name", "leads_to"),
    [
        ("etc/livelayer", "etc/elsewhere"),
        ("etc/livelayer/extensions.yaml", "etc/elsewhere/extensions.yaml"),
        ("etc/livelayer/extensions.d", "etc/elsewhere/extensions.d"),
        ("var/lib/livelayer", "var/elsewhere"),
    ],
)
def test_links_of_others_in_another_root_lead_nowhere(
    name: str, leads_to: str, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """An absolute link leads there to where it would after chroot(2), and whose hands that is in is judged there."""
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    (paths.root / "etc/livelayer/extensions.d/10.yaml").write_text("extensions: {}\n")
    fill_store(paths, ONE, "one", "a")
    alice = paths.root / "home/alice"
    alice.mkdir(parents=True)
    (paths.root / leads_to).parent.mkdir(exist_ok=True)
    (paths.root / name).rename(paths.root / leads_to)
    (alice / "current").symlink_to(f"/{leads_to}")
    (paths.root / name).symlink_to("/home/alice/current")
    assert run("--root", paths.root, "plan") == 2
    assert "Place" in (capsys.readouterr().out.title())
    os.chown(alice, OTHER, OTHER)
    assert run("--root", paths.root, "plan") == 1
    assert "home/alice: belongs to user 1234, not to root; it leads to" in capsys.readouterr().err
    os.chown(alice, 0, 0)
    os.chown(alice / "current", OTHER, OTHER, follow_symlinks=False)
    assert run("--root", paths.root, "plan") == 1
    assert "alice/current: belongs to user 1234, not to root; it leads to" in capsys.readouterr().err


def test_a_keyring_of_others_signs_nothing(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    keyring.chmod(0o666)
    with pytest.raises(Invalid, match=r"keyring\.gpg: others than root can write it"):
        sha256sums.read_signed("https://127.0.0.1:1/x.raw", [keyring], SignedLists(tmp_path / "record.json"))


def test_a_catalog_of_others_lists_nothing(paths: Paths) -> None:
    catalog = paths.root / "srv/catalog.json"
    catalog.parent.mkdir()
    catalog.write_text("{}")
    catalog.parent.chmod(0o777)
    with pytest.raises(Invalid, match="srv: others than root can write it"):
        Catalogs(paths, ("file:///srv/catalog.json",)).find(Selector("x", None, None, "amd64"))


def test_credentials_of_others_are_not_used(paths: Paths) -> None:
    paths.auth_file.write_text("{}")
    assert Skopeo(paths.auth_file, root=paths.root).credentials("--authfile") == (f"--authfile={paths.auth_file}",)
    os.chown(paths.auth_file, OTHER, OTHER)
    with pytest.raises(Invalid, match=r"auth\.json: belongs to user 1234"):
        Skopeo(paths.auth_file, root=paths.root).credentials("--authfile")
