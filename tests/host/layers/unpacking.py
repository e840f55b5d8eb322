"""A place to unpack layers in, with a tree beside it that must never change."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.host.layers.unpack import unpack
from tests.host import tars
from tests.host.tars import tar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.tars import Entry, Found, Stack

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners and file capabilities take root")


class Bench:
    """Blobs, a target, and what is beside it."""

    def __init__(self, path: Path) -> None:
        self.blobs = path / "blobs"
        self.target = path / "target"
        self.outside = path / "outside"
        self.target.mkdir(mode=0o700)
        (self.outside / "inner").mkdir(parents=True)
        (self.outside / "sentinel").write_text("untouched")
        (self.outside / "inner/sentinel").write_text("untouched")
        self._before = self.beside()

    def beside(self) -> dict[str, Found]:
        everything = tars.tree(self.target.parent)
        return {path: found for path, found in everything.items() if path.split("/")[0] == "outside"}

    def unpack(self, stack: Stack) -> dict[str, str]:
        shutil.rmtree(self.target)
        self.target.mkdir(mode=0o700)
        threads = set(threading.enumerate())
        try:
            unpack(stack.layers, stack.blob_of, self.target)
        finally:
            assert set(threading.enumerate()) <= threads
            assert self.beside() == self._before
            assert sorted(os.listdir(self.target.parent)) == ["blobs", "outside", "target"]
        return tars.contents(self.target)

    def unpack_bytes(self, stack: Stack) -> list[str]:
        """Unpack into an emptied target what need not be text."""
        shutil.rmtree(self.target)
        self.target.mkdir()
        unpack(stack.layers, stack.blob_of, self.target)
        return list(tars.tree(self.target))

    def unpack_layers(self, *layers: list[Entry]) -> dict[str, str]:
        return self.unpack(tars.stack(self.blobs, *(tar(*layer) for layer in layers)))

    def refusal(self, stack: Stack) -> Invalid:
        with pytest.raises(Invalid) as caught:
            self.unpack(stack)
        assert stack.layers[-1].digest in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.hint
        return caught.value

    def found(self, name: str) -> Found:
        return tars.found(self.target / name)
