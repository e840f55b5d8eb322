"""Image files and the real systemd-sysext: what is accepted merges, what is refused is refused for a reason."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.host.images import erofs, fsck, squashfs
from reconciler.host.images.inspect import identify, inspect_image
from reconciler.host.node.loopdevices import device_mapper_available
from reconciler.model.fit.contents import Contents
from reconciler.model.images.imagepolicy import (
    DEFAULTS,
    PARTITIONS,
    needs_device_mapper,
    parse_image_policy,
    refusal,
)
from reconciler.model.kind import Kind
from tests.host.images.damaged_images import CASES
from tests.rig.diskimages import (
    GENERIC,
    MAKERS,
    ROOT,
    ROOT_VERITY,
    ROOT_VERITY_SIG,
    USR,
    USR_VERITY,
    Part,
    disk,
    extension_tree,
    sfdisk,
)
from tests.rig.foreignroot import ForeignRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.namespace import Namespace

pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.xdist_group("disk images")]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A good image of each format; incompressible, so that cuts hurt."""
    directory = tmp_path_factory.mktemp("good")
    tree = extension_tree(directory / "tree", "x")
    (tree / "usr/lib/noise").write_bytes(os.urandom(300_000))
    images = {name: make(tree, directory / name).read_bytes() for name, make in MAKERS.items()}
    usr = MAKERS["squashfs"](tree / "usr", directory / "usr").read_bytes()
    images["disk"] = sfdisk(directory / "disk", [(ROOT, images["ext4"])]).read_bytes()
    images["disk with usr"] = disk([Part(USR, usr)])
    images["disk with a generic partition"] = disk([Part(GENERIC, images["erofs"])])
    images["disk with unused verity"] = disk([Part(ROOT, images["erofs"]), Part(ROOT_VERITY, b"x")])
    images["disk with flags"] = disk([Part(ROOT, images["btrfs"], flags=1 << 60 | 1 << 59)])
    return images


GOOD = (
    *MAKERS,
    "disk",
    "disk with usr",
    "disk with a generic partition",
    "disk with unused verity",
    "disk with flags",
)


@pytest.mark.parametrize("name", GOOD)
def test_what_is_accepted_merges(name: str, good: dict[str, bytes], namespace: Namespace, tmp_path: Path) -> None:
    image = namespace.path("/var/lib/extensions/x.raw")
    image.write_bytes(good[name])
    contents = inspect_image(image, Kind.SYSEXT, tmp_path)
    assert contents.releases == {"x": {"ID": "_any"}}
    assert contents.misplaced == ()
    namespace.run("systemd-sysext", "refresh")
    assert namespace.run("/usr/bin/x").stdout == "x\n"


