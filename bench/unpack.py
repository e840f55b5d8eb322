"""Fetching an image from a registry and unpacking it, beside what a person would use for that, and beside the floors.

Everything that is measured writes to a disk of its own, empty and freshly made. What is read (the registry's blobs,
archives, programs) is in the page cache for all alike, since each program runs once before the clock starts.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import memory, stopwatch, workloads
from bench.figures import Row
from bench.noop import install
from bench.scratch_disk import fresh_disk
from tests.rig.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.workloads import Workload

    Script = Callable[[Path], str]  # what a shell is to do, writing to that disk

_ROUNDS: Final = {"big": 3, "typical": 5, "ten": 5}
_FORMATS: Final = ("directory", "squashfs")
_MEMORY_GOAL: Final = "at most 200"
_GOALS: Final = {
    ("directory", "skopeo + tar x"): "at most 1.3",
    ("directory", "skopeo, umoci unpack"): "at most 0.4",
    ("squashfs", "skopeo + tar2sqfs"): "at most 1.3",
    ("squashfs", "skopeo, umoci unpack"): "at most 0.2",
}
_OS_RELEASE: Final = "ID=debian\nVERSION_ID=12\n"
_UNSYNCED: Final = "from reconciler.host import store; store.sync_filesystem = lambda _: None"
# Not sha256sum(1), which in Debian 12 does without the processor's instructions for it.
_SHA256: Final = "openssl dgst -sha256"
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Rig:
    """What measuring takes."""

    registry: Registry
    livelayer: Path
    scratch: Path

    def source(self, workload: Workload) -> str:
        """How the image is pulled."""
        return f"docker://{self.registry.address}/{workload.name}:latest"

    def command(self, script: str) -> list[str]:
        """A shell in which skopeo and podman know the registry."""
        return ["/usr/bin/env", f"HOME={self.scratch}/home", "/bin/sh", "-ec", script]

    def apply(self, disk: Path, extension: str, *, before: str = "") -> str:
        """The call of livelayer on a node below `disk` that lists this extension."""
        node = disk / "node"
        for directory in ("etc/livelayer", "usr/lib/systemd"):
            (node / directory).mkdir(parents=True, exist_ok=True)
        (node / "usr/lib/systemd/libsystemd-shared-255.so").touch()
        (node / "usr/lib/os-release").write_text(_OS_RELEASE)
        (node / "etc/livelayer/extensions.yaml").write_text(
            f"settings: {{allow_empty: true}}\nextensions: {{{extension}}}\n"
        )
        start = f"import sys; sys.path.insert(0, {str(self.livelayer)!r}); {before}\n"
        start += "from reconciler.cli import main; main()"
        options = ["--quiet", f"--root={node}", "apply", "--no-refresh"]
        return shlex.join([sys.executable, "-I", "-c", start, *options])


def run() -> list[Row]:
    """Measure every image."""
    with tempfile.TemporaryDirectory(prefix="livelayer-bench-", dir="/var/tmp") as scratch:
        livelayer = Path(scratch, "installed")
        install(livelayer)
        with Registry(Path(scratch, "registry")) as registry:
            settings = Path(scratch, "home/.config/containers/registries.conf")
            settings.parent.mkdir(parents=True)
            settings.write_text(registry.registries_conf())
            rig = _Rig(registry, livelayer, Path(scratch))
            images = (workloads.big(), workloads.typical(), workloads.ten_layers(changed=False))
            rows = [row for workload in images for row in _measure(rig, workload)]
            return [*rows, _withdrawal(rig), _update(rig)]


def _measure(rig: _Rig, workload: Workload) -> list[Row]:
    rig.registry.push(workload.layout, "latest", f"{workload.name}:latest")
    ours = {f"livelayer, {each}": _ours(rig, workload, each) for each in _FORMATS}
    unsynced = _ours(rig, workload, "directory", before=_UNSYNCED)
    scripts = {**ours, "directory, final sync left out": unsynced, **_peers(rig, workload), **_floors(workload)}
    for what, script in scripts.items():  # also brings everything into the page cache
        with fresh_disk(rig.scratch) as disk:
            peak = memory.peak_of(rig.command(script(disk)), stopwatch.ENVIRONMENT)
        goal = f", goal {_MEMORY_GOAL}" if what in ours else ""
        print(f"{workload.name}: {what}: peak memory {peak / _MB:.0f} MB{goal}", flush=True)
    times = _interleaved(rig, scripts, _ROUNDS[workload.name])
    times |= {f"skopeo + {floor}": _sums(times["skopeo"], times[floor]) for floor in _unpackers(times)}
    return [row for each in _FORMATS for row in _rows(workload, each, times)] + _floor_rows(times)


def _interleaved(rig: _Rig, scripts: dict[str, Script], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Each round runs every script once, each time another one first; elapsed and CPU time of each."""
    names = list(scripts)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            with fresh_disk(rig.scratch) as disk:
                found[name].append(stopwatch.measure(rig.command(scripts[name](disk))))
    return found


def _ours(rig: _Rig, workload: Workload, image_format: str, *, before: str = "") -> Script:
    extension = _extension(rig, workload, image_format)
    return lambda disk: rig.apply(disk, extension, before=before)


def _extension(rig: _Rig, workload: Workload, image_format: str, more: str = "") -> str:
    return f"{workload.name}: {{source: '{rig.source(workload)}', format: {image_format}{more}}}"


