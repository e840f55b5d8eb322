"""Debian packages by name: the machine's own apt, with a repository made here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid, Unavailable
from reconciler.host.base.command import check, run
from reconciler.host.sources.debs import download, is_package_name, open_package
from tests.rig.debs import write_deb

if TYPE_CHECKING:
    from pathlib import Path

STATUS = (
    "Package: {}\nStatus: install ok installed\nVersion: 1.0\nArchitecture: all\nMaintainer: x\nDescription: x\n\n"
)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tool` depends on `library` and on `there`, which is installed."""
    repository = tmp_path / "repository"
    repository.mkdir()
    write_deb(repository, "library", {"usr/lib/library": ""})
    write_deb(repository, "there", {"usr/lib/there": ""})
    write_deb(repository, "tool", {"usr/bin/tool": ""}, depends="library, there")
    write_deb(repository, "torn", {"usr/bin/torn": ""}, depends="nowhere")
    packages = "".join(map(_entry, sorted(repository.glob("*.deb"))))
    (repository / "Packages").write_text(packages)
    for name in ("lists/partial", "archives/partial", "etc"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    (tmp_path / "apt/etc/sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (tmp_path / "apt/status").write_text(STATUS.format("there"))
    settings = {
        "State::lists": f"{tmp_path}/apt/lists",
        "State::status": f"{tmp_path}/apt/status",
        "Cache": f"{tmp_path}/apt",
        "Etc::sourcelist": f"{tmp_path}/apt/etc/sources.list",
        "Etc::sourceparts": "-",
        "Etc::preferencesparts": "-",
    }
    text = "".join(f'Dir::{key} "{value}";\n' for key, value in settings.items())
    (tmp_path / "apt.conf").write_text(text + 'APT::Sandbox::User "root";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    check(run("apt-get", "update", timeout=250), "apt-get update")
    return repository


def _entry(package: Path) -> str:
    control = check(run("dpkg-deb", "--field", str(package), timeout=250), "dpkg-deb").stdout.decode()
    content = package.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n\n"


def _names(files: list[Path]) -> list[str]:
    return [file.name.partition("_")[0] for file in files]


@pytest.mark.commands
@pytest.mark.usefixtures("repository")
def test_dependencies_that_are_not_there_come_along(tmp_path: Path) -> None:
    assert _names(download(["tool"], tmp_path / "a", None, "amd64", depends=True)) == ["library", "tool"]
    assert _names(download(["tool=1.0"], tmp_path / "b", None, "amd64", depends=False)) == ["tool"]
    base = tmp_path / "base"
    (base / "var/lib/dpkg").mkdir(parents=True)
    (base / "var/lib/dpkg/status").write_text(STATUS.format("library"))
    assert _names(download(["tool"], tmp_path / "c", base, "amd64", depends=True)) == ["there", "tool"]


@pytest.mark.commands
@pytest.mark.usefixtures("repository")
def test_what_is_there_is_downloaded_if_it_is_named(tmp_path: Path) -> None:
    assert _names(download(["there"], tmp_path / "a", None, "amd64", depends=True)) == ["there"]


@pytest.mark.commands
def test_what_cannot_be_had(repository: Path, tmp_path: Path) -> None:
    for names in (["nothing-of-this-name"], ["tool=9"]):
        with pytest.raises(Invalid, match="apt: "):
            download(names, tmp_path / "a", None, "amd64", depends=True)
    with pytest.raises(Invalid, match="apt: "):
        download(["torn"], tmp_path / "b", None, "amd64", depends=True)
    (repository / "tool.deb").unlink()
    with pytest.raises(Unavailable, match="apt: "):
        download(["tool"], tmp_path / "c", None, "amd64", depends=False)


@pytest.mark.commands
def test_a_package_is_taken_apart(tmp_path: Path) -> None:
    file = write_deb(tmp_path, "tool", {"usr/bin/tool": "x"}, postinst="#!/bin/sh\n")
    package, archive = open_package(file, tmp_path)
    assert (package.name, package.version, package.notices) == ("tool", "1.0", ("tool: not run: postinst",))
    assert "usr/bin/tool" in run("tar", "-tf", str(archive), timeout=250).stdout.decode()
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(Invalid, match=r"tool\.deb"):
        open_package(file, tmp_path)


@pytest.mark.parametrize(
    "text", ["nginx", "libc6:amd64", "g++", "nginx=1.22.1-9+deb12u2", "x11-apps/bookworm", "a2=1:2~3"]
)
def test_names_of_packages(text: str) -> None:
    assert is_package_name(text)


@pytest.mark.parametrize("text", ["", "-o", "--help", "a b", "../x", "a/b/c", "x\n", "A", "nginx="])
def test_other_words(text: str) -> None:
    assert not is_package_name(text)
