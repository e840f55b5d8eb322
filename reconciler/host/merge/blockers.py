"""What others placed and what makes systemd merge nothing at all, found before systemd meets it.

A system extension's directory with a /usr/lib/os-release does (measured on systemd 252, 257 and 262; never one of a
configuration extension), one that lies in a hierarchy onto which it would be merged (the kernel takes no layer that
is part of another one, and by then the old overlay is gone), and image files as `judgeimage` finds them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import ReconcilerError
from reconciler.host.base.durable import read_json, write_json
from reconciler.host.merge.judgeimage import Finding, judge
from reconciler.host.merge.masks import place_for
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.host.store.entries import inspect
from reconciler.model.fit.hierarchies import default_hierarchies
from reconciler.model.fit.release import misfit
from reconciler.model.kind import Kind
from reconciler.model.state.observed import Blocker
from reconciler.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.model.fit.release import Host
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.observed import Masked, Unmanaged

_OS_RELEASE: Final = "/usr/lib/os-release"


def find(
    paths: Paths, host: Host, unmanaged: Sequence[Unmanaged], masks: Sequence[Masked] = ()
) -> tuple[Blocker, ...]:
    """The extensions on whose account systemd would merge nothing.

    What others placed comes in systemd's order of search directories and without masks, which are apart.
    """
    memory = _Memory(paths, masks)
    found = []
    for item in _taken(unmanaged):
        flaw = _flaw(item, host, memory)
        if flaw:
            # What kairos-agent manages is not touched.
            found.append(Blocker(item, flaw, None if item.agent else place_for(paths, item, host.systemd)))
    memory.save()
    return tuple(found)


def _taken(unmanaged: Iterable[Unmanaged]) -> Iterator[Unmanaged]:
    """Those that systemd takes of each name: of the first directory, and there of the first that it comes upon."""
    groups: dict[ExtensionId, list[Unmanaged]] = {}
    for item in unmanaged:
        if item.searched:
            groups.setdefault(item.ident, []).append(item)
    for group in groups.values():
        beside = [it for it in group if it.place.parent == group[0].place.parent]
        yield beside[0] if len(beside) == 1 else min(beside, key=lambda it: _place_in_directory(it.place))


def _place_in_directory(path: Path) -> int:
    names = os.listdir(path.parent)  # noqa: PTH208 - in the order of readdir(3), as systemd goes through it
    return names.index(path.name) if path.name in names else len(names)


def _flaw(item: Unmanaged, host: Host, memory: _Memory) -> str | None:
    try:
        status = item.path.stat()
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return _directory_flaw(item, host)
    if not stat.S_ISREG(status.st_mode):
        return None
    rules = host.image_policies.get(item.kind)
    policy = rules.text if rules else None
    if known := memory.recall(item.path, status, policy):
        return known.flaw
    if os.geteuid() != 0:
        return memory.masked.get(item.path)  # who may not look can only repeat what was found

    finding = judge(item.path, item.kind, host)
    memory.keep(item.path, status, policy, finding)
    return finding.flaw


def _directory_flaw(item: Unmanaged, host: Host) -> str | None:
    """Links are followed as if the directory were the root."""
    if item.kind is Kind.SYSEXT and os.path.lexists(Paths(item.path).under(_OS_RELEASE)):
        return f"it has {_OS_RELEASE}"
    usual = default_hierarchies(item.kind)
    if not any(_is_within(item.path, it) for it in usual):
        return None
    own = with_hierarchies(host, Paths()).hierarchies.get(item.kind, usual)
    hierarchy = next((it for it in own if _is_within(item.path, it)), None)
    release = inspect(item.path, item.kind).releases.get(item.name)
    if hierarchy is None or release is None or misfit(release, host, item.kind):
        return None  # it is ignored
    return f"it lies in {hierarchy}, onto which it would be merged"


def _is_within(extension: Path, place: str) -> bool:
    """Whether a layer of an overlay would be part of another one; on another file system it is none."""
    layer, hierarchy = Path(f"{extension}{place}").resolve(), Path(place).resolve()
    return layer.is_relative_to(hierarchy) and layer.is_dir() and layer.stat().st_dev == hierarchy.stat().st_dev


class _Memory:
    """What was found of image files, by what stat(2) tells of them; until the next boot."""

    def __init__(self, paths: Paths, masks: Sequence[Masked]) -> None:
        self.masked = {mask.file: mask.reason for mask in masks}
        self._file = paths.judged
        self._known: dict[str, Any] | None = None
        self._kept: dict[str, list[Any]] = {}

    def recall(self, path: Path, status: os.stat_result, policy: str | None) -> Finding | None:
        """What was found if the file is the same as when it was judged, the policy too if it is known now."""
        if self._known is None:
            document = read_json(self._file)
            self._known = document if isinstance(document, dict) else {}
        match self._known.get(str(path)):
            case [[*fingerprint], judged_by, None | str() as flaw] if fingerprint == _fingerprint(status):
                if policy in {None, judged_by}:
                    self._kept[str(path)] = [fingerprint, judged_by, flaw]
                    return Finding(flaw)
        return None

    def keep(self, path: Path, status: os.stat_result, policy: str | None, finding: Finding) -> None:
        if finding.lasts:
            self._kept[str(path)] = [_fingerprint(status), policy, finding.flaw]

    def save(self) -> None:
        """Write it down, where it is new; whoever may not does without."""
        if self._known is None or self._kept == self._known:
            return
        try:
            write_json(self._file, self._kept, durable=False)
        except ReconcilerError:
            return


def _fingerprint(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