def _peers(rig: _Rig, workload: Workload) -> dict[str, Script]:
    """What people do by hand."""
    source = rig.source(workload)
    layers = " ".join(f'"$1/layout/blobs/sha256/{digest}"' for digest in workload.digests)
    image = source.removeprefix("docker://")

    def skopeo(disk: Path) -> str:
        return f"set -- {disk}; skopeo copy --quiet {source} oci:$1/layout:image\n"

    def gzip_tar(disk: Path) -> str:
        each = f'for layer in {layers}; do gzip -dc "$layer" | tar --extract --directory="$1/tree"; done'
        return f"{skopeo(disk)}mkdir $1/tree; {each}"

    def podman(disk: Path) -> str:
        places = f"--root={disk}/storage --runroot={disk}/run --storage-driver=overlay"
        return f"podman {places} pull --quiet --tls-verify=false {image} >/dev/null"

    return {
        "skopeo": skopeo,
        "skopeo, umoci unpack": lambda disk: f"{skopeo(disk)}umoci unpack --image $1/layout:image $1/bundle",
        "skopeo, gzip -dc | tar x": gzip_tar,
        "podman pull": podman,
    }


def _floors(workload: Workload) -> dict[str, Script]:
    """What no way can do without, each alone; the last ones make the formats from archives that are there."""
    tars = " ".join(map(str, workload.tars))
    blobs = " ".join(f"{workload.layout}/blobs/sha256/{digest}" for digest in workload.digests)
    isal = f"for blob in {blobs}; do {sys.executable} -m isal.igzip --decompress --stdout $blob; done >/dev/null"
    floors: dict[str, Script] = {
        "sha256 of blob and archive": lambda _: f"{_SHA256} {blobs} {tars} >/dev/null",
        "decompression with isal": lambda _: isal,
        "tar x": lambda disk: f"for tar in {tars}; do tar --extract --file=$tar --directory={disk}; done",
    }
    if len(workload.tars) == 1:  # it cannot lay one over the other
        options = "--quiet --compressor=zstd --comp-extra=level=1"
        floors["tar2sqfs"] = lambda disk: f"tar2sqfs {options} {disk}/out.squashfs <{tars}"
    return floors


def _unpackers(times: dict[str, list[tuple[float, float]]]) -> list[str]:
    return [floor for floor in ("tar x", "tar2sqfs") if floor in times]


def _sums(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(a + b, cpu_a + cpu_b) for (a, cpu_a), (b, cpu_b) in zip(first, second, strict=True)]


_BESIDE: Final = (
    "directory, final sync left out",
    "skopeo + tar x",
    "skopeo + tar2sqfs",
    "skopeo, umoci unpack",
    "skopeo, gzip -dc | tar x",
    "podman pull",
)
_FLOORS: Final = ("skopeo", "sha256 of blob and archive", "decompression with isal", "tar x", "tar2sqfs")


def _rows(workload: Workload, image_format: str, times: dict[str, list[tuple[float, float]]]) -> list[Row]:
    """One format and what it is compared with."""
    subject = _row(f"{workload.name}: livelayer, {image_format}", times[f"livelayer, {image_format}"])
    peers = [what for what in _BESIDE if what in times and (image_format == "directory" or "directory" not in what)]
    goals = {what: _GOALS.get((image_format, what), "") if workload.name == "big" else "" for what in peers}
    return [subject, *(_row(f"  {what}", times[what], subject, goals[what]) for what in peers)]


def _floor_rows(times: dict[str, list[tuple[float, float]]]) -> list[Row]:
    return [_row(f"  floor: {what}", times[what]) for what in _FLOORS if what in times]


def _row(what: str, found: list[tuple[float, float]], subject: Row | None = None, goal: str = "") -> Row:
    return Row(what, [elapsed for elapsed, _ in found], [cpu for _, cpu in found], subject, goal)


def _withdrawal(rig: _Rig) -> Row:
    """Take *big* out of the configuration."""
    workload, times = workloads.big(), []
    for _ in range(_ROUNDS["big"]):
        with fresh_disk(rig.scratch) as disk:
            stopwatch.measure(rig.command(rig.apply(disk, _extension(rig, workload, "directory"))))
            times.append(stopwatch.measure(rig.command(rig.apply(disk, ""))))
    return _row("big withdrawn", times, goal="at most 1000")


def _update(rig: _Rig) -> Row:
    """Follow a tag to an image of which one of ten layers is another one."""
    old, new, times = workloads.ten_layers(changed=False), workloads.ten_layers(changed=True), []
    extension = _extension(rig, old, "directory", ", pull: always")
    served: list[tuple[str, int]] = []
    for _ in range(_ROUNDS["ten"]):
        with fresh_disk(rig.scratch) as disk:
            rig.registry.push(old.layout, "latest", f"{old.name}:latest")
            stopwatch.measure(rig.command(rig.apply(disk, extension)))
            rig.registry.push(new.layout, "latest", f"{new.name}:latest")
            before = rig.registry.served()
            times.append(stopwatch.measure(rig.command(rig.apply(disk, extension))))
            served = rig.registry.served()[len(before) :]
    blobs = [size for uri, size in served if "/blobs/" in uri]
    print(f"one of ten layers changed: {len(blobs)} blobs, {sum(blobs) / _MB:.1f} of {new.size / _MB:.1f} MB fetched")
    return _row("ten: one layer changed", times)
