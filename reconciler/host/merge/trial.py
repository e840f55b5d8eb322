"""Let systemd merge in a mount namespace of this process's own, to learn what it makes of an extension.

Nothing of it reaches the node: there, what is merged stays merged. The namespace has a search directory with the
extension in question and one that is known to be good, and whether anything merges tells which is which.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.host.base.command import run, script
from reconciler.host.base.mounts import parse_mounts
from reconciler.host.merge.overlay import merged_hierarchies, read_hierarchies
from reconciler.model.fit.hierarchies import variable_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.model.kind import Kind
    from reconciler.model.state.observed import Unmanaged
    from reconciler.paths import Paths

_TIMEOUT: Final = 30.0  # seconds
_NAMED: Final = re.compile(r"\bimage '?(?P<name>[^\s':;]+)'?:")  # "Failed to read metadata for image NAME: ..."
_MOST: Final = 20  # trials; each takes a tenth of a second
_GOOD: Final = "livelayer-trial"
_PROGRAMS: Final = ("mount", "mkdir", "cat")
# Merges appear where propagation is shared; inside this namespace only, since it was made private before.
_ENTER: Final = """
set -e
mount --make-rshared /
kind=$1; shift
"""
_ALONE: Final = """
workplace=$1 releases=$2 good=$3 subject=$4; shift 4
mount -t tmpfs tmpfs "$workplace"
search=$workplace/search
mkdir -p "$workplace/nothing" "$search/$good/$releases"
echo ID=_any > "$search/$good/$releases/extension-release.$good"
place=$search/${subject##*/}
if [ -d "$subject" ]; then mkdir "$place"; else : > "$place"; fi
mount --rbind "$subject" "$place"
for directory; do
    [ -d "$directory" ] || continue
    mount --rbind "$search" "$directory"
    search=$workplace/nothing
done
"""
_MERGE: Final = """
systemd_$kind unmerge > /dev/null || :
systemd_$kind merge > /dev/null || :
cat /proc/self/mountinfo
"""


def culprits(paths: Paths, systemd: int, suspects: Sequence[Unmanaged], words: str) -> tuple[Path, ...]:
    """Those that systemd names, if it does (252 names none with an os-release), else those that spoil a trial."""
    names = named_in(words)
    if named := tuple(it.path for it in suspects if it.name in names):
        return named
    return tuple(it.path for it in suspects[:_MOST] if spoils_others(paths, it.kind, systemd, it.path))


def named_in(words: str) -> frozenset[str]:
    return frozenset(match["name"] for match in _NAMED.finditer(words))


def spoils_others(paths: Paths, kind: Kind, systemd: int, subject: Path) -> bool | None:
    """Whether an extension keeps a good one beside it from being merged; None: that could not be found out."""
    workplace = paths.runtime / "trial"
    try:
        workplace.mkdir(exist_ok=True)
    except OSError:
        return None
    directories = [str(directory) for directory in paths.search_dirs(kind, systemd)]
    merges = _merges(_ALONE, kind, str(workplace), kind.traits.releases, _GOOD, str(subject), *directories)
    return None if merges is None else not merges


def all_merge(kind: Kind) -> bool | None:
    """Whether what the search directories hold now could be merged at all; None: that could not be found out."""
    return _merges("", kind)


def keeps_mounts(kind: Kind, hierarchies: Sequence[str], points: Sequence[str]) -> bool | None:
    """Whether these mounts are there after a merge; None: that could not be found out."""
    shown = _mounts_after("", kind, hierarchies)
    return None if shown is None else set(points) <= {it.point for it in parse_mounts(shown)}


def _merges(set_up: str, kind: Kind, *arguments: str) -> bool | None:
    # Those of the node's unit, which the environment here does not tell.
    shown = _mounts_after(set_up, kind, read_hierarchies(kind), *arguments)
    return None if shown is None else bool(merged_hierarchies(shown, kind))


def _mounts_after(set_up: str, kind: Kind, hierarchies: Sequence[str], *arguments: str) -> str | None:
    env = {variable_of(kind): ":".join(hierarchies)} if hierarchies else {}
    try:
        begin = script(_ENTER + set_up + _MERGE, *_PROGRAMS, f"systemd-{kind}")
        command = ("unshare", "--mount", "--propagation=private", *begin, "trial", str(kind), *arguments)
        finished = run(*command, timeout=_TIMEOUT, env=env)
    except ReconcilerError:
        return None
    return finished.stdout.decode(errors="surrogateescape") if finished.status == 0 else None
