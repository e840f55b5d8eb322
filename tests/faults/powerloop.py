"""What a guest does until its power is cut: new versions, another set of extensions, converge, and so on.

It runs there with livelayer, the standard library and the module `content`. It tells each step when it begins and
what came of it, one JSON object a line.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.faults import content
else:
    import content

from reconciler.loop import reconcile
from reconciler.loop.session import Options
from reconciler.paths import Paths

_SOURCES: Final = Path("/run/sources")
_CONFIGURATION: Final = Path("/etc/livelayer/extensions.yaml")
_SEARCH: Final = Path("/var/lib/extensions")
_STAGING: Final = Path("/var/lib/livelayer/staging")
_FLUSH: Final = 0x1261  # BLKFLSBUF of linux/fs.h
# What a run imports where there is something to do.
_LAZY: Final = ("loop.apply", "loop.refresh", "fetch.transports.local")


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    # The kernel's own name, since there is no udev; it can be opened once only.
    (device,) = Path("/dev").glob("vport*")
    port = os.open(device, os.O_RDWR)
    orders, answers = os.fdopen(port, "r"), os.fdopen(os.dup(port), "w")
    _warm_up()
    _tell(answers, {"ready": True})
    order = json.loads(orders.readline())
    time.clock_settime(time.CLOCK_REALTIME, order["clock"])
    for device, place, kind in order["mounts"]:
        _mount(device, place, kind)
    step = order["step"]
    _step(answers, step - 1)  # what the power cut has left goes on, with the former sources
    while True:
        _step(answers, step)
        step += 1


def _warm_up() -> None:
    """Let everything that a run needs be in memory, since each machine is woken from here."""
    for name in _LAZY:
        importlib.import_module(f"reconciler.{name}")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/var/lib"], check=True)
    told = _converge(0)
    if not told["in_sync"]:
        raise SystemExit(json.dumps(told))
    subprocess.run(["systemd-sysext", "unmerge"], check=True)
    subprocess.run(["umount", "/var/lib"], check=True)
    shutil.rmtree("/run/livelayer")


def _mount(device: str, place: str, kind: str) -> None:
    """Mount a disk whose first blocks the kernel may have read long ago."""
    descriptor = os.open(device, os.O_RDONLY)
    fcntl.ioctl(descriptor, _FLUSH)
    os.close(descriptor)
    Path(place).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", kind, device, place], check=True)


def _step(answers: IO[str], step: int) -> None:
    _tell(answers, {"begun": step})
    _tell(answers, _converge(step))


def _converge(step: int) -> dict[str, Any]:
    configuration = content.write_sources(_SOURCES, step, _SOURCES)
    _CONFIGURATION.write_text(configuration)
    result = reconcile.converge(Paths(), Options(), "power loop")
    return {
        "done": step,
        "in_sync": result.in_sync,
        "problems": [item.sentence for item in result.problems],
        "links": {path.name: os.readlink(path) for path in _SEARCH.iterdir()},
        "staging": os.listdir(_STAGING) if _STAGING.exists() else [],
        "merged": {path.parent.name: path.read_text().strip() for path in Path("/usr/share").glob("*/version")},
    }


def _tell(answers: IO[str], document: dict[str, Any]) -> None:
    print(json.dumps(document), file=answers, flush=True)


if __name__ == "__main__":
    main()
