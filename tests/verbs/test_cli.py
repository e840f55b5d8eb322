"""The command line's promises: exit statuses, JSON, messages."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler import cli
from reconciler.model.kind import Kind
from reconciler.verbs import node
from tests.commandline import run
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

ONE = "docker://registry/one:v1"
CONFIGURATION = f"extensions: {{one: {{source: '{ONE}'}}}}"


def _json(capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 - JSON
    return json.loads(capsys.readouterr().out)


def test_plan_says_what_apply_would_do(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    configure(paths, CONFIGURATION)
    digest = fill_store(paths, ONE, "one", "a").digest
    assert run("--root", paths.root, "plan") == 2
    assert capsys.readouterr().out == "place one sha256:aaaaaaaaaaaa (new)\n"
    assert run("--root", paths.root, "diff", "--json") == 2
    assert _json(capsys) == {
        "in_sync": False,
        "actions": [
            {"action": "place", "extension": "one", "kind": "sysext", "from": None, "to": digest, "reason": "new"}
        ],
        "problems": [],
        "warnings": [],
    }
    assert not list(paths.links(Kind.SYSEXT).iterdir())


def test_apply_converges_then_plan_is_empty(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    assert run("--root", paths.root, "apply") == 0
    assert "plan: place one" in capsys.readouterr().err
    assert run("--root", paths.root, "plan") == 0
    assert capsys.readouterr().out == "in sync\n"
    assert run("--root", paths.root, "--json", "plan") == 0
    assert _json(capsys)["actions"] == []


def test_the_plan_is_logged_before_the_first_action(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    run("--root", paths.root, "apply")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "plan: place one sha256:aaaaaaaaaaaa (new)",
        "done: place one sha256:aaaaaaaaaaaa (new)",
        "in sync",
    ]


def test_a_dry_run_changes_nothing(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    assert run("apply", "--dry-run", "--root", paths.root) == 0  # also behind the verb
    assert "place one" in capsys.readouterr().out
    assert not list(paths.links(Kind.SYSEXT).iterdir())


def test_a_run_only_if_the_configuration_changed(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    assert run("--root", paths.root, "apply", "--if-changed") == 0
    (paths.links(Kind.SYSEXT) / "one").unlink()
    capsys.readouterr()
    assert run("--root", paths.root, "apply", "--if-changed") == 0
    assert capsys.readouterr().err == ""
    configure(paths, CONFIGURATION + "\n")
    assert run("--root", paths.root, "apply", "--if-changed") == 0
    assert (paths.links(Kind.SYSEXT) / "one").is_symlink()


def test_a_run_that_lingers_sees_what_is_saved_afterwards(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    pauses: list[float] = []

    def save_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            configure(paths, "settings: {allow_empty: true}\nextensions: {}\n")

    monkeypatch.setattr(node, "time", SimpleNamespace(sleep=save_meanwhile))
    assert run("--root", paths.root, "apply", "--if-changed", "--linger", "2") == 0
    assert not list(paths.links(Kind.SYSEXT).iterdir())
    assert pauses == [2.0, 2.0]  # after the first run and after the second
    assert "place one" in capsys.readouterr().err


def test_status_checks_when_asked(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    assert run("--root", paths.root, "status") == 0
    assert run("--root", paths.root, "status", "--check") == 2
    run("--root", paths.root, "apply")
    assert run("--root", paths.root, "status", "--check") == 0
    configure(paths, "extensions: [")
    assert run("--root", paths.root, "status", "--check") == 1
    assert "no valid YAML" in capsys.readouterr().err


def test_status_is_a_table(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    run("--root", paths.root, "status")
    assert capsys.readouterr().out == "no extensions\n"
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    run("--root", paths.root, "status")
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "STATE", "MERGED", "PLACED", "DESIRED", "REASON"]
    assert row.split() == ["one", "drifted", "no", "-", "sha256:aaaaaaaaaaaa", "new"]


def test_validate(paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--root", paths.root, "validate") == 0
    assert "no configuration" in capsys.readouterr().out
    configure(paths, CONFIGURATION)
    assert run("--root", paths.root, "validate") == 0
    assert capsys.readouterr().out == "valid: 1 extensions\n"
    broken = tmp_path / "broken.yaml"
    broken.write_text("extensions:\n  a: {sorce: x}\n  b: {souce: y}\n")
    assert run("validate", broken) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("unknown key") == 2
    assert told.err.count("did you mean 'source'?") == 2
    assert "Traceback" not in told.err
    assert run("validate", "--json", broken) == 1
    assert _json(capsys)["valid"] is False


def test_another_main_file(paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CONFIGURATION)
    fill_store(paths, ONE, "one", "a")
    assert run("--root", paths.root, "--config", other, "plan") == 2
    assert "place one" in capsys.readouterr().out
    assert run("--root", paths.root, "--config", tmp_path / "missing", "plan") == 1
    assert "no such file" in capsys.readouterr().err


def test_an_expected_failure_is_one_line_and_a_hint(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    (paths.root / "etc/os-release").unlink()
    assert run("--root", paths.root, "status") == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("livelayer: ")
    assert told[1].startswith("  ")


def test_the_unexpected_is_one_line_and_how_to_report_it(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.loop.session.read_host", lambda _: 1 / 0)
    assert run("--root", paths.root, "status") == 1
    told = capsys.readouterr().err
    assert "unexpected ZeroDivisionError" in told
    assert "Traceback" not in told
    with pytest.raises(ZeroDivisionError):
        cli.main(["-vv", "--root", str(paths.root), "status"])


def test_lines_for_the_journal_carry_priorities(
    paths: Paths, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(paths, CONFIGURATION)
    fill_store(paths, ONE, "one", "a", "ID=fedora\n")
    stream = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    with os.fdopen(os.dup(2), "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        assert run("--root", paths.root, "apply", "--offline") == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("<3>one: does not fit this host")
    assert lines[-1] == "<6>not in sync"


def test_wrong_usage_is_an_error_not_changes_pending(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--no-such-option") == 1
    assert "see: livelayer --help" in capsys.readouterr().err


def test_what_only_root_may_read_is_told_so(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Paths) -> None:
        raise PermissionError(13, "Permission denied", "/var/lib/livelayer/resolutions.json")

    monkeypatch.setattr("reconciler.loop.session.read_host", refuse)
    assert run("--root", paths.root, "status") == 1
    assert capsys.readouterr().err.splitlines() == [
        "livelayer: /var/lib/livelayer/resolutions.json: Permission denied",
        "  run it as root",
    ]


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    assert _json(capsys)["title"] == "livelayer configuration"


CLOUD = """\
#cloud-config
install:
  bundles:
  - {rootfs_path: /var/lib/extensions/ipfs, targets: ['container://quay.io/example/ipfs-sysext:v0.15.0']}
  - {targets: ['run://quay.io/example/setup']}
