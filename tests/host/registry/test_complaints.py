"""What the real skopeo, old and new, says of what lasts: each is told for what it is, and no hint leads nowhere."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Invalid, ReconcilerError, Unavailable
from reconciler.host.registry.archivenames import names_in
from reconciler.host.registry.skopeo import Skopeo
from tests.rig import faultyregistry as faulty
from tests.rig.faultyregistry import FaultyRegistry, Shelf, status
from tests.rig.images import command, write_image
from tests.rig.newerskopeo import newer_skopeo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.faultyregistry import Exchange, Fault

pytestmark = pytest.mark.commands

OCI: Final = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(params=["own", "newer"], autouse=True)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where skopeo looks for what its user has; of either of two versions."""
    if request.param == "newer":
        monkeypatch.setenv("PATH", f"{newer_skopeo(tmp_path / 'newer')}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (".config/containers", ".docker"):
        (tmp_path / "home" / name).mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def registry(home: Path) -> Iterator[FaultyRegistry]:
    """One that has an image."""
    shelf = Shelf()
    config = shelf.put_blob(b"{}", "application/vnd.oci.image.config.v1+json")
    shelf.put_manifest("x", {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": []})
    with FaultyRegistry("nowhere:1") as running:
        _configure(home, f'[[registry]]\nlocation = "{running.address}"\ninsecure = true\n')
        running.otherwise = shelf.serve
        yield running


def _configure(home: Path, text: str) -> None:
    (home / ".config/containers/registries.conf").write_text(text)


def _told(argument: str, kind: type[ReconcilerError], code: str) -> ReconcilerError:
    with pytest.raises(ReconcilerError) as caught:
        Skopeo().raw_manifest(argument)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


def _larger_than_any(exchange: Exchange) -> None:
    exchange.refuse(200, json.dumps({"a": " " * (5 << 20)}).encode(), Content_Type=OCI)


def _in_a_circle(exchange: Exchange) -> None:
    exchange.refuse(307, Location=exchange.path)


@pytest.mark.parametrize(
    ("fault", "where", "kind", "code"),
    [
        (_larger_than_any, "manifests", Invalid, "limit.exceeded"),
        (_in_a_circle, "manifests", Invalid, "registry.redirect"),
        (_in_a_circle, "/v2/$", Invalid, "registry.redirect"),
        (status(404), "/v2/$", Unavailable, "registry.not-a-registry"),
        (status(404, b"<html>404 page not found</html>"), "", Unavailable, "registry.not-a-registry"),
        (status(405), "/v2/$", Unavailable, "registry.not-a-registry"),
        (status(400), "/v2/$", Unavailable, "registry.not-a-registry"),
        (status(403), "/v2/$", Invalid, "registry.credentials"),
        (status(404), "manifests", Invalid, "registry.not-found"),
        (faulty.hang_up, "/v2/$", Unavailable, "registry.broken-off"),
    ],
)
def test_what_registries_do(
    registry: FaultyRegistry, fault: Fault, where: str, kind: type[ReconcilerError], code: str
) -> None:
    registry.inject(fault, where)
    _told(f"docker://{registry.address}/x:v1", kind, code)


def test_a_name_that_is_none(registry: FaultyRegistry) -> None:
    told = _told(f"docker://{registry.address}/X:v1", Invalid, "config.invalid")
    assert "lowercase" in str(told.hint)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[registry]]\nlocation = 'ADDRESS'\nblocked = true\n", "blocks the registry"),
        ("[[registry]]\nprefix = '*.example'\nblocked = \n", "is not valid"),
        ("unqualified-search-registries = ['x'\n", "is not valid"),
        ("[[registry]]\nlocation = ''\n", "is not valid"),
        ("[registries.search]\nregistries = ['a']\n[[registry]]\nlocation = 'b'\n", "is not valid"),
    ],
)
def test_what_registries_conf_says(registry: FaultyRegistry, home: Path, text: str, words: str) -> None:
    _configure(home, text.replace("ADDRESS", registry.address))
    assert words in _told(f"docker://{registry.address}/x:v1", Invalid, "registry.configuration").message


