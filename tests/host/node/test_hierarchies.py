"""Which hierarchies a node's units merge, read off its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.model.fit.release import Host
from reconciler.model.kind import Kind
from tests.rig.diskimages import make_tree

if TYPE_CHECKING:
    from reconciler.paths import Paths

USR = "usr/lib/systemd/system/systemd-sysext.service"
ETC = "etc/systemd/system/systemd-sysext.service"
VARIABLE = "SYSTEMD_SYSEXT_HIERARCHIES"
OWN = ("/usr", "/opt")


def _says(value: str) -> str:
    return f"[Service]\nEnvironment={VARIABLE}={value}\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, OWN),
        ({USR: _says("/a")}, ("/a",)),
        ({USR: _says("/a"), ETC: "[Service]\n"}, OWN),
        ({f"{ETC}.d/x.conf": _says("/a:/b")}, ("/a", "/b")),
        ({f"{ETC}.d/x.conf.bak": _says("/a")}, OWN),
        ({f"{ETC}.d/1.conf": _says("/a"), f"{USR}.d/2.conf": _says("/b")}, ("/b",)),
        ({f"{ETC}.d/1.conf": "-> /dev/null", f"{USR}.d/1.conf": _says("/b")}, OWN),
        ({"etc/systemd/system/service.d/9.conf": _says("/a"), f"{ETC}.d/1.conf": _says("/b")}, ("/b",)),
        ({"etc/systemd/system/systemd-confext.service.d/1.conf": _says("/a")}, OWN),
        ({f"{ETC}.d/1.conf": f"EnvironmentFile=-/etc/x\n{_says('/a')}", "etc/x": f"{VARIABLE}='/b'\n"}, ("/b",)),
        ({f"{ETC}.d/1.conf": f"EnvironmentFile=-/etc/none\n{_says('/a')}"}, ("/a",)),
        ({f"{ETC}.d/1.conf": _says("relative")}, OWN),
    ],
)
def test_the_units_files_tell(paths: Paths, files: dict[str, str | None], expected: tuple[str, ...]) -> None:
    make_tree(paths.root, files)
    assert with_hierarchies(Host({}, "x86_64", 257), paths).hierarchies_of(Kind.SYSEXT) == expected
