"""A guest's disk, and the power cuts that it has to bear: what it holds after each, and that a run repairs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from reconciler.host.sources.local import Tree as SourceTree
from tests.faults import content, invariants
from tests.rig.mounteddisk import MountedDisks
from tests.rig.newererofs import newer_mkfs
from tests.rig.writelog import lose_cache, read_log

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from tests.rig.powercut import Machine

_STATE: Final = "var/lib/livelayer"
_STORE: Final = f"{_STATE}/store/sha256"
_SEARCH: Final = "var/lib/extensions"
_IMAGES: Final = ".erofs"
_KEPT: Final = 12  # entries of the store; older ones are removed, as an administrator would for their space
_STEP: Final = 4.0  # seconds, for a start: it is measured


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of the guest, where it is mounted, and what with."""

    file: Path
    place: str = ""
    kind: str = ""

    def format(self) -> None:
        """Make an empty file system."""
        subprocess.run([f"mkfs.{self.kind}", "-q", str(self.file)], check=True, capture_output=True)


@dataclass(slots=True)
class Run:
    """What a guest has told between two cuts."""

    begun: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    since: float = 0.0
    seconds: float = _STEP  # of the last step that was done

    def possible(self, *, certain: bool) -> list[int]:
        """The steps that the disk may show; `certain`: what was called done must be there."""
        first = max(self.done, default=0) if certain else 0
        return [it for it in self.begun if it >= first]


