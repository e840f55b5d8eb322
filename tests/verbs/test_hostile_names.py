"""Names that others chose, with escape sequences and line breaks, in what every verb prints."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.model.kind import Kind
from tests.commandline import run
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from reconciler.paths import Paths

EVIL = "a\x1b[2J\n<2>forged\udcff"
VERBS = (
    ("plan",),
    ("apply", "--dry-run"),
    ("status",),
    ("status", "--verbose"),
    ("explain", "one"),
    ("explain", "two"),
    ("explain", EVIL),
    ("provides", f"/usr/share/{EVIL}"),
    ("history",),
    ("rollback",),
    ("gc", "--dry-run"),
    ("verify",),
    ("validate",),
    ("inspect", "{one}"),
    ("lint", "{one}"),
    ("apply",),
)


@pytest.fixture
def hostile(paths: Paths) -> Paths:
    """Two extensions with the same odd names, placed; odd names in every directory, and in records."""
    sources = {"one": "docker://registry/one:v1", "two": "docker://registry/two:v1"}
    for letter, (name, source) in zip("ab", sources.items(), strict=True):
        tree = paths.store / fill_store(paths, source, name, letter).file_name
        for odd in (f"usr/share/{EVIL}", f"usr/lib/systemd/system/{EVIL}.service"):
            (tree / odd).parent.mkdir(parents=True, exist_ok=True)
            (tree / odd).write_text("[Service]\nExecStart=/x\n")
    configure(paths, "extensions: {" + ", ".join(f"{n}: {{source: '{s}'}}" for n, s in sources.items()) + "}")
    assert run("--root", paths.root, "-q", "apply") == 0
    (paths.dropin_dirs[0] / f"{EVIL}.yml").touch()
    (paths.links(Kind.SYSEXT) / EVIL / "usr").mkdir(parents=True)
    (paths.generations / "7.json").write_text("damaged")
    record = paths.generations / "1.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"by": EVIL, "cause": EVIL}))
    return paths


@pytest.mark.parametrize("into_journal", [False, True])
@pytest.mark.parametrize("verb", VERBS, ids=lambda it: it[0])
def test_no_verb_prints_a_control_character(
    verb: tuple[str, ...],
    into_journal: bool,  # noqa: FBT001
    hostile: Paths,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if into_journal:
        stream = os.fstat(sys.stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    (one,) = hostile.store.glob("*aaaa.directory")
    capfd.readouterr()
    run("--root", hostile.root, *(word.format(one=one) for word in verb))
    printed = "".join(capfd.readouterr())
    assert printed
    assert not [it for it in printed if not (it.isprintable() or it == "\n")]
    assert not [line for line in printed.splitlines() if line.startswith("<2>")]


def test_odd_names_are_printed_so_that_they_can_be_told(hostile: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    run("--root", hostile.root, "explain", "one")
    assert r"a\x1b[2J\n<2>forged\udcff" in capsys.readouterr().out
