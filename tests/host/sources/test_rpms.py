"""RPM packages: the machine's own dnf, with a repository made here, and rpm's tools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import Invalid, Malformed, Unavailable
from reconciler.host.base.command import run
from reconciler.host.sources.rpms import download, is_package_name, open_package, place_of
from tests.rig.rpms import write_repository, write_rpm, write_system

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tool` requires `library` and `there`; `torn` requires what nothing has."""
    repository = tmp_path_factory.mktemp("repository")
    write_rpm(repository, "library", {"usr/lib/library": ""})
    write_rpm(repository, "there", {"usr/lib/there": ""})
    write_rpm(repository, "tool", {"usr/bin/tool": "x"}, requires=["library", "there"])
    write_rpm(repository, "torn", {"usr/bin/torn": ""}, requires=["nowhere"])
    write_repository(repository)
    return repository


@pytest.fixture
def root(repository: Path, tmp_path: Path) -> Path:
    """What dnf needs of a system that has `there`."""
    write_system(tmp_path / "system", repository, [repository / "there.rpm"])
    return _root_of(tmp_path / "system", tmp_path / "root")


def _root_of(system: Path, root: Path) -> Path:
    for file in filter(Path.is_file, system.rglob("*")):
        if place := place_of(str(file.relative_to(system))):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_bytes(file.read_bytes())
    return root


def _names(files: list[Path]) -> list[str]:
    return [file.name.removesuffix(".rpm").partition("-")[0] for file in files]


def test_dependencies_that_are_not_there_come_along(root: Path, tmp_path: Path) -> None:
    assert _names(download(["tool"], tmp_path / "a", root, "amd64", depends=True)) == ["library", "tool"]
    assert _names(download(["tool"], tmp_path / "b", root, "amd64", depends=False)) == ["tool"]
    assert _names(download(["there"], tmp_path / "c", root, "amd64", depends=True)) == ["there"]
    assert _names(download(["tool-1.0"], tmp_path / "d", root, "arm64", depends=False)) == ["tool"]


def test_what_cannot_be_had(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"dnf: .*nothing-of-this-name") as raised:
        download(["nothing-of-this-name"], tmp_path / "a", root, "amd64", depends=False)
    assert raised.value.code == "source.not-found"
    with pytest.raises(Invalid, match="dnf: ") as raised:
        download(["torn"], tmp_path / "b", root, "amd64", depends=True)
    assert raised.value.code == "dnf.unresolved"
    settings = root / "etc/yum.repos.d/here.repo"
    settings.write_text(settings.read_text().replace("file://", "file:///nowhere"))
    with pytest.raises(Unavailable, match="dnf: "):
        download(["tool"], tmp_path / "c", root, "amd64", depends=False)


def test_nobody_gets_a_whole_system_for_one_package(root: Path, tmp_path: Path) -> None:
    """On Debian, or for a base without packages, everything would be a dependency that is missing."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="all of a system would come along") as raised:
        download(["tool"], tmp_path / "a", tmp_path / "empty", "amd64", depends=True)
    assert "--base" in (raised.value.hint or "")
    assert not (tmp_path / "a").exists()
    assert root.is_dir()


def test_a_package_is_taken_apart_and_what_is_lost_is_told(tmp_path: Path) -> None:
    files = {"usr/bin/tool": "x", "usr/bin/ping": "x", "usr/share/tool/data": "x"}
    attributes = {"usr/bin/ping": "%caps(cap_net_raw=ep)", "usr/share/tool/data": "%attr(0640,nginx,root)"}
    requires = ["other >= 1", "libz.so.1()(64bit)", "/bin/sh"]
    file = write_rpm(tmp_path, "tool", files, post="true", attributes=attributes, requires=requires)
    package, archive = open_package(file, tmp_path)
    assert (package.name, package.version, package.depends) == ("tool", "1.0-1", ("other",))
    scripts, owners, capabilities = package.notices
    assert scripts == "tool: not run: %post"
    assert owners.startswith("tool: files of nginx are root's here")
    assert capabilities == "tool: without its file capabilities: /usr/bin/ping (cap_net_raw=ep)"
    listed = run("tar", "--numeric-owner", "-tvf", str(archive), timeout=250).stdout.decode()
    assert {line.split()[-1].lstrip("./") for line in listed.splitlines()} == set(files)
    assert {line.split()[1] for line in listed.splitlines()} == {"0/0"}
    assert list(tmp_path.glob("*.tgz")) == []


@pytest.mark.parametrize("size", [0, 3, 300, 3000, -1])
def test_what_is_no_package_or_damaged(tmp_path: Path, size: int) -> None:
    file = write_rpm(tmp_path, "tool", {"usr/share/noise": os.urandom(30_000).hex()})
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(Malformed, match=r"tool\.rpm is no RPM package, or damaged: \w"):
        open_package(file, tmp_path)


@pytest.mark.parametrize("text", ["nginx", "gcc-c++", "glibc-2.39-1.fc40.x86_64", "python3.12", "a2", "x~rc1"])
def test_names_of_packages(text: str) -> None:
    assert is_package_name(text)


@pytest.mark.parametrize("text", ["", "-o", "--help", "a b", "../x", "a/b", "x\n", "@group", "*"])
def test_other_words(text: str) -> None:
    assert not is_package_name(text)
