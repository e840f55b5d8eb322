"""Plan, apply, run a command from the merged overlay, update, remove; nothing outside a namespace is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.images import command, write_image
from tests.rig.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

LIVELAYER = str(Path(sys.executable).parent / "livelayer")


def main() -> None:
    """Show it."""
    if os.geteuid() != 0:
        sys.exit("make demo needs root: it merges with the real systemd-sysext, in a private mount namespace")
    with tempfile.TemporaryDirectory(prefix="livelayer-demo-", dir="/var/tmp") as scratch:
        layout = Path(scratch, "layout")
        for version in ("v1", "v2"):
            write_image(layout, version, command("hello", f"hello from a system extension, {version}"))
        with Namespace(Path(scratch, "node")) as node:
            _show(node, layout)


def _show(node: Namespace, layout: Path) -> None:
    _title("Desired state: one extension, from a container image")
    _configure(node, f"extensions:\n  hello:\n    source: oci:{layout}:v1\n")
    _run(node, [LIVELAYER, "plan"], 2)
    _title("Converge")
    _run(node, [LIVELAYER, "apply"])
    _title("A command from the merged overlay: /usr/bin/hello was not there before")
    _run(node, ["/usr/bin/hello"])
    _run(node, [LIVELAYER, "status"])
    _title("A second run has nothing to do")
    _run(node, [LIVELAYER, "apply"])
    _title("Update: another tag in the file")
    _configure(node, f"extensions:\n  hello:\n    source: oci:{layout}:v2\n")
    _run(node, [LIVELAYER, "apply"])
    _run(node, ["/usr/bin/hello"])
    _title("Removal")
    _configure(node, "settings:\n  allow_empty: true\nextensions: {}\n")
    _run(node, [LIVELAYER, "apply"])
    _run(node, ["test", "!", "-e", "/usr/bin/hello"])
    _title("Done: /usr is as it was, and this machine's own /usr was never touched")


def _configure(node: Namespace, text: str) -> None:
    node.path("/etc/livelayer/extensions.yaml").write_text(text)
    print("".join(f"    {line}\n" for line in text.splitlines()), end="", flush=True)


def _run(node: Namespace, arguments: Sequence[str], status: int = 0) -> None:
    print(f"# {' '.join(arguments).replace(LIVELAYER, 'livelayer')}", flush=True)
    done = subprocess.run(node.command(*arguments), check=False)
    if done.returncode != status:
        sys.exit(f"the demo failed: status {done.returncode} instead of {status}")


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)


main()
