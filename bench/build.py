"""Building extensions of a directory, beside the tools that people use for that: time and size.

squashfs beside mksquashfs with the same compression; a disk image beside systemd-repart with the same definitions,
which livelayer runs itself: what it costs to gather, to look into the programs, and to write the tree once more.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import stopwatch, workloads
from bench.figures import Row
from bench.noop import install
from bench.scratch_disk import fresh_disk
from tests.rig.guest import guest_root
from tests.rig.newersystemd import newer_repart
from tests.rig.node import debian_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROUNDS: Final = 3
_SUITE: Final = "bookworm"
_DEFINITIONS: Final = "usr/lib/systemd/repart/definitions/sysext.repart.d"
_SQUASHFS: Final = "mksquashfs {tree} {out} -comp zstd -Xcompression-level 15 -all-root -quiet -no-progress"
_REPART: Final = (
    "systemd-repart --empty=create --size=auto --dry-run=no --offline=yes "
    "--definitions={definitions} --copy-source={tree} {out}"
)
_BUILD: Final = "{livelayer} --quiet build x --from {tree} --output {out} --format {form}"
_GOAL: Final = "at most 1.3"
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Contest:
    """One format, made by livelayer and by its peer."""

    form: str
    peer: str
    commands: Mapping[str, str]  # by who runs them; {tree} and {out} are still to be filled in


def run() -> list[Row]:
    """Measure every tree in every format."""
    with tempfile.TemporaryDirectory(prefix="livelayer-bench-", dir="/var/tmp") as directory:
        scratch = Path(directory)
        contests = _contests(install(scratch / "installed"), scratch)

        return [
            row
            for name, tree in _trees(scratch)
            for contest in contests
            for row in _measure(name, tree, contest, scratch)
        ]


def _contests(livelayer: str, scratch: Path) -> tuple[_Contest, ...]:
    ours = _BUILD.replace("{livelayer}", shlex.quote(livelayer))
    newer = f"PATH={newer_repart(scratch / 'tools')}:$PATH; "
    definitions = scratch / "definitions"
    without = shutil.ignore_patterns("*-verity-sig.conf")
    shutil.copytree(guest_root() / _DEFINITIONS, definitions, ignore=without)
    repart = _REPART.replace("{definitions}", str(definitions))
    return (
        _Contest("squashfs", "mksquashfs", {"livelayer": ours, "mksquashfs": _SQUASHFS}),
        _Contest("ddi", "systemd-repart", {"livelayer": newer + ours, "systemd-repart": newer + repart}),
    )


def _trees(scratch: Path) -> Iterator[tuple[str, Path]]:
    """The image of which fetching is measured, and a small Debian."""
    typical = scratch / "typical"
    typical.mkdir()
    for tar in workloads.typical().tars:
        subprocess.run(["tar", "--extract", f"--file={tar}", f"--directory={typical}"], check=True)
    yield "typical", typical
    debian = scratch / "debian"
    debian.mkdir()
    subprocess.run(["cp", "--archive", str(debian_root(_SUITE) / "usr"), str(debian)], check=True)
    yield "debian", debian


def _measure(name: str, tree: Path, contest: _Contest, scratch: Path) -> list[Row]:
    found: dict[str, list[tuple[float, float]]] = {who: [] for who in contest.commands}
    sizes: dict[str, int] = {}
    for turn in range(-1, _ROUNDS):  # the first one only brings everything into the page cache
        order = list(contest.commands) if turn % 2 else list(reversed(contest.commands))
        for who in order:
            with fresh_disk(scratch) as disk:
                out = disk / "out.raw"
                script = contest.commands[who].format(tree=tree, out=out, form=contest.form)
                measured = stopwatch.measure(["/bin/sh", "-ec", script])
                sizes[who] = out.stat().st_size
            if turn >= 0:
                found[who].append(measured)
    ratio = sizes["livelayer"] / sizes[contest.peer]
    told = ", ".join(f"{who} {size / _MB:.1f} MB" for who, size in sizes.items())
    print(f"{name}: {contest.form}: {told}, ratio {ratio:.2f}", flush=True)
    subject = _row(f"build {name}: livelayer, {contest.form}", found["livelayer"])
    return [subject, _row(f"  {contest.peer}", found[contest.peer], subject, _GOAL)]


def _row(what: str, found: list[tuple[float, float]], subject: Row | None = None, goal: str = "") -> Row:
    return Row(what, [elapsed for elapsed, _ in found], [cpu for _, cpu in found], subject, goal)
