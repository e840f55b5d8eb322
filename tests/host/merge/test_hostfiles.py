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


def _taken(path: str, root: Path) -> bool:
    found = beside_host(
        Paths(root), Kind.SYSEXT, FileList(frozenset({path}), {}), Sight(default_hierarchies(Kind.SYSEXT))
    )
    return any(it.power is Power.LIVELAYER for it in found.abilities)


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
    ],
)
def test_what_takes_the_place_of_what_livelayer_runs(
    path: str, *, is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "__file__", f"/{LIBRARY}/os.py")  # as of the Python of an OS
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/skopeo").touch()
    assert _taken(path, tmp_path) is is_taken
