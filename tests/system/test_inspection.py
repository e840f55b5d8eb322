"""inspect and lint with a real registry, on a host with merged extensions, and by a user who is not root."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.rig.ddi import ImageMaker
from tests.rig.diskimages import MAKERS, extension_tree
from tests.rig.guest import guest_root
from tests.rig.images import command, extension

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

# Reads every file, so that the interpreter can be anywhere, but has no other privilege.
READER: Final = ("--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search")


def _inspect(bench: Bench, subject: object, tmp_path: Path) -> dict[str, Any]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    document: dict[str, Any] = json.loads(
        bench.livelayer("inspect", "--json", str(subject), TMPDIR=str(scratch)).stdout
    )
    assert list(scratch.iterdir()) == []
    return document


def test_an_image_of_a_registry(bench: Bench, tmp_path: Path) -> None:
    source = bench.push("v1", command("ipfs", "old"), command("ipfs", "ipfs v1"))
    found = _inspect(bench, source, tmp_path)
    assert (found["name"], found["payload"], found["source"]) == ("ipfs", "layers", source)
    bench.want(ipfs=source)
    bench.livelayer("apply")
    assert bench.status()["ipfs"]["placed"] == found["digest"]
    assert bench.livelayer("lint", source).stdout == "nothing found\n"
    missing = source.replace(":v1", ":v2")
    assert "there is no such image" in bench.livelayer("inspect", missing, status=1).stderr
    assert "error LL000" in bench.livelayer("lint", missing, source, status=1).stdout


def test_what_is_merged_does_not_hide_itself(bench: Bench, tmp_path: Path) -> None:
    """The host is what lies below the overlay."""
    source = bench.push("v1", extension("x", {"usr/bin/x": "#!/bin/sh\n", "usr/bin/env": "#!/bin/sh\n"}))
    before = _inspect(bench, source, tmp_path)
    bench.want(x=bench.push("v2", command("x", "x runs")))
    bench.livelayer("apply")
    assert bench.merged() == ["x"]
    after = _inspect(bench, source, tmp_path)
    assert before["hides"] == after["hides"] == ["/usr/bin/env"]
    assert after["collisions_known"] is True
    assert bench.merged() == ["x"]
    assert bench.says("x") == "x runs"


def test_users_other_than_root(bench: Bench, tmp_path: Path) -> None:
    """They see as much as can be seen; what cannot be told is said to be so."""
    tree = extension_tree(tmp_path / "tree", "x")
    os.chown(tree / "usr/bin/x", 0, 5)
    (tree / "usr/bin/x").chmod(0o2755)
    images = {name: make(tree, tmp_path / f"{name}.raw") for name, make in MAKERS.items()}
    scratch = tmp_path / "theirs"
    scratch.mkdir()
    scratch.chmod(0o777)

    def look(subject: Path, status: int = 0) -> str:
        words = ("env", f"TMPDIR={scratch}", bench.command, "inspect", "--json", str(subject))
        done = bench.namespace.run("setpriv", *READER, "--ambient-caps=+dac_read_search", *words, status=status)
        assert list(scratch.iterdir()) == []
        return done.stdout or done.stderr

    for subject in (tree, images["squashfs"], images["erofs"]):
        found = json.loads(look(subject))
        assert (found["name"], found["collisions_known"]) == ("x", True), subject
        assert found["owners_known"] == (subject in {tree, images["squashfs"]})
        assert found["setgid"] == ["usr/bin/x"] or not found["owners_known"], subject
    for form in ("ext4", "btrfs"):
        assert "run it as root" in look(images[form], 1)

    bench.want(x=bench.push("v1", command("x", "x runs")))
    bench.livelayer("apply")
    assert json.loads(look(tree))["collisions_known"] is False


def test_a_signed_disk_image(bench: Bench, tmp_path: Path) -> None:
    """As systemd-repart makes it; the certificate is told by its fingerprint."""
    with tempfile.TemporaryDirectory(prefix="livelayer-images-", dir="/var/tmp") as directory:
        maker = ImageMaker(guest_root(), Path(directory))
        certificate = maker.key_pair("publisher")
        signed = maker.signed("x", command("x", "x runs"), "publisher")
        unsigned = maker.unsigned("x", command("x", "x runs"))
        found = _inspect(bench, signed, tmp_path)
        assert found["name"] == "x"
        assert found["partitions"] == ["root", "root-verity", "root-verity-sig"]
        told = subprocess.run(
            ["openssl", "x509", "-fingerprint", "-sha256", "-noout", "-in", str(certificate)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert found["signature"]["certificate"] == told.partition("=")[2].strip().replace(":", "").lower()
        bench.livelayer("lint", "--require-signature", str(signed))
        assert _inspect(bench, unsigned, tmp_path)["signature"] is None
        assert "LL601" in bench.livelayer("lint", "--require-signature", str(unsigned), status=1).stdout
