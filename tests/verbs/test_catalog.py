"""What `livelayer catalog` shows of catalogs and directories of releases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.commandline import run
from tests.seed import configure

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

FILES: Final = (
    "k3s-v1.32.1+k3s1-x86-64.raw",
    "k3s-v1.32.2+k3s1-x86-64.raw",
    "kubernetes-v1.31.1-x86-64.raw",
    "notes",
)


@pytest.fixture
def node(paths: Paths) -> Paths:
    """A node that follows a directory, and has a catalog."""
    directory = paths.under("/srv/releases")
    directory.mkdir(parents=True)
    for name in FILES:
        (directory / name).write_text(name)
    image = {"oci": f"registry.example/git@sha256:{'a' * 64}"}
    tags = [{"tag": it, "sysext": {"amd64": image}} for it in ("2.9", "2.10")]
    catalog = paths.under("/srv/releases.json")
    catalog.write_text(json.dumps({"layers": [{"name": "git", "latest": "2.10", "tags": tags}]}))
    extensions = {
        name: {"source": "file:///srv/releases/", "match": f"{name}-@v-%a.raw", "format": "raw"}
        for name in ("k3s", "kubernetes")
    }
    configure(paths, json.dumps({"settings": {"catalogs": ["file:///srv/releases.json"]}, "extensions": extensions}))
    return paths


def _catalog(node: Paths, capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> list[dict[str, Any]]:
    assert run("--root", node.root, "catalog", *words, "--json") == status
    return list(json.loads(capsys.readouterr().out)["extensions"])


def test_what_the_configuration_names_is_listed(node: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", node.root, "catalog", "list") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "NEWEST", "VERSIONS", "FOR", "SOURCE"]
    assert [row.split() for row in rows] == [
        ["git", "2.10", "2", "amd64", "file:///srv/releases.json"],
        ["k3s", "v1.32.2+k3s1", "2", "x86-64", "file:///srv/releases/"],
        ["kubernetes", "v1.31.1", "1", "x86-64", "file:///srv/releases/"],
    ]
    assert run("--root", node.root, "catalog", "list", "k3s") == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows] == ["v1.32.2+k3s1", "v1.32.1+k3s1"]


def test_names_are_searched_by_parts(node: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert [it["name"] for it in _catalog(node, capsys, "search", "K3")] == ["k3s"]
    assert [it["name"] for it in _catalog(node, capsys, "search", "k3", "git")] == ["git", "k3s"]
    assert _catalog(node, capsys, "list", "k3", status=1) == []
    found = _catalog(node, capsys, "search", "k", "file:///srv/releases")
    assert [it["name"] for it in found] == ["k3s", "kubernetes"]
    assert [it["name"] for it in _catalog(node, capsys, "list", "file:///srv/releases.json")] == ["git"]


def test_what_cannot_be_asked_is_told_and_the_others_are_shown(
    node: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.under("/srv/releases.json").write_text("{")
    assert run("--root", node.root, "catalog", "list") == 1
    told = capsys.readouterr()
    assert "k3s" in told.out
    assert "is no catalog of extensions" in told.err
    main = tmp_path / "none.yaml"
    main.write_text("extensions: {}\n")
    assert run("--root", node.root, "--config", main, "catalog", "list") == 1
    assert "name https://HOST/DIR/" in capsys.readouterr().err
    assert run("--root", node.root, "catalog", "list", "docker://h/x") == 1
    assert "is neither a catalog nor a directory" in capsys.readouterr().err
    assert run("--root", node.root, "catalog", "list", "ftp://h/") == 1
    assert "unknown scheme ftp" in capsys.readouterr().err
