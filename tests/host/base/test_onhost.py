"""What the host itself has; with extensions that are really merged in tests/system/test_trust.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.base import mountnamespace, onhost
from reconciler.host.base.onhost import is_hosts, on_host
from reconciler.model.state.sight import Hierarchy
from tests.rig.node import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture
def beneath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An overlay on a directory, and what was looked for below it."""
    looked: list[str] = []

    def look_beneath(mounts: Sequence[str], look: Callable[[], object], kept: Sequence[str]) -> object:
        looked.extend(mounts)
        assert all(it.endswith("/kept") for it in kept)
        return look()

    monkeypatch.setattr(onhost, "_overlays", lambda: [Hierarchy(str(tmp_path), kept=(str(tmp_path / "kept"),))])
    monkeypatch.setattr(mountnamespace, "look_beneath", look_beneath)
    return looked


def test_only_what_an_overlay_shows_is_looked_for_below_it(tmp_path: Path, beneath: list[str]) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("a", "kept/a"):
        (tmp_path / name).touch()
    (tmp_path.parent / f"{tmp_path.name}x").touch()
    for place in ("kept/a", f"../{tmp_path.name}x", "missing", "missing/below"):
        assert on_host(lambda: 1, [tmp_path / place]) == 1
    assert beneath == []
    assert on_host(lambda: 2, [tmp_path / "kept/a", tmp_path / "a"]) == 2
    (tmp_path.parent / "link").symlink_to(tmp_path / "a")
    assert on_host(lambda: None, [tmp_path.parent / "link"]) is None
    assert beneath == [str(tmp_path)] * 2


def test_what_hides_a_directory_of_the_host_is_looked_beneath(tmp_path: Path, beneath: list[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for place in ("file/extensions.yaml", "link", "link/extensions.yaml"):
        assert on_host(lambda: 1, [tmp_path / place]) == 1
    assert beneath == [str(tmp_path)] * 3


@pytest.mark.usefixtures("beneath")
def test_what_is_raised_there_is_raised_here(tmp_path: Path) -> None:
    def fail() -> int:
        raise Invalid("there")

    with pytest.raises(Invalid, match="there"):
        on_host(fail, [tmp_path])


@pytest.mark.usefixtures("beneath")
def test_root_does_not_take_what_all_see_for_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mountnamespace, "look_beneath", lambda *_: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Failed, match="cannot be looked at") as caught:
        on_host(lambda: 1, [tmp_path])
    assert caught.value.code == "host.covered"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert on_host(lambda: 1, [tmp_path]) == 1


def test_a_file_is_the_hosts_as_long_as_it_is_the_same(tmp_path: Path, beneath: list[str]) -> None:
    program = tmp_path / "program"
    program.touch()
    assert is_hosts(str(program))
    assert is_hosts(str(program))
    assert len(beneath) == 1
    program.write_text("another")
    assert is_hosts(str(program))
    assert len(beneath) == 2


_OVERLAYS = """
mount --make-rprivate / && mount -t tmpfs -o mode=755 tmpfs {0} && cd {0}
mkdir -p usr/bin usr/lib/livelayer usr/local etc/livelayer ext/bin ext/lib extetc/livelayer disk
echo own | tee usr/lib/livelayer/main usr/bin/own usr/bin/same >etc/livelayer/main
echo evl | tee ext/bin/own ext/lib/livelayer >extetc/livelayer/main; echo own >ext/bin/same
chmod 755 usr/bin/* ext/bin/*; touch -d @0 usr/bin/* ext/bin/*; echo disk >disk/file; echo later >disk/later
for it in usr ext; do
    mksquashfs $it $it.squashfs -quiet -no-progress -all-time 0 >&2; mount -o loop $it.squashfs $it
done
mount -t overlay -o lowerdir=ext:usr sysext usr
mount -t overlay -o lowerdir=extetc:etc confext etc
mount --bind disk usr/local
strace -f -qq -e trace=unshare -o calls {1} -c '
import json, os
from pathlib import Path
from reconciler.host.base.onhost import is_hosts, on_host
at = "{0}/"
def read(*names):
    places = [at + it for it in names]
    return on_host(lambda: [Path(it).read_text().strip() for it in places], places)
found = [read("usr/lib/livelayer/main"), read("etc/livelayer/main"), read("etc/livelayer/main", "usr/local/file")]
found += [is_hosts(at + "usr/bin/own"), is_hosts(at + "usr/bin/same"), is_hosts(at + "usr/local/file")]
os.system("mount --bind {0}/disk/later {0}/disk/file")
print(json.dumps([*found, read("etc/livelayer/main", "disk/file")]))
'
grep -c CLONE_NEWNS calls
"""


@pytest.mark.commands
@pytest.mark.system
def test_below_real_overlays_the_host_is_as_it_is(tmp_path: Path) -> None:
    """With image files, whose authors set all times; a namespace is made once, and once more when a mount is new."""
    command = ["unshare", "--mount", "sh", "-euc", _OVERLAYS.format(tmp_path, sys.executable)]
    found, made = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT).stdout.splitlines()
    assert json.loads(found) == [["own"], ["own"], ["own", "disk"], False, True, True, ["own", "later"]]
    assert made == "2"
