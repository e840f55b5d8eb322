"""What `inspect` and `lint` promise: text, JSON, SARIF, exit statuses."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from reconciler.host.sources import local
from tests.commandline import run
from tests.rig.diskimages import extension_tree, make_tree

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

GOOD_RELEASE: Final = "ID=debian\nVERSION_ID=12\nEXTENSION_RELOAD_MANAGER=1\n"
UNITS: Final = "usr/lib/systemd/system"


def _json(capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 - JSON
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """An extension without a fault."""
    files: dict[str, str | None] = {
        f"{UNITS}/multi-user.target.d/10-x.conf": "[Unit]\nUpholds=x.service\n",
        "usr/lib/extension-release.d/extension-release.x": GOOD_RELEASE,
    }
    return extension_tree(tmp_path / "good", "x", files)


@pytest.fixture
def bad(good: Path) -> Path:
    """An extension with an error, a warning and a note."""
    make_tree(good, {"usr/share/x": "", "usr/bin/y": "-> nowhere", f"{UNITS}/y.service": "[Service]\n"})
    (good / "usr/share/x").chmod(0o666)
    return good


def test_inspect(good: Path, paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "os-release"
    other.write_text("ID=fedora\nVERSION_ID=41\n")
    (good / "usr/bin/x").chmod(0o4755)
    assert run("--root", paths.root, "inspect", good, "--os-release", other, "--systemd", "256") == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = [line.split(maxsplit=1) for line in told.out.splitlines()]
    shown = {line[0]: line[1] for line in lines if len(line) > 1}
    assert shown["name"] == "x"
    assert shown["kind"] == "sysext"
    assert shown["format"] == "a directory"
    assert shown["content"] == "4 files, 7 directories"
    assert shown["fits"] == "this host (debian 12, systemd 252, x86-64): yes"
    assert f"{other} (fedora 41, systemd 256, x86-64): no, ID=debian" in told.out
    assert shown["units"] == "x.service: starts, Upholds= in multi-user.target.d/10-x.conf"
    assert shown["privileges"] == "usr/bin/x: setuid (0:0)"
    assert shown["hides"] == "nothing of this host"


def test_inspect_as_json(bad: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    make_tree(paths.root, {"usr/share/x": ""})
    assert run("--root", paths.root, "inspect", "--json", bad) == 0
    document = _json(capsys)
    assert document["name"] == "x"
    assert document["releases"]["x"]["ID"] == "debian"
    assert document["content"] == {"file": 6, "directory": 8, "symlink": 1, "special": 0}
    assert document["hides"] == ["/usr/share/x"]
    assert document["collisions_known"] is True
    assert document["hosts"] == [{"host": "this host (debian 12, systemd 252, x86-64)", "fits": True, "reason": None}]
    assert [(unit["name"], unit["would_start"]) for unit in document["units"]] == [
        ("x.service", True),
        ("y.service", False),
    ]
    assert (document["signature"], document["setuid"]) == (None, [])


def test_values_cannot_steer_a_terminal(good: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    release = good / "usr/lib/extension-release.d/extension-release.x"
    release.write_text(GOOD_RELEASE + "NAME=\x1b[2Jgone\n")
    make_tree(good, {f"{UNITS}/a\x1b[2J.service": ""})
    for verb in ("inspect", "lint"):
        run("--root", paths.root, verb, good)
        assert "\x1b" not in capsys.readouterr().out


def test_inspect_on_a_terminal(
    good: Path, paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("--root", paths.root, "inspect", good) == 0
    assert "Upholds= in" in capsys.readouterr().out


def test_what_cannot_be_read(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", paths.root, "inspect", "/there/is/nothing") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "livelayer: /there/is/nothing: there is no such file or directory",
        "  name a file, a directory, or a source such as docker://REF",
    ]


def test_lint_passes_what_is_good(good: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", paths.root, "lint", "--strict", good) == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_lint_reads_no_directory_for_its_digest(good: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "file_digest", lambda _: pytest.fail("a file was read for its digest"))
    assert run("--root", paths.root, "lint", good) == 0


def test_lint_tells_what_is_wrong(bad: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", paths.root, "lint", bad) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{bad}: usr/share/x: error LL203: everybody may write it (mode 0666)"
    assert lines[1] == "  take the right to write from others: chmod o-w (docs/lint-rules.md#ll203)"
    assert [line.partition(" LL")[2][:3] for line in lines[::2] if " LL" in line] == ["203", "501", "301"]
    assert lines[-1] == "1 error, 1 warning, 1 note"


def test_hints_are_given_once_for_each_rule(bad: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    make_tree(bad, {"usr/bin/z": "-> nowhere"})
    run("--root", paths.root, "lint", bad)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2].partition(" ")[0] for line in lines[2:4]] == ["usr/bin/y:", "usr/bin/z:"]
    assert "".join(lines).count("#ll501") == 1


def test_rules_can_be_left_out(bad: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    without = ("--ignore", "LL203", "--ignore", "ll301")
    assert run("--root", paths.root, "lint", *without, bad) == 0
    assert run("--root", paths.root, "lint", *without, "--strict", bad) == 1
    assert run("--root", paths.root, "lint", *without, "--strict", "--ignore", "LL501", bad) == 0
    capsys.readouterr()
    assert run("--root", paths.root, "lint", "--ignore", "LL999", bad) == 1
    assert "--ignore LL999: there is no such rule" in capsys.readouterr().err


def test_names_and_signatures_that_are_asked_for(
    good: Path, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--root", paths.root, "lint", "--name", "x", good) == 0
    assert run("--root", paths.root, "lint", "--name", "y", good) == 1
    assert "none is for y" in capsys.readouterr().out
    assert run("--root", paths.root, "lint", "--require-signature", good) == 1
    assert "LL601" in capsys.readouterr().out


def test_several_are_looked_at_whatever_one_is(
    good: Path, paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.raw"
    broken.write_bytes(b"hsqs")
    assert run("--root", paths.root, "lint", "--json", broken, good, "/none") == 1
    first, second, third = _json(capsys)["extensions"]
    assert (first["source"], first["name"], first["findings"][0]["rule"]) == (str(broken), None, "LL000")
    assert "cut off" in first["findings"][0]["message"]
    assert second == {"source": str(good), "name": "x", "kind": "sysext", "findings": []}
    assert third["findings"][0]["severity"] == "error"


def test_findings_as_json(bad: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", paths.root, "--json", "lint", "--ignore", "LL203", bad) == 0
    (extension,) = _json(capsys)["extensions"]
    assert extension["findings"][0] == {
        "rule": "LL501",
        "severity": "warning",
        "message": "it leads to /usr/bin/nowhere, which is neither in the extension nor on this host",
        "path": "usr/bin/y",
        "hint": "bring what it leads to, or let it lead into the extension",
        "documentation": "docs/lint-rules.md#ll501",
    }


def test_sarif(bad: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", paths.root, "lint", "--sarif", bad) == 1
    document = _json(capsys)
    assert document["version"] == "2.1.0"
    results = document["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["LL203", "LL501", "LL301"]
    place = results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == f"{bad}/usr/share/x"


@pytest.mark.parametrize("verb", ["inspect", "lint"])
@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--platform", "x"), "--platform: 'x' is no platform"),
        (("--digest", "x"), "--digest: 'x' is no digest; it looks like sha256:"),
    ],
)
def test_wrong_usage(
    good: Path, capsys: pytest.CaptureFixture[str], verb: str, option: tuple[str, str], words: str
) -> None:
    assert run(verb, *option, good) == 1
    assert words in capsys.readouterr().err


def test_lint_holds_content_to_its_digest(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", "--digest", f"sha256:{'a' * 64}", good) == 1
    assert "correct --digest, or the source" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["x86-64", "amd64", "x86_64"])
def test_an_architecture_in_anybodys_words(
    good: Path, paths: Paths, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    release = good / "usr/lib/extension-release.d/extension-release.x"
    release.write_text(f"{GOOD_RELEASE}ARCHITECTURE=x86-64\n")
    other = paths.root / "etc/os-release"
    assert run("--root", paths.root, "inspect", "--os-release", other, "--architecture", word, good) == 0
    assert f"{other} (debian 12, systemd 252, x86-64): yes" in capsys.readouterr().out


def test_no_architecture(good: Path, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    other = paths.root / "etc/os-release"
    assert run("--root", paths.root, "inspect", "--os-release", other, "--architecture", "pdp11", good) == 1
    assert "--architecture: 'pdp11' is no architecture; known are arm," in capsys.readouterr().err


def test_hints_name_options_where_the_configuration_has_keys(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.root / "srv").mkdir()
    (paths.root / "srv/k-1.0-x86-64.raw").write_text("no image")
    look = ("--root", paths.root, "inspect", "file:///srv/", "--match")
    assert run(*look, "k-@v.raw") == 1
    assert "write %a in --match where the architecture stands" in capsys.readouterr().err
    assert run(*look, "k-@v-%a.raw", "--platform", "linux/amd64", "--range", ">=2") == 1
    assert "change --range" in capsys.readouterr().err
    assert run(*look, "k-@v-%a.raw", "--platform", "linux/amd64") == 1
    assert "file:///srv/: the image is no file system" in capsys.readouterr().err
