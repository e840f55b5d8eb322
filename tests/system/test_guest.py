"""Signed images under an image policy that demands them, on a machine whose kernel has device-mapper.

Debian's kernel does not know the test's key, so systemd verifies the signature itself, by the certificates in
/etc/verity.d (docs/ENVIRONMENT.md of systemd, at SYSTEMD_ALLOW_USERSPACE_VERITY).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.luck import IS_LONG
from tests.rig.ddi import ImageMaker
from tests.rig.guest import Guest, guest_root
from tests.rig.images import Member, command
from tests.rig.newersystemd import newer_repart
from tests.rig.node import copy_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The first test also makes the root, if there is none, and boots.
pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.timeout(1200), pytest.mark.xdist_group("guest")]

of_systemd: Final = pytest.mark.skipif(not IS_LONG, reason="what systemd does by itself, in `make test-long`")

if_there_is_time: Final = pytest.mark.skipif(not IS_LONG, reason="an emulated machine is slow; in `make test-long`")

EXTENSIONS: Final = "/var/lib/extensions"
UNIT: Final = "systemd-sysext.service"
POLICY: Final = "--image-policy=root=signed+absent:usr=signed+absent"
SOURCE: Final = "/srv/extension.raw"
CONFIGURATION: Final = f"extensions: {{x: {{source: 'file://{SOURCE}', format: raw}}}}\n"
DROP_IN: Final = f"""\
[Service]
ExecStart=
ExecStart=systemd-sysext refresh {POLICY}
ExecReload=
ExecReload=systemd-sysext refresh {POLICY}
"""
# At other places than the host's indexes say, and for good: nothing else here needs them.
SPREAD_MODULES: Final = """
place=usr/lib/modules/$(uname -r)
for it in a:dm-log b:dm-region-hash; do
    name=${it%%:*} module=${it#*:}
    mkdir -p "/srv/$name/$place/extension" "/srv/$name/usr/lib/extension-release.d"
    mv "/$place/kernel/drivers/md/$module".ko* "/srv/$name/$place/extension"
    echo ID=_any > "/srv/$name/usr/lib/extension-release.d/extension-release.$name"
done
"""
MODULES_OF_TWO: Final = "extensions: {a: {source: 'file:///srv/a'}, b: {source: 'file:///srv/b'}}\n"
# Large enough that its middle is neither read ahead when the image is mounted, nor looked at for partition tables.
PAYLOAD: Final = hashlib.shake_256(b"payload").digest(4 << 20)


class Bench:
    """A guest that accepts the key `trusted`, and images made for it."""

    def __init__(self, guest: Guest, maker: ImageMaker) -> None:
        self.guest = guest
        self.maker = maker

    def signed(self, key: str = "trusted") -> bytes:
        """The extension x, with a command and a payload."""
        members = (*command("x", "x runs"), Member("usr/share/x/payload", PAYLOAD))
        return self.maker.signed("x", members, key).read_bytes()

    def place(self, image: bytes) -> None:
        self.guest.write(f"{EXTENSIONS}/x.raw", image)

    def apply(self, image: bytes, status: int) -> str:
        """Let livelayer place an image of a file; returns what it complained about."""
        self.guest.write(SOURCE, image)
        self.guest.write("/etc/livelayer/extensions.yaml", CONFIGURATION)
        return self.guest.run("livelayer", "apply", status=status).stderr

    def refresh(self) -> str:
        """Refresh as the node does, by the unit; returns what that said if it failed."""
        self.guest.run("journalctl", "--rotate", "--vacuum-time=1s")
        self.guest.run("systemctl", "reset-failed", UNIT)
        done = self.guest.run("systemctl", "restart", UNIT, status=None)
        return self.guest.journal(UNIT) if done.returncode else ""

    def merged(self) -> list[str]:
        listed = json.loads(self.guest.run("systemd-sysext", "status", "--json=short").stdout)
        (usr,) = [row["extensions"] for row in listed if row["hierarchy"] == "/usr"]
        return [] if usr == "none" else sorted(usr)

    def clear(self) -> None:
        self.guest.run("systemctl", "stop", UNIT)
        self.guest.run("systemd-sysext", "unmerge")
        self.guest.run("sh", "-c", f"rm -rf {EXTENSIONS}/* /var/lib/livelayer/*")


@pytest.fixture(scope="module")
def booted(install: Callable[[Path], None]) -> Iterator[Bench]:
    """One boot for all tests, since it is dear."""
    with tempfile.TemporaryDirectory(prefix="livelayer-guest-", dir="/var/tmp") as directory:
        root, scratch = Path(directory, "root"), Path(directory, "images")
        scratch.mkdir()
        maker = ImageMaker(guest_root(), scratch)
        maker.key_pair("stranger")
        copy_root(guest_root(), root)
        install(root)
        (root / "etc/verity.d").mkdir()
        shutil.copy(maker.key_pair("trusted"), root / "etc/verity.d/trusted.crt")
        (root / f"etc/systemd/system/{UNIT}.d").mkdir(parents=True)
        (root / f"etc/systemd/system/{UNIT}.d/policy.conf").write_text(DROP_IN)
        with Guest(root) as guest:
            yield Bench(guest, maker)


@pytest.fixture
def bench(booted: Bench) -> Iterator[Bench]:
    """The guest with nothing placed and nothing merged."""
    yield booted
    booted.clear()


@of_systemd
def test_a_signed_image_merges_and_its_command_runs(bench: Bench) -> None:
    bench.place(bench.signed())
    assert bench.refresh() == ""
    assert bench.merged() == ["x"]
    assert bench.guest.run("x").stdout == "x runs\n"
    assert bench.guest.run("sha256sum", "/usr/share/x/payload").stdout.startswith(hashlib.sha256(PAYLOAD).hexdigest())
    assert bench.guest.run("sh", "-c", "cat /sys/block/dm-*/dm/uuid").stdout.startswith("CRYPT-VERITY-")


@of_systemd
def test_an_unsigned_image_with_verity_is_refused(bench: Bench) -> None:
    bench.place(bench.maker.unsigned("x", command("x", "unsigned")).read_bytes())
    assert "Image does not match image policy" in bench.refresh()
    assert bench.merged() == []
    # It is the policy alone that is against it.
    bench.guest.run("systemd-sysext", "refresh")
    assert bench.guest.run("x").stdout == "unsigned\n"


@of_systemd
def test_a_naked_file_system_is_refused(bench: Bench) -> None:
    bench.place(bench.maker.squashfs("x", command("x", "naked")).read_bytes())
    assert "Image does not match image policy" in bench.refresh()
    assert bench.merged() == []
    bench.guest.run("systemd-sysext", "refresh")
    assert bench.guest.run("x").stdout == "naked\n"


@of_systemd
def test_a_strangers_signature_is_refused(bench: Bench) -> None:
    bench.place(bench.signed("stranger"))
    assert "Required key not available" in bench.refresh()
    assert bench.merged() == []


@of_systemd
def test_one_byte_changed_where_mounting_looks_is_refused(bench: Bench) -> None:
    bench.place(_flipped(bench.signed(), b"echo 'x runs'"))
    assert "Failed to read metadata for image x" in bench.refresh()
    assert bench.merged() == []


@of_systemd
def test_one_byte_changed_elsewhere_cannot_be_read(bench: Bench) -> None:
    """What is verified when it is read can be merged; but no changed byte ever comes out."""
    bench.place(_flipped(bench.signed(), PAYLOAD[2 << 20 :][:64]))
    assert bench.refresh() == ""
    assert bench.guest.run("x").stdout == "x runs\n"
    assert "Input/output error" in bench.guest.run("sha256sum", "/usr/share/x/payload", status=1).stderr


def test_livelayer_places_a_signed_image(bench: Bench) -> None:
    bench.apply(bench.signed(), status=0)
    assert bench.merged() == ["x"]
    assert bench.guest.run("x").stdout == "x runs\n"
    assert bench.guest.run("livelayer", "plan").stdout == "in sync\n"


@if_there_is_time
def test_livelayer_says_why_an_unsigned_image_does_not_merge(bench: Bench) -> None:
    assert "image policy" in bench.apply(bench.maker.unsigned("x", command("x", "unsigned")).read_bytes(), status=1)
    assert bench.merged() == []


@if_there_is_time
def test_livelayer_builds_signed_images(bench: Bench, livelayer: str, tmp_path: Path) -> None:
    """And unsigned ones, which the policy refuses."""
    bench.place(_built(bench, livelayer, tmp_path / "signed.raw", "trusted"))
    assert bench.refresh() == ""
    assert bench.guest.run("x").stdout == "built\n"
    bench.place(_built(bench, livelayer, tmp_path / "unsigned.raw", None))
    assert "Image does not match image policy" in bench.refresh()
    # Verified is its content all the same, where that suffices.
    bench.guest.run("systemd-sysext", "refresh", "--image-policy=root=verity")
    assert bench.guest.run("x").stdout == "built\n"


def test_modules_of_two_extensions_are_loaded_by_name(bench: Bench) -> None:
    """dm-region-hash, in one, needs dm-log, in another, and both need the host's dm-mod."""
    bench.guest.run("sh", "-ec", SPREAD_MODULES)
    bench.guest.write("/etc/livelayer/extensions.yaml", MODULES_OF_TWO)
    bench.guest.run("modprobe", "dm-region-hash", status=1)
    bench.guest.run("livelayer", "apply")
    bench.guest.run("modprobe", "dm-region-hash")
    loaded = {line.split()[0] for line in bench.guest.run("cat", "/proc/modules").stdout.splitlines()}
    assert loaded >= {"dm_mod", "dm_log", "dm_region_hash"}


def _built(bench: Bench, livelayer: str, out: Path, key: str | None) -> bytes:
    program = out.parent / "x"
    program.write_text("#!/bin/sh\necho built\n")
    signing = [f"--private-key={bench.maker.file(f'{key}.key')}", f"--certificate={bench.maker.file(f'{key}.crt')}"]
    command = [livelayer, "build", "x", "--binary", str(program), "--format=ddi", f"--output={out}"]
    path = f"{newer_repart(out.with_suffix('.tools'))}:{os.environ['PATH']}"
    subprocess.run([*command, *(signing if key else ())], check=True, env={**os.environ, "PATH": path})
    return out.read_bytes()


def _flipped(image: bytes, where: bytes) -> bytes:
    """The image with one bit changed, in the first byte of the piece that equals `where`."""
    position = image.index(where)
    return image[:position] + bytes([image[position] ^ 1]) + image[position + 1 :]
