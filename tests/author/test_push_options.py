"""The command line of push: what it prints, and which words it does not take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.commandline import run
from tests.rig.diskimages import extension_tree

if TYPE_CHECKING:
    from pathlib import Path


def _run(*arguments: object) -> int:
    return run("push", "--dry-run", *arguments)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An extension as a directory."""
    return extension_tree(tmp_path / "tool", "tool")


def test_the_digest_is_the_result(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tree, "docker://h.example/tool:v1") == 0
    digest = capsys.readouterr().out.strip()
    assert _run("--json", tree, "docker://h.example/tool:v1", "--platform", "linux/arm64") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["digest"] != digest
    assert document == {
        "destination": "docker://h.example/tool:v1",
        "pinned": f"docker://h.example/tool@{document['digest']}",
        "digest": document["digest"],
        "media_type": "application/vnd.oci.image.manifest.v1+json",
        "pushed": False,
        "signed": False,
        "images": [
            {
                "made_of": str(tree),
                "digest": document["digest"],
                "platform": "linux/arm64",
                "name": "tool",
                "kind": "sysext",
                "form": "directory",
            }
        ],
    }


def test_options_may_stand_anywhere(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    platforms = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    found = set()
    for words in (
        (*platforms, tree, tree, "oci:/nowhere"),
        (tree, *platforms, tree, "oci:/nowhere"),
        (tree, tree, *platforms, "oci:/nowhere"),
        (tree, tree, "oci:/nowhere", *platforms),
    ):
        assert _run(*words) == 0
        found.add(capsys.readouterr().out)
    assert len(found) == 1
    assert _run(tree) == 1
    assert "the following arguments are required: DESTINATION" in capsys.readouterr().err


def test_labels_and_annotations_decide_the_digest(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = set()
    for options in ((), ("--label", "a=b"), ("--annotation", "a=b=c"), ("--compression", "zstd")):
        assert _run(tree, *options, "oci:/nowhere") == 0
        found.add(capsys.readouterr().out)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--label", "alone"), "--label alone: is no KEY=VALUE"),
        (("--annotation", "=x"), "--annotation =x: is no KEY=VALUE"),
        (("--platform", "amd64"), "'amd64' is no platform"),
        (("--compression", "lz4"), "invalid choice: 'lz4'"),
        (("--sign-passphrase-file", "/x"), "without a key"),
        (("--sign-by", "A", "--sign-by-sigstore-private-key", "/k"), "not allowed with"),
        (("--sign-by", "A"), "only images in a registry are signed"),
    ],
)
def test_words_that_are_not_taken(
    tree: Path, options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*options, tree, "oci:/nowhere") == 1
    assert words in capsys.readouterr().err


def test_a_destination_must_be_one(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tree, "registry.example/tool:v1") == 1
    assert "it looks like docker://HOST/NAME:TAG" in capsys.readouterr().err