class Versions:
    """The entries that steps make."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._names: dict[tuple[str, int], str] = {}
        self._fingerprints: dict[str, str] = {}

    def known_until(self, step: int) -> dict[str, str]:
        """What each entry holds, by its name."""
        for number in range(step + 1):
            for name in content.NAMES:
                self.entry(name, number)
        return dict(self._fingerprints)

    def links(self, step: int) -> dict[str, str]:
        """The links that there are after a step."""
        wanted = content.wanted(step).items()
        links = {f"{name}.raw" if content.form(name, it) == "erofs" else name: (name, it) for name, it in wanted}
        return {link: self.entry(*version) for link, version in links.items()}

    def entry(self, name: str, number: int) -> str:
        """How the store calls a version."""
        if (name, number) not in self._names:
            with tempfile.TemporaryDirectory(dir=self._scratch) as scratch:
                tree = Path(scratch, "tree")
                content.write_tree(tree, name, number)
                digest = content.source_digest(Path(scratch, "source"), name, number)
                # A directory's digest is livelayer's own; it serves as a name here.
                digest = digest or SourceTree(tree).digest().removeprefix("sha256:")
                entry = f"{digest}.{content.form(name, number)}"
                self._fingerprints[entry] = invariants.fingerprint(tree)
            self._names[name, number] = entry
        return self._names[name, number]


class Trial:
    """The disk or disks of one guest."""

    def __init__(self, machine: Machine, disks: Sequence[Disk], scratch: Path) -> None:
        self._machine = machine
        self._disks = disks
        self._scratch = scratch
        self._node = scratch / "node"
        _make_node(self._node)
        self._path = f"{newer_mkfs(scratch / 'programs')}:{os.environ['PATH']}"
        self._versions = Versions(scratch)
        self._step = 1  # the next one
        self._links: dict[str, str] = {}  # as they were found last
        self._had_last_good = False
        self._seconds = _STEP

    def cut(self, dice: random.Random, losses: int) -> str:
        """Let the guest work, cut its power, and look at the disk.

        Args:
            dice: decide on everything.
            losses: at how many other instants to look, with what was in the disk's cache lost.

        Returns:
            What was done.
        """
        before, log = self._scratch / "before", self._scratch / "log"
        if losses:
            _copy(self._disks[0].file, before)
        began = time.monotonic()
        run = self._work(dice, log if losses else None)
        what = f"steps {run.begun} begun, {run.done} done"
        self._confirm(run.wrong, what)
        for number in range(losses):
            self._look_at_loss(dice, before, log, run, f"{what}; loss {number}")
        self._look(self._disks, run, what, certain=True)
        self._step = max(run.begun) + 1
        self._seconds = run.seconds
        if dice.random() < 0.5:  # else the guest does, when it is woken
            self.repair(self._disks, what)
        return f"{what}; {time.monotonic() - began:.0f} s"

    def repair(self, disks: Sequence[Disk] | None = None, what: str = "in the end") -> None:
        """A further run, here: it must bring what is configured, and take away what interrupted ones have left."""
        with self._mounted(disks or self._disks) as mounted:
            configuration = content.write_sources(self._node / "run/sources", self._step, Path("/run/sources"))
            (self._node / "etc/livelayer/extensions.yaml").write_text(configuration)
            # The same place with and without the root in front: skopeo knows of no other root.
            mounted.run("mkdir", "/run/sources")
            mounted.run("mount", "--bind", str(self._node / "run/sources"), "/run/sources")
            command = str(Path(sys.executable).parent / "livelayer")
            said = mounted.run("env", f"PATH={self._path}", command, "--root", str(self._node), "apply")
            self._links = _links(mounted.root)
            wrong = [*self._faults(mounted), *invariants.leftovers(mounted.root)]
            if self._links != self._versions.links(self._step):
                wrong.append(f"a run for step {self._step} leaves {self._links}:\n{said}")
            self._confirm(wrong, what)

    def _work(self, dice: random.Random, log: Path | None) -> Run:
        """Up to the cut: within a step, or a little after it."""
        run = Run(seconds=self._seconds)
        mounts = [[f"/dev/vd{'bc'[number]}", f"/{it.place}", it.kind] for number, it in enumerate(self._disks)]
        files = [*(it.file for it in self._disks), self._machine.new_disk("spare")][:2]  # it always has two
        self._machine.wake(files, log, {"clock": time.time(), "mounts": mounts, "step": self._step})
        steps = dice.choice((1, 2, 2))
        while len(run.begun) < steps:
            line = self._machine.next_line()
            assert line, self._machine.last_words()
            self._take(run, line)
        deadline = time.monotonic() + dice.uniform(0, 1.2) * run.seconds
        while (left := deadline - time.monotonic()) > 0:
            if line := self._machine.next_line(left):
                self._take(run, line)
        for line in self._machine.cut():
            self._take(run, line)
        return run

    def _take(self, run: Run, line: dict[str, Any]) -> None:
        if "begun" in line:
            run.begun.append(line["begun"])
            run.since = time.monotonic()
            return
        step = line["done"]
        run.done.append(step)
        run.seconds = time.monotonic() - run.since
        links = {name: Path(target).name for name, target in line["links"].items()}
        merged = {name: str(number) for name, number in content.wanted(step).items()}
        if not line["in_sync"] or links != self._versions.links(step) or line["merged"] != merged or line["staging"]:
            run.wrong.append(f"after step {step} the guest is not as it should be: {json.dumps(line)}")

    def _look_at_loss(self, dice: random.Random, before: Path, log: Path, run: Run, what: str) -> None:
        requests = read_log(log)
        if not requests:
            return
        disk = Disk(self._scratch / "lossy", self._disks[0].place, self._disks[0].kind)
        _copy(before, disk.file)
        what = f"{what}: {lose_cache(disk.file, log, requests[: dice.randrange(1, len(requests) + 1)], dice)}"
        links = self._links
        self._look([disk], run, what, certain=False)
        self.repair([disk], what)
        self._links = links

    def _look(self, disks: Sequence[Disk], run: Run, what: str, *, certain: bool) -> None:
        with self._mounted(disks) as mounted:
            self._confirm([*self._faults(mounted), *self._progress_faults(mounted.root, run, certain=certain)], what)
            if certain:
                self._links = _links(mounted.root)
                self._had_last_good |= _last_good(mounted.root) is not None
                _drop_old(mounted.root / _STORE, set(self._links.values()))

    def _faults(self, mounted: MountedDisks) -> Iterator[str]:
        """What must never be, whenever the power is cut."""
        state = mounted.root / _STATE
        complete = self._complete(mounted)
        yield from invariants.link_faults(mounted.root / _SEARCH, complete)
        yield from invariants.store_faults(state, complete)
        # Lists of files are not synced: what is damaged there is made anew.
        yield from (it for it in invariants.record_faults(state) if "/file-lists/" not in it)
        yield from invariants.record_faults(state / "generations")

    def _complete(self, mounted: MountedDisks) -> Mapping[str, str]:
        """What there may be in the store; an image file with the right content is as it should be."""
        complete = self._versions.known_until(self._step + 5)
        store = mounted.root / _STORE
        images = [path for path in store.glob(f"*{_IMAGES}") if path.name in complete] if store.is_dir() else []
        for image in images:
            if _opened(mounted, image.name) == complete[image.name]:
                complete[image.name] = invariants.fingerprint(image)
        return complete

    def _progress_faults(self, root: Path, run: Run, *, certain: bool) -> Iterator[str]:
        """Each link is as it was before, or as one of the steps since has it; no extension is lost in between."""
        possible = run.possible(certain=certain)
        sets = [self._versions.links(it) for it in possible]
        if not (certain and run.done):
            sets.insert(0, self._links)
        found = _links(root)
        for name in sorted({*found, *(name for it in sets for name in it)}):
            allowed = [it.get(name) for it in sets]
            if found.get(name) not in allowed:
                yield f"{name} leads to {found.get(name)}, which is none of {allowed}"
        for name in content.NAMES:
            if all(_has(it, name) for it in sets) and not _has(found, name):
                yield f"{name} has no link, and had one before and after"
        if certain and run.done:
            yield from _last_good_faults(root, [{*content.wanted(it)} for it in possible])
        elif self._had_last_good and _last_good(root) is None:
            yield "the last good configuration is lost"

    def _mounted(self, disks: Sequence[Disk]) -> MountedDisks:
        return MountedDisks(self._node, [(it.file, it.place, it.kind) for it in disks])

    def _confirm(self, wrong: Sequence[str], what: str) -> None:
        if wrong:
            pytest.fail("\n".join([what, *wrong, "the guest's last words:", self._machine.last_words()]))


def _opened(mounted: MountedDisks, image: str) -> str:
    """The fingerprint of what is in an image file, or why there is nothing."""
    place = Path("/run/image")
    try:
        mounted.mount(mounted.inner_root / _STORE / image, place, "erofs", "loop,ro")
    except AssertionError as error:
        return str(error)
    try:
        return invariants.fingerprint(mounted.seen(place))
    finally:
        mounted.run("umount", str(place))


def _last_good_faults(root: Path, sets: list[set[str]]) -> Iterator[str]:
    found = _last_good(root)
    if found not in sets:
        yield f"the last good configuration lists {found}, which is none of {sets}"


def _last_good(root: Path) -> set[str] | None:
    """The extensions of the last good configuration; None: there is none."""
    try:
        return set(json.loads((root / _STATE / "desired.json").read_bytes())["extensions"])
    except FileNotFoundError:
        return None


def _links(root: Path) -> dict[str, str]:
    """The links, and the entries of the store that they lead to."""
    directory = root / _SEARCH
    found = [path for path in directory.iterdir() if path.is_symlink()] if directory.is_dir() else []
    return {path.name: path.readlink().name for path in found if not path.name.startswith(".#")}


def _has(links: Mapping[str, str], name: str) -> bool:
    return name in links or f"{name}.raw" in links


def _make_node(node: Path) -> None:
    for directory in ("etc/livelayer", "var/lib", "run", "usr/lib/systemd"):
        (node / directory).mkdir(parents=True)
    (node / "etc/os-release").write_text('ID=debian\nVERSION_ID="13"\n')
    (node / "usr/lib/systemd/libsystemd-shared-257.so").touch()


def _copy(disk: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(disk), str(target)], check=True)


def _drop_old(store: Path, needed: set[str]) -> None:
    """Remove the oldest entries that no link leads to."""
    entries = [path for path in store.iterdir() if path.suffix != ".json"] if store.is_dir() else []
    for path in sorted(entries, key=lambda path: path.lstat().st_ctime_ns)[:-_KEPT]:
        if path.name in needed:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
