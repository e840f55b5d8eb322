"""Comparing all that is placed with its manifest, beside reading and hashing the same files with coreutils.

The tree is /usr of a minimal Debian as one extension, in the page cache: what it costs to look, not the disk.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench import stopwatch
from bench.figures import Row
from bench.noop import install
from tests.rig.node import debian_root

_ROUNDS: Final = 10
_WARM_UP: Final = 1
_MEASURING: Final = 1200.0  # seconds it may take
_OURS: Final = "livelayer verify"
_PEER: Final = "find | xargs -P2 sha256sum"
_PEERS: Final = "cd {tree} && find . -type f -print0 | xargs -0 -P2 -n256 sha256sum >/dev/null"


def run() -> list[Row]:
    """Measure one large extension."""
    with tempfile.TemporaryDirectory(prefix="livelayer-bench-", dir="/var/tmp") as directory:
        scratch = Path(directory)
        livelayer, node = install(scratch / "installed"), _node(scratch / "node")
        ours = [livelayer, "--root", str(node), "--quiet"]
        subprocess.run([*ours, "apply"], check=True)
        (tree,) = (node / "var/lib/livelayer/store/sha256").glob("*.directory")
        peer = ["/bin/sh", "-c", _PEERS.format(tree=shlex.quote(str(tree)))]
        return _measure({_OURS: [*ours, "verify"], _PEER: peer})


def _node(node: Path) -> Path:
    """A root whose one extension is a Debian's /usr."""
    tree = node / "srv/x"
    for directory in (node / "etc/livelayer", node / "run", tree):
        directory.mkdir(parents=True)
    subprocess.run(["cp", "--archive", str(debian_root("bookworm") / "usr"), str(tree)], check=True)
    (tree / "usr/lib/os-release").unlink()
    release = tree / "usr/lib/extension-release.d/extension-release.x"
    release.parent.mkdir(exist_ok=True)
    release.write_text("ID=_any\n")
    (node / "etc/os-release").write_text("ID=debian\n")
    (node / "etc/livelayer/extensions.yaml").write_text("extensions: {x: {source: 'file:///srv/x'}}\n")
    return node


def _measure(commands: dict[str, list[str]]) -> list[Row]:
    asked = {"rounds": _ROUNDS, "warm_up": _WARM_UP, "commands": commands}
    command = [sys.executable, "-I", stopwatch.__file__]
    done = subprocess.run(
        command, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True, timeout=_MEASURING
    )
    found = json.loads(done.stdout)
    ours = Row(f"{_OURS}, /usr of Debian", found[_OURS]["times"], found[_OURS]["cpu"])
    return [ours, Row(f"  {_PEER}", found[_PEER]["times"], found[_PEER]["cpu"], subject=ours)]
