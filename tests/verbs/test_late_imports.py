"""What a run with nothing to do must not load: a new interpreter says what it has loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.seed import configure, converge, fill_store

if TYPE_CHECKING:
    from reconciler.paths import Paths

SOURCE: Final = "docker://registry/x:v1"
# To start programs, to ask the network, to draw tables, to read programs; and what they bring.
LATE: Final = frozenset({"asyncio", "elftools", "http", "packaging", "pycurl", "rich", "sh", "ssl", "subprocess"})
LATE_MODULES: Final = frozenset(
    {"urllib.request", "concurrent.futures", "reconciler.host.base.command", "reconciler.loop.change"}
)
_RUN: Final = """
import os, sys

def end(status):
    print(status, *sys.modules, sep="\\n", file=sys.stderr, flush=True)
    leave(0)

leave, os._exit = os._exit, end
from reconciler import cli
cli.main()
"""


@pytest.mark.commands
@pytest.mark.parametrize("verb", [["apply", "--offline"], ["status", "--json"]], ids=["apply", "status"])
def test_a_node_in_sync_loads_nothing_that_works(paths: Paths, verb: list[str]) -> None:
    configure(paths, f"extensions: {{x: {{source: '{SOURCE}'}}}}")
    fill_store(paths, SOURCE, "x", "a")
    assert converge(paths, offline=True).in_sync
    words = [sys.executable, "-c", _RUN, "--root", str(paths.root), "--quiet", *verb]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stderr.split("\n")
    assert "0" in told  # the exit status
    loaded = set(told)
    assert "reconciler.loop.reconcile" in loaded
    assert {it for it in loaded if it.partition(".")[0] in LATE or it in LATE_MODULES} == set()
