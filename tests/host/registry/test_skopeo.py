"""What skopeo answers; tests/system runs the real one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Invalid, Unavailable
from reconciler.host.registry.skopeo import Skopeo

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The answer of a skopeo that has one for every question."""
    program = tmp_path / "bin/skopeo"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "answer"


@pytest.mark.commands
@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('{"Repository": "h/x", "Tags": ["v1", "latest"]}', ("v1", "latest")),
        ('{"Repository": "h/x", "Tags": []}', ()),
        ('{"Repository": "h/x", "Tags": null}', ()),
    ],
)
def test_tags(answer: Path, text: str, tags: tuple[str, ...]) -> None:
    answer.write_text(text)
    assert Skopeo().list_tags("docker://h/x") == tags


@pytest.mark.commands
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Tags": "v1"}', '{"Tags": [1]}', "not JSON"])
def test_an_answer_without_tags(answer: Path, text: str) -> None:
    answer.write_text(text)
    with pytest.raises(Unavailable, match="docker://h/x: skopeo lists no tags"):
        Skopeo().list_tags("docker://h/x")


TRACE: Final = "\n\ngoroutine 1 [running]:\nmain.main()\n\t/main.go:979 +0x393\n\ngs     0x0"  # as Go ends


def _skopeo(answer: Path, script: str) -> None:
    (answer.parent / "bin/skopeo").write_text(f"#!/bin/sh\n{script}\n")


@pytest.mark.commands
@pytest.mark.parametrize(
    ("script", "words", "code"),
    [
        ("kill -9 $$", "skopeo was killed (signal 9)", "program.killed"),
        ("echo 'fatal error: runtime: out of memory' >&2; exit 2", "more than 384M of memory", "program.memory"),
        (f"echo 'runtime/cgo: pthread_create failed: busy{TRACE}' >&2; exit 2", "of memory", "program.memory"),
        (f"echo 'time=1 level=debug\npanic: nil map{TRACE}' >&2; exit 2", "(panic: nil map)", "program.crashed"),
        (f"exec {sys.executable} -c 'bytearray(2 << 30)'", "skopeo failed: MemoryError", "registry.failed"),
        ("head -c 3000000 /dev/zero >&2; kill -9 $$", "skopeo was killed", "program.killed"),
    ],
)
def test_a_skopeo_that_dies_says_nothing_of_the_image(answer: Path, script: str, words: str, code: str) -> None:
    _skopeo(answer, script)
    for source in ("docker://h/x", "oci:/srv/layout"):
        if code == "registry.failed" and source.startswith("oci"):
            continue
        with pytest.raises(Unavailable) as caught:
            Skopeo().raw_manifest(source)
        assert words in caught.value.message
        assert caught.value.code == code


@pytest.mark.commands
def test_an_answer_without_an_end_is_not_kept(answer: Path) -> None:
    _skopeo(answer, "exec head -c 17000000 /dev/zero")
    for ask in (Skopeo().raw_manifest, Skopeo().list_tags):
        with pytest.raises(Invalid, match="docker://h/x: what answers there says more than 16M"):
            ask("docker://h/x")


@pytest.mark.commands
@pytest.mark.parametrize("transport", ["oci", "dir", "oci-archive", "docker-archive"])
@pytest.mark.parametrize("through_link", [False, True])
def test_skopeo_is_not_left_waiting_for_a_fifo(answer: Path, transport: str, *, through_link: bool) -> None:
    """The fake one answers all it is asked, so it is not asked."""
    answer.write_text("{}")
    fifo = answer.parent / "fifo"
    os.mkfifo(fifo)
    place = answer.parent / "image"
    inside = place if "archive" in transport else place / "blobs/sha256/0"
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.symlink_to(fifo) if through_link else fifo.rename(inside)
    with pytest.raises(Invalid, match="is neither a regular file nor a directory"):
        Skopeo().raw_manifest(f"{transport}:{place}")


def test_only_registries_have_lists_of_tags() -> None:
    with pytest.raises(Invalid, match="only a registry has a list of tags"):
        Skopeo().list_tags("oci:/srv/layout")
