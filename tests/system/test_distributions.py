"""The table of distributions and release files, held to real systemd-sysexts of several versions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.host.node.machine import looks_at_id_like, systemd_version
from reconciler.model.fit.assignments import read_assignments
from reconciler.paths import Paths
from tests.model.fit.distributions import DISTRIBUTIONS, RELEASES
from tests.rig.foreignroot import ForeignRoot
from tests.rig.releases import RELEASES as SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.system, pytest.mark.commands]
_MERGE_ON_EACH: Final = """
set -e
cd /hosts
for host in *; do
    cp --remove-destination "$host" /etc/os-release
    systemd-sysext refresh >/dev/null
    echo "$host" $(cat /usr/.systemd-sysext/extensions)
done
systemd-sysext unmerge
"""


@pytest.fixture(scope="module", params=SYSTEMS, ids=str)
def foreign(request: pytest.FixtureRequest) -> Iterator[ForeignRoot]:
    """A system with an extension for each release file of the table, and the os-release files of its hosts."""
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir="/var/tmp") as scratch:
        foreign = ForeignRoot(request.param.suite, Path(scratch, "root"))
        for name, text in RELEASES.items():
            _place(foreign.root, name, text.encode())
        (foreign.root / "hosts").mkdir()
        for distribution in DISTRIBUTIONS:
            (foreign.root / "hosts" / distribution.name).write_bytes(distribution.os_release)
        yield foreign


def test_systemd_judges_as_the_table_and_livelayer_do(foreign: ForeignRoot) -> None:
    paths = Paths(foreign.root)
    systemd = systemd_version(paths)
    like = looks_at_id_like(paths, systemd)
    done = foreign.run(_MERGE_ON_EACH)
    assert done.returncode == 0, done.stderr
    merged = {host: sorted(names) for host, *names in map(str.split, done.stdout.splitlines())}
    assert merged == {it.name: it.judged(systemd, like=like) for it in DISTRIBUTIONS}
    assert merged == {it.name: it.expected(like=like) for it in DISTRIBUTIONS}


@pytest.mark.parametrize("text", [b"ID=_any\nNAME=caf\xe9\n", b"ID=_any\n#\0\n"], ids=["no UTF-8", "NUL"])
def test_a_release_file_that_is_no_text_says_nothing(foreign: ForeignRoot, text: bytes) -> None:
    _place(foreign.root, "any", text)
    done = foreign.run("systemd-sysext refresh >/dev/null; cat /usr/.systemd-sysext/extensions")
    _place(foreign.root, "any", RELEASES["any"].encode())
    merged = done.stdout.split()
    assert "any-single" in merged
    assert "any" not in merged
    assert read_assignments(text.decode(errors="replace")) == {}


def _place(root: Path, name: str, release: bytes) -> None:
    directory = root / f"var/lib/extensions/{name}/usr/lib/extension-release.d"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"extension-release.{name}").write_bytes(release)