"""


def test_an_import_prints_a_valid_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, imported = tmp_path / "cloud.yaml", tmp_path / "imported.yaml"
    file.write_text(CLOUD)
    assert run("import-cloud-config", file) == 0
    printed = capsys.readouterr()
    imported.write_text(printed.out)
    assert printed.out.splitlines()[1:] == [
        "apiVersion: livelayer/v1",
        "extensions:",
        "  ipfs:",
        "    source: container://quay.io/example/ipfs-sysext:v0.15.0",
        "    rename: true",
    ]
    assert "run://quay.io/example/setup for / is not livelayer's" in printed.err
    assert run("validate", imported) == 0
    assert capsys.readouterr().out == "valid: 1 extensions\n"
    assert run("--json", "import-cloud-config", file) == 0
    source = "container://quay.io/example/ipfs-sysext:v0.15.0"
    assert _json(capsys)["extensions"] == {"ipfs": {"source": source, "rename": True}}


def test_an_import_of_a_broken_cloud_config_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cloud.yaml"
    for text, words in (
        (CLOUD.replace("container://", ""), "is no target"),
        (CLOUD.removeprefix("#cloud-config"), "has no line #cloud-config"),
        (f"{CLOUD}livelayer: {{extensions: {{x: {{}}}}}}\n", "extensions.x: has no source"),
    ):
        file.write_text(text)
        assert run("import-cloud-config", file) == 1
        printed = capsys.readouterr()
        assert (printed.out, words in printed.err) == ("", True)
    assert run("import-cloud-config", tmp_path / "missing") == 1
    assert "there is no such file" in capsys.readouterr().err


def test_named_cloud_configs_count_for_one_run(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    cloud, own = paths.root / "cloud.yaml", paths.root / "own.yaml"
    cloud.write_text(CLOUD)
    own.write_text(CONFIGURATION)
    assert run("validate", "--cloud-config", cloud, own) == 0
    printed = capsys.readouterr()
    assert (printed.out, "is not livelayer's" in printed.err) == ("valid: 2 extensions\n", True)
    digest = fill_store(paths, "docker://quay.io/example/ipfs-sysext:v0.15.0", "kubo", "a").digest
    (paths.store / f"{digest[7:]}.directory").rename(paths.store / f"{digest[7:]}+ipfs.directory")
    assert run("--root", paths.root, "plan", "--offline", "--cloud-config", cloud) == 1  # kubo was not renamed here
    assert "extension-release.kubo, not extension-release.ipfs" in capsys.readouterr().err
    assert run("--root", paths.root, "plan", "--offline", "-v", "--cloud-config", cloud) == 1
    assert "run://quay.io/example/setup for / is not livelayer's" in capsys.readouterr().err
    assert run("--root", paths.root, "apply", "--offline", "--cloud-config", cloud, "--cloud-config", own) == 1
    assert "own.yaml: passed over, as it has no line #cloud-config" in capsys.readouterr().err
    assert run("--root", paths.root, "plan") == 0
