"""skopeo lists the tags of a real registry, or says why not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid, Unavailable
from reconciler.host.registry.skopeo import Skopeo
from reconciler.model.content.version import parse_range
from tests.rig.images import command, write_image
from tests.rig.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.commands, pytest.mark.system]

Repository = str  # as skopeo is told


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Registry], None]:
    """Tells skopeo, by a home of its own, that a registry speaks plain HTTP; it has no credentials there."""
    containers = tmp_path / "home/.config/containers"
    containers.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))

    def write(registry: Registry) -> None:
        (containers / "registries.conf").write_text(registry.registries_conf())

    return write


def _fill(registry: Registry, scratch: Path, *tags: str) -> Repository:
    write_image(scratch / "layout", "x", command("x", "x"))
    pushed = [registry.push(scratch / "layout", "x", f"{scratch.name.lower()}/x:{tag}") for tag in tags]
    return pushed[0].rpartition(":")[0]


def test_all_tags(registry: Registry, tmp_path: Path, trust: Callable[[Registry], None]) -> None:
    registry.start()
    trust(registry)
    repository = _fill(registry, tmp_path, "v1.28.4", "v1.29.9", "v1.29.10", "v1.30.0-rc1", "latest")
    tags = Skopeo().list_tags(repository)
    assert sorted(tags) == ["latest", "v1.28.4", "v1.29.10", "v1.29.9", "v1.30.0-rc1"]
    assert parse_range(">=1.29").highest(tags) == "v1.29.10"


def test_no_such_repository(registry: Registry, trust: Callable[[Registry], None]) -> None:
    registry.start()
    trust(registry)
    with pytest.raises(Invalid, match="there is no such image"):
        Skopeo().list_tags(f"docker://{registry.address}/nothing/here")


def test_a_registry_that_is_down(registry: Registry, trust: Callable[[Registry], None]) -> None:
    registry.stop()
    trust(registry)
    with pytest.raises(Unavailable, match="the registry refuses connections"):
        Skopeo().list_tags(f"docker://{registry.address}/x")


def test_credentials(tmp_path: Path, trust: Callable[[Registry], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with Registry(tmp_path / "private", user="robot", password="secret") as private:
        trust(private)
        repository = _fill(private, tmp_path, "1.0")
        auth = tmp_path / "auth.json"
        with pytest.raises(Invalid, match="the registry wants valid credentials"):
            Skopeo(auth).list_tags(repository)
        _log_in(auth, private, "robot:secret")
        assert Skopeo(auth).list_tags(repository) == ("1.0",)
        _log_in(tmp_path / "other.json", private, "robot:wrong")
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "other.json"))
        with pytest.raises(Invalid, match="the registry wants valid credentials"):
            Skopeo(auth).list_tags(repository)


def _log_in(auth: Path, registry: Registry, credentials: str) -> None:
    """As containers-auth.json(5) describes the file."""
    token = base64.b64encode(credentials.encode()).decode()
    auth.write_text(json.dumps({"auths": {registry.address: {"auth": token}}}))
