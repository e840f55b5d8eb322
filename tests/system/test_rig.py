"""The rig itself: images, the registry, and the private mount namespace with the real systemd-sysext."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.images import MTIME, Member, extension, tar_layer, write_index, write_layout
from tests.system.namespace import Namespace
from tests.system.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.images import Compression

pytestmark = [pytest.mark.system, pytest.mark.commands]

HELLO = {"usr/bin/rig-hello": "#!/bin/sh\necho hello from an extension\n"}
STORE = "/var/lib/livelayer/store/sha256"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for all tests; each uses a repository of its own."""
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def disk() -> Iterator[Path]:
    """An empty directory on a real disk, which /tmp need not be."""
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir="/var/tmp") as scratch:
        yield Path(scratch)


@pytest.fixture
def namespace(disk: Path) -> Iterator[Namespace]:
    """A private mount namespace."""
    with Namespace(disk) as inside:
        yield inside


def place(namespace: Namespace, name: str, says: str) -> None:
    """Put an extension into the store and link it, as livelayer does."""
    files = {f"usr/bin/{name}": f"#!/bin/sh\necho {says}\n"}
    for member in extension(name, files):
        if member.kind == "file":
            namespace.write(f"{STORE}/{says}.directory/{member.name}", member.content.decode(), member.mode)
    target = f"../livelayer/store/sha256/{says}.directory"
    namespace.run("ln", "--symbolic", "--force", "--no-dereference", target, f"/var/lib/extensions/{name}")


def home_with(directory: Path, registries_conf: str) -> dict[str, str]:
    """An environment in which skopeo finds that configuration."""
    config = directory / ".config/containers/registries.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(registries_conf)
    return {**os.environ, "HOME": str(directory)}


def digest_of(reference: str, environment: dict[str, str]) -> str:
    command = ["skopeo", "inspect", "--format={{.Digest}}", reference]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_a_layer_has_every_kind_of_member_and_is_the_same_each_time() -> None:
    members = (
        *extension("x", HELLO, release_name="y"),
        Member("usr/bin/hard", kind="hardlink", target="usr/bin/rig-hello"),
        Member("usr/bin/soft", kind="symlink", target="rig-hello"),
        Member(
            "usr/bin/able",
            b"x",
            0o4755,
            uid=7,
            gid=8,
            xattrs={"security.capability": b"\x01\x00\xff", "user.a": b"b"},
        ),
        Member("usr/gone", kind="char"),
        Member("usr/pipe", kind="fifo"),
    )
    assert tar_layer(members) == tar_layer(members)
    with tarfile.open(fileobj=BytesIO(tar_layer(members))) as archive:
        found = {info.name: info for info in archive}
    assert found["usr/bin"].isdir()
    assert found["usr/bin/rig-hello"].mode == 0o755
    assert found["usr/lib/extension-release.d/extension-release.y"].mode == 0o644
    assert found["usr/bin/hard"].linkname == "usr/bin/rig-hello"
    assert found["usr/bin/soft"].issym()
    able = found["usr/bin/able"]
    assert (able.mode, able.uid, able.gid, able.mtime) == (0o4755, 7, 8, MTIME)
    assert able.pax_headers["SCHILY.xattr.security.capability"].encode(errors="surrogateescape") == b"\x01\x00\xff"
    assert found["usr/gone"].ischr()
    assert found["usr/pipe"].isfifo()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_an_image_keeps_its_digest_on_the_way(registry: Registry, tmp_path: Path, compression: Compression) -> None:
    layout = tmp_path / "layout"
    write_layout(layout, "v1", [tar_layer([])])
    digest = write_layout(layout, "v1", [tar_layer(extension("x", HELLO))], compression=compression)
    source = registry.push(layout, "v1", f"{compression}/x:v1")
    assert digest_of(source, home_with(tmp_path, registry.registries_conf())) == digest
    pulled = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{tmp_path}/pulled"]
    subprocess.run(pulled, check=True)
    layer = json.loads((tmp_path / "pulled/manifest.json").read_text())["layers"][0]["digest"]
    assert registry.fetched().count(layer) == 1


def test_an_index_has_an_image_for_each_platform(registry: Registry, tmp_path: Path) -> None:
    layers = {name: [tar_layer(extension(name.rpartition("/")[2], HELLO))] for name in ("linux/amd64", "linux/arm64")}
    index, manifests = write_index(tmp_path, "v1", layers)
    source = registry.push(tmp_path, "v1", "index/x:v1")
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", source]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == index
    document = json.loads(raw)
    assert [entry["digest"] for entry in document["manifests"]] == list(manifests.values())
    assert [entry["platform"]["architecture"] for entry in document["manifests"]] == ["amd64", "arm64"]
    assert f"PUT /v2/index/x/manifests/{manifests['linux/arm64']} 201" in registry.requests()


def test_a_registry_that_wants_credentials(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", "v1", [tar_layer(extension("x", HELLO))])
    with Registry(tmp_path / "registry", credentials=("joe", "secret")) as registry:
        source = registry.push(tmp_path / "layout", "v1", "x:v1")
        environment = home_with(tmp_path, registry.registries_conf())
        with pytest.raises(subprocess.CalledProcessError) as refused:
            digest_of(source, environment)
        assert "unauthorized" in refused.value.stderr or "authentication required" in refused.value.stderr
        (tmp_path / "auth.json").write_text(registry.auth_json())
        assert digest_of(source, {**environment, "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})


def test_a_registry_goes_down_and_comes_back(registry: Registry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path, "v1", [tar_layer(extension("x", HELLO))])
    source = registry.push(tmp_path, "v1", "down/x:v1")
    environment = home_with(tmp_path, registry.registries_conf())
    registry.stop()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        digest_of(source, environment)
    assert "connection refused" in refused.value.stderr
    registry.start()
    assert digest_of(source, environment) == digest


def test_a_linked_directory_is_merged_inside_and_nowhere_else(namespace: Namespace) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    place(namespace, "rig-hello", "one")
    namespace.run("systemd-sysext", "refresh")
    assert namespace.run("/usr/bin/rig-hello").stdout == "one\n"
    place(namespace, "rig-hello", "two")
    namespace.run("systemd-sysext", "refresh")
    assert namespace.run("/usr/bin/rig-hello").stdout == "two\n"
    assert " - overlay sysext " in namespace.run("cat", "/proc/self/mountinfo").stdout
    assert not Path("/usr/bin/rig-hello").exists()
    assert not Path("/usr/.systemd-sysext").exists()
    assert Path("/proc/self/mountinfo").read_text() == before


def test_what_is_written_inside_stays_inside(namespace: Namespace) -> None:
    for path in ("/etc/rig-file", "/etc/livelayer/rig-file", "/var/lib/rig-file", "/run/rig-file"):
        namespace.write(path, "x")
        assert namespace.run("cat", path).stdout == "x"
        assert not Path(path).exists()
    code = f"import os; os.setxattr('{STORE}', 'user.rig', b'x'); print(os.getxattr('{STORE}', 'user.rig'))"
    namespace.run("mkdir", "--parents", STORE)
    assert namespace.python(code) == "b'x'\n"
    assert namespace.run("cat", input="y", env={"LANG": "C"}).stdout == "y"
    assert namespace.run("false", check=False).returncode == 1


def test_the_namespace_ends_with_everything_in_it(disk: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with Namespace(disk) as namespace:
        inside = subprocess.Popen(namespace.command("sleep", "300"))
        namespace.run("sh", "-c", "nohup setsid sleep 300 >/dev/null 2>&1 &")
    assert inside.wait(5) == -9
    assert Path("/proc/self/mountinfo").read_text() == before
