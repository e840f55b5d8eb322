"""Passwords, tokens and queries: in no output, and in no file that others can read, whatever the caller's mask."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from reconciler.model.content.source import parse_source
from tests.commandline import run
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.paths import Paths

SECRET = "hunter2"  # noqa: S105 - to be looked for
WEB = f"https://{SECRET}:{SECRET}@host.example/one.tar?sig={SECRET}&t=a"
OTHER = f"https://{SECRET}@host.example/two.tar"
CONFIGURATION = f"""
settings:
  allow_empty: true
  catalogs: ["https://{SECRET}@127.0.0.1:1/catalog.json?{SECRET}"]
  checks: {{http: "http://{SECRET}:x@127.0.0.1:1/?token={SECRET}"}}
extensions:
  one: {{source: "{WEB}", digest: "sha256:{"a" * 64}"}}
  two: {{source: ["{OTHER}", "docker://registry/two:v1"]}}
  three: {{source: "catalog:three"}}
  four: {{source: "https://{SECRET}:{SECRET}@127.0.0.1:1/four.tar?sig={SECRET}"}}
"""
VERBS = ("apply", "plan", "status", "explain one", "explain four", "history", "verify", "validate", "gc --dry-run")
MISTAKES = (
    f"x: {{source: 'docker://user:{SECRET}@registry/x'}}",
    f"x: {{source: 'user:{SECRET}@registry/x'}}",
    f"x: {{source: 'https://user:{SECRET}/@registry/x'}}",
    f"x: {{source: {{url: 'user:{SECRET}@registry/x'}}}}",
    f"x: {{source: [['user:{SECRET}@registry/x']]}}",
    f"x: {{source: 'http://u:{SECRET}@registry/x?{SECRET}'}}",
    f"x: {{source: 'https://u:{SECRET}@registry/x', version: '1'}}",
    f"x: {{source: 'oci:/x', checks: {{http: 'http://{SECRET}@example.org/?{SECRET}'}}}}",
    f"x: {{source: 'oci:/x', checks: 'http://{SECRET}@example.org/?{SECRET}'}}",
    f"x: ['https://{SECRET}@example.org/?{SECRET}']",
    f"x: {{'https://u:{SECRET}@example.org/?a b={SECRET}': 1}}",
)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def masked(request: pytest.FixtureRequest, paths: Paths) -> Iterator[Paths]:
    """A node whose state directory was there before, for all to look into, and a caller's mask."""
    paths.state.chmod(0o755)
    configure(paths, CONFIGURATION)
    fill_store(paths, parse_source(WEB).key, "one", "a")
    fill_store(paths, f"{parse_source(OTHER).key} + docker://registry/two:v1", "two", "b")
    before = os.umask(request.param)
    yield paths
    os.umask(before)


@pytest.mark.parametrize("flags", [(), ("--json",), ("-v",)], ids=str)
def test_no_secret_is_printed_or_readable_by_others(
    flags: tuple[str, ...], masked: Paths, capfd: pytest.CaptureFixture[str]
) -> None:
    made = set(masked.root.rglob("*"))
    for verb in VERBS:
        run("--root", masked.root, *flags, *verb.split(), *(["--offline"] if verb in {"apply", "plan"} else []))
        printed = "".join(capfd.readouterr())
        assert SECRET not in printed, verb
    new = {path for path in masked.root.rglob("*") if path not in made and path.is_file() and not path.is_symlink()}
    assert {masked.last_good, masked.status, masked.generations / "1.json"} <= new
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in new}
    assert modes == {path: 0o644 if path == masked.status else 0o600 for path in new}
    assert SECRET not in masked.status.read_text()


def test_no_directory_is_for_others_to_write(masked: Paths) -> None:
    made = set(masked.root.rglob("*"))
    run("--root", masked.root, "apply", "--offline")
    new = {path for path in masked.root.rglob("*") if path not in made and path.is_dir() and not path.is_symlink()}
    assert masked.runtime in new
    assert not [path for path in new if path.stat().st_mode & 0o022]
    assert stat.S_IMODE(masked.runtime.stat().st_mode) == 0o755


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_without_the_secret_in_it(
    mistake: str, paths: Paths, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(paths, f"extensions: {{{mistake}}}")
    for verb in (["validate"], ["validate", "--json"], ["plan"], ["apply"], ["status", "--json"]):
        run("--root", paths.root, *verb)
        printed = "".join(capfd.readouterr())
        assert "x" in printed
        assert SECRET not in printed


def test_what_is_named_on_the_command_line_is_told_without_its_secrets(
    paths: Paths, capfd: pytest.CaptureFixture[str]
) -> None:
    for subject in (f"https://{SECRET}:{SECRET}@127.0.0.1:1/x.raw?{SECRET}", f"docker://{SECRET}:{SECRET}@host/x"):
        for verb in (["inspect"], ["lint"], ["lint", "--json"], ["lint", "--sarif"]):
            run("--root", paths.root, *verb, subject)
            printed = "".join(capfd.readouterr())
            assert "host" in printed or "127.0.0.1" in printed
            assert SECRET not in printed
