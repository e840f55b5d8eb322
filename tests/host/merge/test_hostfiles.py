"""What an extension takes from livelayer, by what this host has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.host.merge.hostfiles import beside_host
from reconciler.model.content.power import Power
from reconciler.model.fit.hierarchies import default_hierarchies
from reconciler.model.kind import Kind
from reconciler.model.plan.collisions import FileList
from reconciler.model.state.sight import Sight
from reconciler.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

LIBRARY: Final = "usr/lib/python3.11"


def _powers(path: str, root: Path) -> list[Power]:
    found = beside_host(
        Paths(root), Kind.SYSEXT, FileList(frozenset({path}), {}), Sight(default_hierarchies(Kind.SYSEXT))
    )
    return [it.power for it in found.abilities]


@pytest.mark.parametrize(
    ("path", "is_taken"),
    [
        ("usr/bin/skopeo", True),
        ("usr/local/bin/skopeo", False),  # the host has it elsewhere, and livelayer runs that
        ("usr/bin/gpgv", False),  # the host has none, so that none is run
        (f"{LIBRARY}/argparse/__init__.py", True),  # comes before the host's argparse.py
        (f"{LIBRARY}/argparse.cpython-311-x86_64-linux-gnu.so", True),
        (f"{LIBRARY}/lib-dynload/_new.so", True),
        (f"{LIBRARY}/__pycache__/argparse.cpython-311.pyc", True),
        (f"{LIBRARY}/site-packages/argparse.py", False),
        ("usr/lib/extensions/in/usr/bin/skopeo", True),  # as it is once that is merged as well
        ("usr/lib/extensions/in/usr/bin/gpgv", False),
        (f"usr/lib/extensions/in/{LIBRARY}/argparse/__init__.py", True),
    ],
)
def test_what_takes_the_place_of_what_livelayer_runs(
    path: str, *, is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "__file__", f"/{LIBRARY}/os.py")  # as of the Python of an OS
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/skopeo").touch()
    assert (Power.LIVELAYER in _powers(path, tmp_path)) is is_taken


@pytest.mark.parametrize("where", ["", "usr/lib/extensions/in/", "usr/local/lib/confexts/in.v/"])
def test_what_is_found_before_the_hosts(where: str, tmp_path: Path) -> None:
    for file in ("usr/bin/ls", "usr/lib/systemd/system/sshd.service"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    assert _powers(f"{where}usr/local/bin/ls", tmp_path) == [Power.SHADOWING]
    assert _powers(f"{where}etc/systemd/system/sshd.service", tmp_path) == [Power.UNITS]
    assert _powers(f"{where}usr/local/bin/lsof", tmp_path) == []
