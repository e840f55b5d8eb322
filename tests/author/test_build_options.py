"""The command line of build: what it prints, in which order it takes sources, and which words it does not take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reconciler.host.sources.local import look_at
from tests.commandline import run

if TYPE_CHECKING:
    from pathlib import Path


def _run(*arguments: object) -> int:
    return run("build", "x", *arguments)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two directories and a program that have the same file, and seven files that are left out."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name / "usr/bin").mkdir(parents=True)
        (tmp_path / name / "usr/bin/tool").write_text(f"#!{name}")
    (tmp_path / "three").mkdir()
    (tmp_path / "three/tool").write_text("#!three")
    for number in range(7):
        (tmp_path / "one" / f"etc/{number}").parent.mkdir(exist_ok=True)
        (tmp_path / "one" / f"etc/{number}").touch()
    return tmp_path


def test_what_is_printed(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--from", "one", "--format", "directory") == 0
    told = capsys.readouterr()
    digest, _, _ = look_at(sources / "x")
    size = sum(path.stat().st_size for path in (sources / "x").rglob("*") if path.is_file())
    assert told.out == f"{sources}/x: directory, {size} bytes, {digest}\n"
    assert told.err.splitlines() == [
        "release file: ID=_any (nothing in it takes a certain system)",
        "left out, since a system extension does not carry /etc; a configuration extension does: --kind confext:",
        *(f"  /etc/{number}" for number in range(5)),
        "  and 2 more; -v shows all",
    ]
    assert _run("-v", "--from", "one", "--format", "directory", "--force") == 0
    assert "  /etc/6\n" in capsys.readouterr().err
    assert _run("-q", "--from", "one", "--format", "directory", "--force") == 0
    assert capsys.readouterr().err == ""


def test_a_document(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--from", "one", "--format", "oci", "-o", "layout", "--json", "--compression", "zstd") == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert told.err == ""
    (entry,) = json.loads((sources / "layout/index.json").read_text())["manifests"]
    assert document | {"size": 0, "dropped": document["dropped"][:1]} == {
        "name": "x",
        "kind": "sysext",
        "format": "oci",
        "path": f"{sources}/layout",
        "digest": entry["digest"],
        "size": 0,
        "files": 2,
        "release": {"ID": "_any"},
        "dropped": [
            {
                "path": "/etc/0",
                "reason": "a system extension does not carry /etc; a configuration extension does: --kind confext",
            }
        ],
        "notices": [],
    }
    assert len(document["dropped"]) == 7


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--from", "one", "two"], "#!two"),
        (["--from", "two", "--from", "one"], "#!one"),
        (["--from", "one", "--binary", "three/tool"], "#!three"),
        (["--binary", "three/tool", "--from", "one"], "#!one"),
    ],
)
def test_the_order_is_that_of_the_options(sources: Path, arguments: list[str], expected: str) -> None:
    assert _run(*arguments, "--format", "directory") == 0
    assert (sources / "x/usr/bin/tool").read_text() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to build of"),
        (["--from", "one", "--format", "raw"], "invalid choice"),
        (["--from", "one", "--compression", "zstd"], "--compression: squashfs has none to choose"),
        (["--from", "one", "--format", "ddi", "--private-key", "k"], "belong together"),
        (
            ["--from", "one", "--format", "ddi", "--private-key", "k", "--certificate", "c"],
            "k: there is no such file",
        ),
        (["--from", "one", "--private-key", "one/etc/0", "--certificate", "one/etc/1"], "no place for a signature"),
        (["--from", "one", "--arch", "pdp11"], "'pdp11' is no architecture"),
        (["--from", "one", "--scope", "moon"], "'moon' is no scope"),
        (["--from", "one", "--id", "a b"], "--id: 'a b' is no such value"),
        (["--from", "one", "--enable-unit", "x.service"], "the content has no x.service"),
        (["--from", "one", "-o", "no/where"], "is no directory"),
        (["--from", "one", "--strict"], "/etc/0 cannot be in the extension"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_what_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert _run(*arguments) == 1
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "three"}