@pytest.mark.parametrize("name", [*MAKERS, "disk", "disk with usr", "signed disk"])
def test_a_node_without_tools_mounts(
    name: str, good: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file system by itself, so also one with verity on a kernel that has none; nothing is left mounted."""
    monkeypatch.setattr(squashfs, "PROGRAM", "there-is-no-such-program")
    monkeypatch.setattr(fsck, "available", lambda _: False)
    monkeypatch.setattr(erofs, "can_look_inside", lambda: False)
    monkeypatch.setattr(erofs, "FSCK", "there-is-no-such-program")
    (tmp_path / "image").write_bytes(({**good, **_subjects(good)})[name])
    contents = inspect_image(tmp_path / "image", Kind.SYSEXT, tmp_path)
    assert contents == Contents({"x": {"ID": "_any"}}, units=("x.service",), image=identify(tmp_path / "image"))
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.timeout(600)
def test_what_is_refused_would_block_all_extensions(good: dict[str, bytes], namespace: Namespace) -> None:
    """But for some that this systemd takes, whose content is not what their publisher made."""
    extension_tree(namespace.path("/var/lib/extensions/other"), "other")
    surprises = {}
    for name, case in CASES.items():
        namespace.path("/var/lib/extensions/x.raw").write_bytes(case.make(good))
        namespace.run("systemd-sysext", "refresh", status=None)
        merged = {which: _is_merged(namespace, which) for which in ("x", "other")}
        if merged != {"x": case.merges, "other": case.merges}:
            surprises[name] = merged
        namespace.run("systemd-sysext", "unmerge")
    assert surprises == {}


def _is_merged(namespace: Namespace, name: str) -> bool:
    return namespace.run("test", "-x", f"/usr/bin/{name}", status=None).returncode == 0


@pytest.fixture(scope="module")
def trixie() -> Iterator[ForeignRoot]:
    """Systemd 257, which has image policies."""
    with tempfile.TemporaryDirectory(prefix="livelayer-trixie-", dir="/var/tmp") as scratch:
        yield ForeignRoot("trixie", Path(scratch, "root"))


POLICIES = (
    "*",
    "-",
    "~",
    "root=unprotected",
    "root=unprotected+absent",
    "root=verity+absent:usr=verity+absent",
    "root=signed+absent:usr=signed+absent",
    "root=verity+signed+absent:usr=verity+signed+absent:=ignore",
    "root=unprotected+verity+absent:usr=unprotected+verity+absent",
    "root=unprotected+signed+absent:usr=unprotected+signed+absent",
    "root=encrypted",
    "root=encrypted+absent:usr=encrypted+absent",
    "usr=unprotected",
    "usr=unprotected+absent:root=absent",
    "root=unprotected:usr=absent",
    "root=unprotected+absent:usr=unprotected+absent:root-verity=absent",
    "root=verity+absent:root-verity=unused+absent",
    "root=unprotected+read-only-on",
    "root=unprotected+read-only-off",
    "root=unprotected+growfs-off+absent:usr=growfs-off+unprotected",
    "=open",
    "=absent",
    "root=open:=absent",
    "root=open:home=unprotected",
    "root=",
)
# What systemd-sysext 257 says of an image that its policy refuses, or leaves it nothing to use of.
REFUSALS = (
    "does not match image policy",
    "Couldn't identify a suitable partition table or file system",
    "No suitable root partition found",
)


def _subjects(good: dict[str, bytes]) -> dict[str, bytes]:
    squashfs, usr = good["squashfs"], good["disk with usr"][1 << 20 : -(1 << 20)]
    return {
        "squashfs": squashfs,
        "disk": disk([Part(ROOT, squashfs)]),
        "disk read-only, growing": disk([Part(ROOT, squashfs, flags=1 << 60 | 1 << 59)]),
        "disk with verity": disk([Part(ROOT, squashfs), Part(ROOT_VERITY, b"x")]),
        "signed disk": disk([Part(ROOT, squashfs), Part(ROOT_VERITY, b"x"), Part(ROOT_VERITY_SIG, b"x")]),
        "disk with usr": disk([Part(USR, usr)]),
        "disk with usr and verity": disk([Part(USR, usr), Part(USR_VERITY, b"x")]),
        "disk with a generic partition": disk([Part(GENERIC, squashfs)]),
    }


@pytest.mark.timeout(600)
def test_policies_are_judged_as_systemd_judges_them(good: dict[str, bytes], trixie: ForeignRoot) -> None:
    image = trixie.root / "var/lib/extensions/x.raw"
    image.parent.mkdir(exist_ok=True)
    surprises = []
    refused = 0
    for name, content in _subjects(good).items():
        image.write_bytes(content)
        found = identify(image)
        for text in POLICIES:
            done = trixie.run(f"systemd-sysext refresh --image-policy='{text}'")
            expected = any(words in done.stderr for words in REFUSALS)
            policy = parse_image_policy(text)
            reason = refusal(policy, found)
            if expected:
                refused += 1
            elif not device_mapper_available() and needs_device_mapper(policy, found):
                assert done.returncode != 0, (name, text)
            else:
                assert done.returncode == 0, (name, text, done.stderr)
            if (reason is not None) != expected:
                surprises.append((name, text, reason, done.stderr))
    image.unlink()
    assert surprises == []
    assert refused > 50


def test_directories_are_not_subject_to_policies(trixie: ForeignRoot) -> None:
    extension_tree(trixie.root / "var/lib/extensions/plain", "plain")
    for text in ("root=verity+absent:usr=verity+absent", "~", "root=signed"):
        done = trixie.run(f"systemd-sysext refresh --image-policy='{text}' >&2 && plain")
        assert (done.stdout, done.returncode) == ("plain\n", 0)


def test_disk_images_of_large_sectors_need_a_newer_systemd(
    good: dict[str, bytes], namespace: Namespace, trixie: ForeignRoot
) -> None:
    image = disk([Part(ROOT, good["squashfs"])], sector=4096)
    theirs = trixie.root / "var/lib/extensions/x.raw"
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_bytes(image)
    assert trixie.run("systemd-sysext refresh >&2 && x").stdout == "x\n"
    assert identify(theirs).least_systemd == 254
    theirs.unlink()
    namespace.path("/var/lib/extensions/x.raw").write_bytes(image)
    namespace.run("systemd-sysext", "refresh", status=1)


@pytest.mark.parametrize("text", POLICIES)
def test_policies_are_read_as_systemd_reads_them(text: str, trixie: ForeignRoot) -> None:
    policy = parse_image_policy(text)
    for partition, mode in _table(trixie, text).items():
        assert policy.flags(partition) & _MODES == mode, partition


@pytest.mark.parametrize(("kind", "name"), [(Kind.SYSEXT, "@sysext"), (Kind.CONFEXT, "@confext")])
def test_default_policies(kind: Kind, name: str, trixie: ForeignRoot) -> None:
    table = _table(trixie, name)
    assert {partition: DEFAULTS[kind].flags(partition) & _MODES for partition in PARTITIONS} == table


@pytest.mark.parametrize(
    "text",
    [
        ":=ignore",
        "root",
        "root=verity:",
        "root=verity::usr=verity",
        "root=verity:root=signed",
        "=open:=absent",
        "house=verity",
        "root=strong",
        "root=verity+",
        "root=+verity",
        "root=verity++absent",
        "root=verity=absent",
        "ROOT=verity",
        "root=Verity",
        " root = verity + absent ",
        "root=verity+verity",
        "root= - ",
        " ",
        "**",
        "root=ignore+open",
    ],
)
def test_malformed_policies_are_refused_where_systemd_refuses_them(text: str, trixie: ForeignRoot) -> None:
    expected = trixie.run(f"systemd-analyze image-policy -- '{text}'").returncode == 0
    try:
        parse_image_policy(text)
    except Invalid as error:
        assert not expected, error.message  # noqa: PT017 - either may be right
    else:
        assert expected


_MODES = frozenset({"verity", "signed", "encrypted", "unprotected", "unused", "absent"})
_SHORT = {"open": _MODES, "ignore": frozenset({"unused", "absent"}), "-": frozenset[str]()}


def _table(trixie: ForeignRoot, text: str) -> dict[str, frozenset[str]]:
    done = trixie.run(f"systemd-analyze image-policy -- '{text}'")
    rows = [line.split() for line in done.stdout.splitlines()]
    modes = {row[0]: row[1] for row in rows if row and row[0] in PARTITIONS}
    assert set(modes) == set(PARTITIONS), done.stderr
    return {name: _SHORT.get(mode, frozenset(mode.split("+"))) for name, mode in modes.items()}