def test_a_program_for_credentials_that_is_missing(registry: FaultyRegistry, home: Path) -> None:
    (home / ".docker/config.json").write_text(json.dumps({"credHelpers": {registry.address: "gone"}}))
    told = _told(f"docker://{registry.address}/x:v1", Invalid, "registry.credentials")
    assert "is not installed" in told.message
    assert "docker-credential-gone" in told.message
    (home / ".docker/config.json").write_text("{}")  # as the hint has it
    assert Skopeo().raw_manifest(f"docker://{registry.address}/x:v1")


def test_a_program_for_credentials_that_fails_may_not_always(
    registry: FaultyRegistry, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker-credential-cloud").write_text(
        "#!/bin/sh\necho 'access denied: no network, 404'\nexit 1\n"
    )
    (tmp_path / "bin/docker-credential-cloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path}/bin")
    (home / ".docker/config.json").write_text(json.dumps({"credHelpers": {registry.address: "cloud"}}))
    told = _told(f"docker://{registry.address}/x:v1", Unavailable, "registry.credentials")
    assert f"echo {registry.address} | docker-credential-" in str(told.hint)


def test_a_file_of_credentials_that_is_broken(registry: FaultyRegistry, home: Path) -> None:
    (home / ".docker/config.json").write_text("{")
    told = _told(f"docker://{registry.address}/x:v1", Invalid, "registry.credentials")
    assert "the file with the credentials" in told.message


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        write_image(tmp_path / "layout", name, command(name, name))
    return tmp_path / "layout"


def _archive(layout: Path, transport: str) -> Path:
    archive = layout.with_name(f"{transport}.tar")
    with tarfile.open(archive, "w") as opened:
        if transport == "oci-archive":
            opened.add(layout, ".")
            return archive
        _add_as_docker_has_it(opened, layout)
    return archive


def _add_as_docker_has_it(opened: tarfile.TarFile, layout: Path) -> None:
    listed, added = [], set()
    for name in ("one", "two"):
        single = layout.with_name(f"{name}.tar")
        command_line = ["skopeo", "copy", "-q", f"oci:{layout}:{name}", f"docker-archive:{single}:local/{name}:v1"]
        subprocess.run(command_line, check=True)
        with tarfile.open(single) as found:
            for member in found:
                content = found.extractfile(member)
                if member.name == "manifest.json" and content:
                    listed += json.load(content)
                elif member.name not in added:
                    opened.addfile(member, content)
                    added.add(member.name)
    document = json.dumps(listed).encode()
    member = tarfile.TarInfo("manifest.json")
    member.size = len(document)
    opened.addfile(member, io.BytesIO(document))


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
@pytest.mark.parametrize("asked", ["", "three"])
def test_of_several_images_the_names_are_listed(layout: Path, transport: str, asked: str) -> None:
    place = layout if transport == "oci" else _archive(layout, transport)
    names = ["docker.io/local/one:v1", "docker.io/local/two:v1"] if "docker" in transport else ["one", "two"]
    argument = f"{transport}:{place}"
    told = _told(f"{argument}:{asked}" if asked else argument, Invalid, _code(asked))
    assert told.hint == f"name one of them as {argument}:NAME; there are {', '.join(names)}"
    named = str(re.sub(r".* as (\S+):NAME.*", r"\1", told.hint))
    for name in names:
        assert Skopeo().raw_manifest(f"{named}:{name}")


def _code(asked: str) -> str:
    return "registry.not-found" if asked else "source.ambiguous"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"manifests": 1}', b'{"manifests": [[]]}', b"[" * 100_000])
def test_a_layout_that_is_none_has_no_names(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.json").write_bytes(content)
    (tmp_path / "archive").write_bytes(content)
    for argument in (f"oci:{tmp_path}", f"oci-archive:{tmp_path}/archive", f"docker-archive:{tmp_path}/archive"):
        assert names_in(argument) == []
    assert names_in(f"dir:{tmp_path}") == []
