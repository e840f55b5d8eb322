"""What another OS would make of a configuration, with real skopeo and local layouts."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.host.merge import links
from reconciler.loop.reconcile import converge, status
from reconciler.loop.session import Options
from tests.commandline import run
from tests.rig.images import Member, command, extension, write_artifact, write_image
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

pytestmark = pytest.mark.commands

FOR_12, FOR_13 = ("ID=debian\nVERSION_ID=12\n", "ID=debian\nVERSION_ID=13\n")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image for each of two versions of the OS."""
    write_image(tmp_path / "layout", "12", command("x", "twelve", FOR_12))
    write_image(tmp_path / "layout", "13", command("x", "thirteen", FOR_13))
    return tmp_path / "layout"


@pytest.fixture
def trixie(tmp_path: Path) -> Path:
    """The os-release of the OS that is to come."""
    file = tmp_path / "os-release"
    file.write_text(FOR_13)
    return file


def _run(paths: Paths, *arguments: object) -> int:
    return run("--root", paths.root, *arguments)


def _document(paths: Paths, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    capsys.readouterr()
    code = _run(paths, *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def _says(paths: Paths) -> str:
    (link,) = links.read_links(paths, 252).links.values()
    return (paths.store / link.entry.file_name / "usr/bin/x").read_text()


def test_an_os_update_is_prefetched_and_its_first_boot_needs_no_source(
    paths: Paths, layout: Path, trixie: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(paths, f"extensions: {{x: {{source: 'oci:{layout}:{{VERSION_ID}}', pull: always}}}}")
    assert converge(paths, Options(), "test").in_sync
    assert "twelve" in _says(paths)
    stored = sorted(os.listdir(paths.store))

    code, document = _document(paths, capsys, "check", "--os-release", trixie, "--systemd", "257")
    assert code == 0
    assert document["host"]["version_id"] == "13"
    assert document["host"]["systemd"] == 257
    (item,) = document["extensions"]
    assert (item["fits"], item["source"], item["stored"]) == (True, f"oci:{layout}:13", False)
    assert sorted(os.listdir(paths.store)) == stored

    assert _run(paths, "apply", "--for-os-release", trixie) == 0
    assert "x: would be merged; oci:" in capsys.readouterr().out
    assert "twelve" in _says(paths)
    assert len(os.listdir(paths.store)) == 2

    shutil.rmtree(layout)
    configure(paths, f"extensions: {{x: {{source: 'oci:{layout}:{{VERSION_ID}}'}}}}")
    assert _run(paths, "check", "--os-release", trixie, "--offline") == 0
    (paths.root / "etc/os-release").write_text(FOR_13)
    assert converge(paths, Options(offline=True, refresh=False), "boot").in_sync
    assert "thirteen" in _says(paths)
    (paths.root / "etc/os-release").write_text(FOR_12)  # the OS is rolled back
    assert converge(paths, Options(offline=True, refresh=False), "boot").in_sync
    assert "twelve" in _says(paths)


def test_what_would_not_merge_is_told_and_not_placed(
    paths: Paths, layout: Path, trixie: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(layout, "any", extension("any", {"usr/bin/any": ""}))
    configure(
        paths,
        f"""extensions:
  any: {{source: 'oci:{layout}:any'}}
  x: {{source: 'oci:{layout}:12'}}
  gone: {{source: 'oci:{layout}:{{VERSION_ID}}-gone'}}
  level: {{source: 'oci:{layout}:{{SYSEXT_LEVEL}}'}}
""",
    )
    code, document = _document(paths, capsys, "check", "--os-release", trixie)
    assert code == 2
    assert document["fits"] is False
    found = {item["name"]: item for item in document["extensions"]}
    assert {name: item["fits"] for name, item in found.items()} == {
        "any": True,
        "x": False,
        "gone": False,
        "level": False,
    }
    assert found["x"]["reason"] == "VERSION_ID=12, it has 13"
    assert "no such image" in found["gone"]["reason"]
    assert found["level"]["reason"].startswith("its os-release has no SYSEXT_LEVEL")
    assert not paths.store.exists()

    code, document = _document(paths, capsys, "apply", "--for-os-release", trixie)
    assert code == 1
    assert {item["name"]: (item["fits"], item["stored"]) for item in document["extensions"]} == {
        "any": (True, True),
        "x": (False, True),
        "gone": (False, False),
        "level": (False, False),
    }
    assert links.read_links(paths, 252).links == {}
    assert _run(paths, "check", "--os-release", trixie, "any") == 0
    paths.first_seen.write_text(json.dumps({"x": {"sha256:0": 1.8e9}, "withdrawn": {"sha256:0": 1.8e9}}))
    assert _run(paths, "apply", "--for-os-release", trixie, "any") == 0
    assert json.loads(paths.first_seen.read_text()) == {"x": {"sha256:0": 1.8e9}}


def test_formats_and_names_are_judged_as_they_would_be_stored(
    paths: Paths, layout: Path, trixie: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_artifact(layout, "raw", b"no image file at all" * 100)
    write_image(layout, "more", (Member("usr/share/more", b"more"),))
    configure(
        paths,
        f"""extensions:
  x: {{source: ['oci:{layout}:13', 'oci:{layout}:more']}}
  y: {{source: 'oci:{layout}:13', rename: true}}
  z: {{source: 'oci:{layout}:13'}}
  c: {{source: 'oci:{layout}:13', kind: confext, rename: true}}
  raw: {{source: 'oci:{layout}:raw', format: raw}}
  tree: {{source: 'oci:{layout}:raw', format: directory}}
""",
    )
    code, document = _document(paths, capsys, "check", "--os-release", trixie, "--systemd", "257")
    assert code == 2
    found = {item["name"]: item for item in document["extensions"]}
    assert found["x"]["fits"] is True
    assert found["y"]["fits"] is True
    assert "release file is extension-release.x" in found["z"]["reason"]
    assert "/usr" in found["c"]["reason"]
    assert found["raw"]["fits"] is False
    assert "an image file, which cannot be had as directory" in found["tree"]["reason"]


def test_kernels_are_judged_where_one_is_named(
    paths: Paths, layout: Path, trixie: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(paths, f"extensions: {{x: {{source: 'oci:{layout}:{{VERSION_ID}}', kernel: '>=6.12'}}}}")
    assert _run(paths, "check", "--os-release", trixie) == 0
    assert "kernel: >=6.12 is not judged without --kernel" in capsys.readouterr().out
    assert _run(paths, "check", "--os-release", trixie, "--kernel", "6.12.38+deb13-amd64") == 0
    assert _run(paths, "check", "--os-release", trixie, "--kernel", "6.1.0-25-amd64") == 2
    assert "x: would not be merged: takes a kernel >=6.12, and it has 6.1.0-25-amd64" in capsys.readouterr().out


def test_what_cannot_be_asked_is_an_error(
    paths: Paths, trixie: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(paths, "extensions: {x: {source: 'docker://127.0.0.1:1/x:v1'}}")
    assert _run(paths, "check", "--os-release", trixie) == 1
    assert "x: cannot be told: " in capsys.readouterr().out
    assert _run(paths, "check", "--os-release", tmp_path / "missing") == 1
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 12 << 30)
    assert _run(paths, "check", "--os-release", tmp_path / "hole") == 1
    assert "cannot be read: File too large" in capsys.readouterr().err
    (tmp_path / "empty").touch()
    assert _run(paths, "check", "--os-release", tmp_path / "empty") == 1
    assert "is no os-release file" in capsys.readouterr().err
    assert _run(paths, "check", "--os-release", trixie, "y") == 1
    assert "no such extension" in capsys.readouterr().err
    assert _run(paths, "apply", "--kernel", "6.1") == 1
    assert "--for-os-release FILE" in capsys.readouterr().err
    configure(paths, "extensions: {x: {sauce: y}}")
    assert _run(paths, "check", "--os-release", trixie) == 1
    assert "did you mean 'source'?" in capsys.readouterr().err


def test_content_that_came_for_another_source_is_found_without_network(paths: Paths, trixie: Path) -> None:
    """It is in the store already, so nothing is fetched, but what the source leads to must be remembered."""
    fill_store(paths, "docker://registry/x:any", "x", "a")
    configure(paths, "extensions: {x: {source: 'docker://registry/x:any'}}")
    assert converge(paths, Options(offline=True), "test").in_sync
    assert _run(paths, "apply", "--for-os-release", trixie, "--offline") == 0


def test_a_source_that_leads_back_to_older_content_is_remembered_so(paths: Paths, tmp_path: Path) -> None:
    digests = []
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:latest', pull: always}}}}")
    for says in ("one", "two", "one"):
        write_image(tmp_path / "layout", "latest", command("x", says))
        assert converge(paths, Options(), "test").in_sync
        digests.append(status(paths, Options()).statuses[0].desired)
    assert digests[0] == digests[2] != digests[1]
    shutil.rmtree(tmp_path / "layout")
    assert "one" in _says(paths)
