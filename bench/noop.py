"""A run that has nothing to do, beside what starting Python and importing such a tool's libraries costs anyway."""

from __future__ import annotations

import compileall
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench import stopwatch
from bench.figures import Row
from tests.rig.images import command, write_image
from tests.rig.namespace import Namespace
from tests.rig.node import PROJECT

_EXTENSIONS: Final = (5, 90)
_ROUNDS: Final = 40
_WARM_UP: Final = 4
_MEASURING: Final = 600.0  # seconds it may take
_APPLY: Final = "livelayer apply, in sync"
# `import pydantic` is lazy: it takes a first use to import what every user of pydantic needs.
_PYTHON: Final = {
    "imports": "import argparse, json, logging, pydantic, yaml",
    "imports, BaseModel": "import argparse, json, logging, yaml; from pydantic import BaseModel",
    "bare interpreter": "pass",
}
_GOALS: Final = {"imports": "at most 2.0"}


def run() -> list[Row]:
    """Measure with few extensions, and with about as many as one overlay takes."""
    with tempfile.TemporaryDirectory(prefix="livelayer-bench-", dir="/var/tmp") as scratch:
        livelayer = install(Path(scratch, "installed"))
        layout = Path(scratch, "layout")
        for name in _names(max(_EXTENSIONS)):
            write_image(layout, name, command(name, name))
        return [row for count in _EXTENSIONS for row in _measure(count, livelayer, layout, Path(scratch, str(count)))]


def install(directory: Path) -> str:
    """This checkout as `make install` lays it out, compiled, with the libraries of this Python's environment."""
    shutil.copytree(PROJECT / "reconciler", directory / "reconciler", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(directory, quiet=1)
    start = directory / "livelayer"
    path = f"sys.path.insert(0, {str(directory)!r})"
    start.write_text(f"#!{sys.executable} -I\nimport sys\n{path}\nfrom reconciler.cli import main\nmain()\n")
    start.chmod(0o755)
    return str(start)


def _names(count: int) -> list[str]:
    """Seven letters each: systemd-sysext passes all layers to mount(2) in one page of text."""
    return [f"ext{number:04}" for number in range(count)]


def _measure(count: int, livelayer: str, layout: Path, scratch: Path) -> list[Row]:
    """Merge that many for real, then measure."""
    listed = "".join(f"  {name}: {{source: 'oci:{layout}:{name}'}}\n" for name in _names(count))
    with Namespace(scratch) as node:
        node.path("/etc/livelayer/extensions.yaml").write_text(f"extensions:\n{listed}")
        node.run(livelayer, "apply")
        for name in _names(count):
            node.run(f"/usr/bin/{name}")
        found = _interleaved(node, livelayer)
    apply = Row(f"{_APPLY}, {count} merged", *found[_APPLY])
    peers = (Row(f"  {what}", *found[what], subject=apply, goal=_GOALS.get(what, "")) for what in _PYTHON)
    return [apply, *peers]


def _interleaved(node: Namespace, livelayer: str) -> dict[str, tuple[list[float], list[float]]]:
    """Elapsed and CPU times of each command."""
    python = {what: [sys.executable, "-I", "-c", text] for what, text in _PYTHON.items()}
    asked = {"rounds": _ROUNDS, "warm_up": _WARM_UP, "commands": {_APPLY: [livelayer, "apply"], **python}}
    measuring = node.command(sys.executable, "-I", stopwatch.__file__)
    done = subprocess.run(
        measuring, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True, timeout=_MEASURING
    )
    return {what: (found["times"], found["cpu"]) for what, found in json.loads(done.stdout).items()}
