"""The main job with the real systemd-sysext, skopeo and registry, in a private mount namespace."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from reconciler.host.node.machine import systemd_version
from reconciler.paths import Paths
from tests.model.fit.release_table import FITS, MISFITS, Row
from tests.rig.diskimages import extension_tree, squashfs
from tests.rig.images import Member, command, extension, write_image, write_index
from tests.rig.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message

    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]


def test_install_update_by_tag_withdraw(bench: Bench) -> None:
    one, two = (bench.push(tag, command("ipfs", f"ipfs {tag}")) for tag in ("v1", "v2"))
    bench.want(ipfs=one)
    assert bench.livelayer("plan", status=2).stdout.startswith("fetch ipfs sha256:")
    bench.livelayer("apply")
    assert bench.says("ipfs") == "ipfs v1"
    assert bench.livelayer("plan").stdout == "in sync\n"

    bench.want(ipfs=two)
    bench.livelayer("apply")
    assert bench.says("ipfs") == "ipfs v2"

    bench.want()
    bench.livelayer("apply")
    assert bench.merged() == []
    bench.namespace.run("test", "-e", "/usr/bin/ipfs", status=1)
    assert not Path("/usr/bin/ipfs").exists()


def test_the_pages_own_example(bench: Bench) -> None:
    """An image FROM scratch with /usr/bin/ipfs and extension-release.kubo, ID=_any."""
    files = extension("kubo", {"usr/bin/ipfs": "#!/bin/sh\necho ipfs version 0.15.0\n"})
    source = bench.push("v0.15.0", files).replace("docker://", "container://")
    bench.configure(f"extensions: {{ipfs: {{source: '{source}'}}}}")
    told = bench.livelayer("apply", status=1).stderr
    assert "release file is extension-release.kubo, not extension-release.ipfs" in told
    assert "call the extension kubo, or set rename: true" in told
    assert bench.merged() == []
    bench.configure(f"extensions: {{ipfs: {{source: '{source}', rename: true}}}}")
    bench.livelayer("apply")
    assert bench.says("ipfs") == "ipfs version 0.15.0"
    bench.configure(f"extensions: {{kubo: {{source: '{source}'}}}}")
    bench.livelayer("apply")
    assert bench.merged() == ["kubo"]


def test_a_hand_placed_extension_is_shown_and_untouched(bench: Bench) -> None:
    byhand = bench.namespace.path("/var/lib/extensions/byhand")
    for member in command("byhand", "by hand"):
        path = byhand / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(member.content)
        path.chmod(member.mode)
    bench.want(one=bench.push("v1", command("one", "one")))
    bench.livelayer("apply")
    assert bench.merged() == ["byhand", "one"]
    assert (bench.status()["byhand"]["state"], bench.status()["byhand"]["merged"]) == ("unmanaged", True)
    bench.want()
    bench.livelayer("apply")
    assert bench.merged() == ["byhand"]
    assert bench.says("byhand") == "by hand"


def test_migration_from_an_image_placed_by_hand_hides_nothing_of_the_host(bench: Bench, tmp_path: Path) -> None:
    """While the old one is merged its files are seen in /usr; the host's own are those below the overlay."""
    image = bench.namespace.path("/var/lib/extensions/tool.raw")
    squashfs(extension_tree(tmp_path / "tree", "tool"), image)
    bench.namespace.run("systemd-sysext", "refresh")
    assert bench.says("tool") == "tool"
    source = bench.push("v1", command("tool", "tool v1"))
    bench.configure(f"settings: {{preflight: {{host_files: refuse}}}}\nextensions: {{tool: {{source: '{source}'}}}}")
    told = bench.livelayer("apply", status=1).stderr
    assert "tool.raw" in told
    assert "remove" in told
    assert "of this host" not in told
    assert json.loads(bench.livelayer("provides", "/usr/bin/tool", "--json", status=1).stdout)["host"] is False
    assert json.loads(bench.livelayer("inspect", source, "--json").stdout)["hides"] == []
    image.unlink()
    assert "of this host" not in bench.livelayer("plan", status=2).stderr
    assert "of this host" not in bench.livelayer("apply").stderr
    assert bench.says("tool") == "tool v1"
    assert bench.livelayer("plan").stdout == "in sync\n"


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_file_of_the_host_is_found_below_what_is_merged(bench: Bench, *, is_merged: bool) -> None:
    bench.want(other=bench.push("v1", command("other", "other"), name="other"))
    if is_merged:
        bench.livelayer("apply")
        assert bench.merged() == ["other"]
    layer = (*command("tool", "tool"), Member("usr/bin/env", b"#!/bin/sh\n", mode=0o755))
    source = bench.push("v1", layer, name="tool")
    bench.configure(f"settings: {{preflight: {{host_files: refuse}}}}\nextensions: {{tool: {{source: '{source}'}}}}")
    assert "tool: hides /usr/bin/env of this host" in bench.livelayer("apply", status=1).stderr
    assert not bench.namespace.path("/var/lib/extensions/tool").exists()


BROKEN = {
    "no release file": (Member("usr/bin/bad", b"x"),),
    "os-release": (*command("bad", "bad"), Member("usr/lib/os-release", b"ID=evil\n")),
    "misplaced": (*command("bad", "bad"), Member("etc/passwd", b"root::0:0::/:/bin/sh\n")),
    "other OS": command("bad", "bad", "ID=fedora\nVERSION_ID=40\n"),
    "traversal": (*command("bad", "bad"), Member("usr/../../../escaped", b"x")),
    "device": (*command("bad", "bad"), Member("usr/bin/null", kind=b"3")),
}


@pytest.mark.parametrize("layer", BROKEN.values(), ids=BROKEN)
def test_a_broken_extension_beside_a_good_one(bench: Bench, layer: Sequence[Member]) -> None:
    bench.want(bad=bench.push("v1", layer, name="bad"), good=bench.push("v1", command("good", "good"), name="good"))
    told = bench.livelayer("apply", status=1).stderr
    assert "bad: " in told
    assert "Traceback" not in told
    assert bench.merged() == ["good"]
    assert bench.says("good") == "good"
    assert (bench.status()["bad"]["state"], bench.status()["good"]["state"]) == ("failed", "in-sync")
    assert not list(bench.namespace.path("/var/lib/livelayer/staging").iterdir())


def test_a_misfit_update_keeps_the_version_that_fits(bench: Bench) -> None:
    bench.want(x=bench.push("v1", command("x", "one")))
    bench.livelayer("apply")
    bench.want(x=bench.push("v2", command("x", "two", "ID=debian\nVERSION_ID=99\n")))
    assert "VERSION_ID=99, this host has" in bench.livelayer("apply", status=1).stderr
    assert bench.says("x") == "one"


def test_an_unchanged_layer_is_not_fetched_again(bench: Bench) -> None:
    base, first, second = (command(name, name) for name in ("base", "first", "second"))
    release = extension("x", {})
    bench.want(x=bench.push("v1", base, first, release))
    bench.livelayer("apply")
    source = bench.push("v2", base, second, release)
    before = len(bench.registry.requests())
    bench.want(x=source)
    bench.livelayer("apply")
    asked = [line for line in bench.registry.requests()[before:] if line.startswith("GET") and "/blobs/" in line]
    assert len(asked) == 2, asked  # the new layer and the new configuration
    assert bench.says("second") == "second"
    bench.namespace.run("test", "-e", "/usr/bin/first", status=1)


def test_a_run_with_nothing_to_do_asks_nothing_and_refreshes_nothing(bench: Bench) -> None:
    bench.want(x=bench.push("v1", command("x", "x")))
    bench.livelayer("apply")
    before = (
        len(bench.registry.requests()),
        bench.namespace.run("stat", "-c", "%y", "/usr/.systemd-sysext/dev").stdout,
    )
    bench.livelayer("apply")
    after = len(bench.registry.requests()), bench.namespace.run("stat", "-c", "%y", "/usr/.systemd-sysext/dev").stdout
    assert before == after


def test_pull_always_follows_a_moved_tag_and_pull_missing_does_not(bench: Bench) -> None:
    source = bench.push("latest", command("x", "one"))
    bench.want(x=source)
    bench.livelayer("apply")
    bench.push("latest", command("x", "two"))
    bench.livelayer("apply")
    assert bench.says("x") == "one"
    bench.configure(f"extensions: {{x: {{source: '{source}', pull: always}}}}")
    bench.livelayer("apply")
    assert bench.says("x") == "two"


def test_a_registry_that_is_down_leaves_everything_as_it_is(bench: Bench, tmp_path: Path) -> None:
    with Registry(tmp_path / "other") as other:
        write_image(bench.layout, "v1", command("x", "x"))
        source = other.push(bench.layout, "v1", "x:v1")
        bench.allow_plain_http(other)
        bench.configure(f"extensions: {{x: {{source: '{source}', pull: always}}}}")
        bench.livelayer("apply")
        other.stop()
        bench.livelayer("apply")
        assert bench.says("x") == "x"
        bench.want(x=source, y=source.replace("x:v1", "y:v1"))
        told = bench.livelayer("apply", status=1).stderr
        assert "y: docker://" in told
        assert "the registry refuses connections" in told
        assert bench.merged() == ["x"]


def test_a_pinned_digest_is_fetched_though_the_tag_moved_and_another_content_is_refused(bench: Bench) -> None:
    source = bench.push("v1", command("x", "one"))
    pin = write_image(bench.layout, "v1", command("x", "one"))
    bench.push("v1", command("x", "two"))
    bench.configure(f"extensions: {{x: {{source: '{source}', digest: '{pin}'}}}}")
    bench.livelayer("apply")
    assert bench.says("x") == "one"
    other = "sha256:" + "0" * 64
    bench.configure(f"extensions: {{x: {{source: 'oci:{bench.layout}:v1', digest: '{other}'}}}}")
    assert f"not to the pinned {other}" in bench.livelayer("apply", status=1).stderr


def test_a_multi_platform_index_is_resolved_for_this_node(bench: Bench) -> None:
    index = write_index(bench.layout, "v1", {"arm64": command("x", "arm"), "amd64": command("x", "amd")})
    source = bench.registry.push(bench.layout, "v1", "index:v1")
    bench.want(x=source)
    bench.livelayer("apply")
    assert bench.says("x") == "amd"
    bench.configure(f"extensions: {{x: {{source: '{source}', platform: linux/arm64, digest: '{index}'}}}}")
    bench.livelayer("apply")
    assert bench.says("x") == "arm"
    bench.configure(f"extensions: {{x: {{source: '{source}', platform: linux/s390x}}}}")
    assert "has no linux/s390x; it has linux/arm64, linux/amd64" in bench.livelayer("apply", status=1).stderr


def test_an_image_for_another_machine_is_refused_unless_the_user_insists(bench: Bench) -> None:
    write_image(bench.layout, "arm", command("x", "x"), architecture="arm64")
    bench.want(x=f"oci:{bench.layout}:arm")
    told = bench.livelayer("apply", status=1).stderr
    assert "is an image for linux/arm64, not for linux/amd64" in told
    bench.configure(f"extensions: {{x: {{source: 'oci:{bench.layout}:arm', platform: linux/arm64}}}}")
    bench.livelayer("apply")
    assert bench.says("x") == "x"


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive", "dir"])
def test_local_transports(bench: Bench, tmp_path: Path, transport: str) -> None:
    layers = command("gone", "gone"), (*command("x", "x"), Member("usr/bin/.wh.gone"))
    write_image(bench.layout, "v1", *layers)
    where = {"oci": f"{bench.layout}:v1", "docker-archive": f"{tmp_path}/x.tar:x:v1"}
    source = f"{transport}:{where.get(transport, tmp_path / 'x')}"
    if transport != "oci":
        subprocess.run(["skopeo", "copy", "--quiet", f"oci:{bench.layout}:v1", source], check=True)
    bench.want(x=source)
    bench.livelayer("apply", "--offline")
    assert bench.says("x") == "x"
    bench.namespace.run("test", "-e", "/usr/bin/gone", status=1)


def test_credentials(bench: Bench, tmp_path: Path) -> None:
    with Registry(tmp_path / "private", user="robot", password="secret") as private:
        write_image(bench.layout, "v1", command("x", "x"))
        bench.allow_plain_http(private)
        bench.want(x=private.push(bench.layout, "v1", "x:v1"))
        told = bench.livelayer("apply", status=1).stderr
        assert "the registry wants valid credentials" in told
        auth = bench.namespace.path("/etc/livelayer/auth.json")
        login = [
            "skopeo",
            "login",
            "--tls-verify=false",
            f"--authfile={auth}",
            "-u=robot",
            "-p=secret",
            private.address,
        ]
        subprocess.run(login, check=True, capture_output=True)
        bench.livelayer("apply")
        assert bench.says("x") == "x"
        auth.unlink()
        other = tmp_path / "other.json"
        subprocess.run([word.replace(str(auth), str(other)) for word in login], check=True, capture_output=True)
        bench.want(y=private.push(bench.layout, "v1", "y:v1"))
        assert "release file" in bench.livelayer("apply", status=1, REGISTRY_AUTH_FILE=str(other)).stderr


def test_mirrors(bench: Bench) -> None:
    bench.push("v1", command("x", "x"), name="mirrored")
    repository = (
        bench.registry.push(bench.layout, "v1", "mirror/x:v1").removeprefix("docker://").removesuffix("/x:v1")
    )
    bench.registries_conf(
        "mirrors",
        f'[[registry]]\nprefix = "registry.example"\nlocation = "registry.example"\n'
        f'[[registry.mirror]]\nlocation = "{repository}"\ninsecure = true\n',
    )
    bench.want(x="docker://registry.example/x:v1")
    bench.livelayer("apply")
    assert bench.says("x") == "x"


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests for registry.example on to the registry, and remembers that it did."""

    registry = ""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        target = self.path.replace("http://registry.example", f"http://{self.registry}")
        request = urllib.request.Request(target, headers={"Accept": self.headers.get("Accept", "*/*")})
        try:
            with urllib.request.urlopen(request) as answer:
                self._pass_on(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            self._pass_on(error.code, error.headers, error.read())
            error.close()

    def _pass_on(self, status: int, headers: Message, body: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_proxies(bench: Bench) -> None:
    source = bench.push("v1", command("x", "x")).replace(bench.registry.address, "registry.example")
    bench.registries_conf("plain", '[[registry]]\nlocation = "registry.example"\ninsecure = true\n')
    _Proxy.registry = bench.registry.address
    bench.want(x=source)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_address[1]}"
        bench.livelayer("apply", HTTP_PROXY=address, HTTPS_PROXY="http://127.0.0.1:9")
        proxy.shutdown()
    assert bench.says("x") == "x"
    assert any("/blobs/" in path for path in _Proxy.asked)


def test_the_signature_policy_is_obeyed(bench: Bench) -> None:
    bench.want(x=bench.push("v1", command("x", "x")))
    policy = '{"default": [{"type": "reject"}]}'
    copied = "cp -r /etc/containers /run/containers.d && mount --bind /run/containers.d /etc/containers"
    bench.namespace.run("sh", "-c", f"{copied} && echo '{policy}' > /etc/containers/policy.json")
    told = bench.livelayer("apply", status=1).stderr
    assert "refused by the signature policy" in told
    assert bench.merged() == []
    bench.namespace.run("rm", "/etc/containers/policy.json")
    assert "skopeo has no signature policy" in bench.livelayer("apply", status=1).stderr


def test_signed_images_are_taken_and_unsigned_ones_refused(bench: Bench, tmp_path: Path) -> None:
    """GPG signatures in a lookaside store, as `skopeo copy --sign-by` makes them."""
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--batch", f"--homedir={home}", "--passphrase=", "--quiet")
    subprocess.run([*gpg, "--quick-generate-key", "builder@registry.example"], check=True, capture_output=True)
    (tmp_path / "key").write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    lookaside = f"file://{tmp_path}/signatures"
    (tmp_path / "registries.d").mkdir()
    where = f"default-docker:\n  lookaside: {lookaside}\n  lookaside-staging: {lookaside}\n"
    (tmp_path / "registries.d/default.yaml").write_text(where)
    signed, unsigned = (bench.push("v1", command(name, name), name=name) for name in ("signed", "unsigned"))
    sign = [
        "skopeo",
        f"--registries.d={tmp_path}/registries.d",
        "copy",
        "--quiet",
        "--sign-by=builder@registry.example",
    ]
    sign += ["--src-tls-verify=false", "--dest-tls-verify=false", signed, signed]
    subprocess.run(sign, check=True, capture_output=True, env={**os.environ, "GNUPGHOME": str(home)})
    subprocess.run(["gpgconf", f"--homedir={home}", "--kill", "gpg-agent"], check=True)

    rule = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": f"{tmp_path}/key"}
    policy = json.dumps({"default": [{"type": "reject"}], "transports": {"docker": {"": [rule]}}})
    (tmp_path / "policy.json").write_text(policy)
    copied = "cp -r /etc/containers /run/containers.d && mount --bind /run/containers.d /etc/containers"
    place = f"cp -r {tmp_path}/registries.d {tmp_path}/policy.json /etc/containers"
    bench.namespace.run("sh", "-c", f"{copied} && {place}")
    bench.want(signed=signed, unsigned=unsigned)
    told = bench.livelayer("apply", status=1).stderr
    assert "unsigned: docker://" in told
    assert "refused by the signature policy" in told
    assert bench.merged() == ["signed"]


def test_a_damaged_blob_is_fetched_again(bench: Bench) -> None:
    """What a power cut while skopeo wrote leaves: a file that is not what its name says."""
    source = bench.push("v1", command("x", "x"))
    bench.want(x=source)
    bench.livelayer("apply")
    blobs = bench.namespace.path("/var/lib/livelayer/blobs/sha256")
    for blob in blobs.iterdir():
        if blob.read_bytes().startswith(b"\x1f\x8b"):
            blob.write_bytes(blob.read_bytes()[:100])
    shutil.rmtree(bench.namespace.path("/var/lib/livelayer/store"))
    told = bench.livelayer("apply").stderr
    assert "is damaged and will be fetched again" in told
    assert bench.says("x") == "x"


def test_a_cache_of_skopeos_that_a_power_cut_damaged_is_no_matter(bench: Bench) -> None:
    cache = bench.namespace.path("/var/lib/containers/cache/blob-info-cache-v1.boltdb")
    bench.want(x=bench.push("v0", command("x", "v0")))
    bench.livelayer("apply")
    pages = cache.read_bytes()
    head, size = pages[:8192], len(pages) - 8192  # what says that it is a database, and is read first
    for number, damaged in enumerate((head + bytes(size), head + b"\xff" * size, head + b"x"), start=1):
        cache.write_bytes(damaged)
        bench.want(x=bench.push(f"v{number}", command("x", f"v{number}")))
        assert "skopeo's cache was damaged, and is removed" in bench.livelayer("apply").stderr
        assert bench.says("x") == f"v{number}"


def test_what_somebody_unmerged_is_merged_again(bench: Bench) -> None:
    bench.want(x=bench.push("v1", command("x", "x")))
    bench.livelayer("apply")
    bench.namespace.run("systemd-sysext", "unmerge")
    assert bench.livelayer("plan", status=2).stdout == "refresh the sysext overlay (x is placed but not merged)\n"
    bench.livelayer("apply")
    assert bench.says("x") == "x"


def test_a_link_changed_behind_our_back_is_noticed(bench: Bench) -> None:
    one, two = (bench.push(tag, command("x", tag)) for tag in ("v1", "v2"))
    bench.want(x=two)
    bench.livelayer("apply")
    bench.want(x=one)
    bench.livelayer("apply")
    link = bench.namespace.path("/var/lib/extensions/x")
    target = link.readlink()
    link.unlink()
    link.symlink_to(target)
    assert "was changed after the last merge" in bench.livelayer("plan", status=2).stdout
    bench.livelayer("apply")
    assert bench.livelayer("plan").stdout == "in sync\n"


def test_an_interrupted_run_is_made_good(bench: Bench) -> None:
    bench.want(x=bench.push("v1", command("x", "x")))
    bench.livelayer("apply")
    bench.namespace.run("touch", "/run/livelayer/state/refresh-owed-sysext")
    assert "an earlier run ended before its refresh" in bench.livelayer("plan", status=2).stdout
    bench.livelayer("apply")
    bench.namespace.run("test", "-e", "/run/livelayer/state/refresh-owed-sysext", status=1)


def test_what_does_not_merge_is_told_and_the_previous_state_restored(bench: Bench, tmp_path: Path) -> None:
    """An image by hand blocks every refresh, and behind a link that is not found in advance."""
    bench.want(x=bench.push("v1", command("x", "one")))
    bench.livelayer("apply")
    image = squashfs(extension_tree(tmp_path / "tree", "other"), tmp_path / "other.raw")
    bench.namespace.path("/var/lib/extensions/byhand.raw").symlink_to(image)
    bench.want(x=bench.push("v2", command("x", "two")))
    told = bench.livelayer("apply", status=1).stderr
    assert "after a refresh x did not merge (systemd-sysext: " in told
    assert "nothing merges beside /var/lib/extensions/byhand.raw" in told
    assert bench.says("x") == "one"
    assert (bench.status()["x"]["state"], bench.status()["x"]["merged"]) == ("failed", True)
    link = bench.namespace.path("/var/lib/extensions/x").readlink()
    bench.namespace.path("/var/lib/extensions/byhand.raw").unlink()
    bench.livelayer("apply")
    assert bench.says("x") == "two"
    assert bench.namespace.path("/var/lib/extensions/x").readlink() != link


def test_a_second_run_waits_or_says_who_is_at_work(bench: Bench) -> None:
    bench.want(x=bench.push("v1", command("x", "x")))
    holder = (
        "import fcntl,sys; f=open('/run/livelayer/state/lock','w'); fcntl.flock(f,2); f.write('somebody'); f.flush();"
    )
    bench.namespace.run("mkdir", "-p", "/run/livelayer/state")
    line = bench.namespace.command("python3", "-c", holder + "print('held',flush=True); sys.stdin.read()")
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        assert "somebody is at work on this node" in bench.livelayer("apply", "--wait", "0", status=1).stderr
        second = bench.namespace.command(bench.command, "apply")
        with subprocess.Popen(second, stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr
            assert "waiting for somebody" in waiting.stderr.readline()
            process.stdin.close()
            told = waiting.stderr.read()
        assert waiting.returncode == 0, told
    assert bench.says("x") == "x"


def test_another_root_is_filled_with_relative_links_and_nothing_is_merged(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "target"
    for directory in ("etc/livelayer", "usr/lib/systemd"):
        (root / directory).mkdir(parents=True)
    (root / "etc/os-release").write_text("ID=debian\nVERSION_ID=12\n")
    (root / "usr/lib/systemd/libsystemd-shared-257.so").touch()
    source = bench.push("v1", command("x", "x"))
    (root / "etc/livelayer/extensions.yaml").write_text(f"extensions: {{x: {{source: '{source}'}}}}")
    bench.livelayer("--root", str(root), "apply")
    link = root / "var/lib/extensions/x"
    assert not os.readlink(link).startswith("/")
    assert (link / "usr/bin/x").is_file()
    assert bench.merged() == []
    assert bench.livelayer("--root", str(root), "plan").stdout == "in sync\n"


def test_as_many_extensions_merge_as_an_overlay_takes_and_no_more_are_placed(bench: Bench) -> None:
    names = [f"ext{number:04}" for number in range(94)]
    for name in names:
        write_image(bench.layout, name, command(name, name))
    bench.want(**{name: f"oci:{bench.layout}:{name}" for name in names})
    bench.livelayer("apply")
    assert bench.merged() == names
    assert bench.says("ext0093") == "ext0093"

    write_image(bench.layout, "ext0094", command("ext0094", "ext0094"))
    bench.want(**{name: f"oci:{bench.layout}:{name}" for name in [*names, "ext0094"]})
    told = bench.livelayer("apply", status=1).stderr
    assert "ext0094: with it, 95 extensions would be merged" in told
    assert bench.merged() == names


def test_the_real_systemd_sysext_judges_as_the_table_says(bench: Bench) -> None:
    """Each row of the release table that this systemd's version and os-release can show, merged for real."""
    version = systemd_version(Paths())
    rows = [row for row in (*FITS, *MISFITS) if _is_same_judge(row, version)]
    assert len(rows) > 15
    for systems in {tuple(row.os_release.items()) for row in rows}:
        _merge_rows(bench, [row for row in rows if tuple(row.os_release.items()) == systems])


def _is_same_judge(row: Row, version: int) -> bool:
    """Whether this systemd is on the same side of every change of rules as the row's."""
    changes = (250, 252, 258)
    return all((row.systemd >= change) == (version >= change) for change in changes)


def _merge_rows(bench: Bench, rows: list[Row]) -> None:
    os_release = "".join(f'{key}="{value}"\n' for key, value in rows[0].os_release.items())
    bench.namespace.run(
        "sh", "-c", f"echo '{os_release}' > /run/os-release; mount --bind /run/os-release /etc/os-release"
    )
    expected = []
    for number, row in enumerate(rows):
        name = f"row{number:02}"
        release = "".join(f'{key}="{value}"\n' for key, value in row.release.items())
        for member in extension(name, {f"usr/share/{name}": row.title}, release or "\n"):
            path = bench.namespace.path(f"/var/lib/extensions/{name}") / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.content)
        expected += [name] if row in FITS else []
    bench.namespace.run("systemd-sysext", "refresh")
    merged = bench.merged()
    wrong = [row.title for number, row in enumerate(rows) if (f"row{number:02}" in merged) != (row in FITS)]
    assert wrong == []
    bench.namespace.run("systemd-sysext", "unmerge")
    bench.namespace.run("umount", "/etc/os-release")
    for number in range(len(rows)):
        shutil.rmtree(bench.namespace.path(f"/var/lib/extensions/row{number:02}"))


def test_attributes_of_the_layer_arrive_in_the_overlay(bench: Bench) -> None:
    layer = (
        *command("x", "x"),
        Member("usr/bin/setuid", b"x", 0o4755),
        Member("usr/bin/hard", kind=b"1", target="usr/bin/x"),
        Member("usr/bin/soft", kind=b"2", target="/nowhere/x"),
        Member("usr/bin/capable", b"x", 0o755, pax={"SCHILY.xattr.user.note": "hello"}),
    )
    bench.want(x=bench.push("v1", layer))
    bench.livelayer("apply")
    run = bench.namespace.run
    assert run("stat", "-c", "%a %u %g", "/usr/bin/setuid").stdout == "4755 0 0\n"
    assert run("/usr/bin/hard").stdout == "x\n"
    assert run("readlink", "/usr/bin/soft").stdout == "/nowhere/x\n"
    assert run("stat", "-c", "%Y", "/usr/bin/x").stdout == "1700000000\n"
    shown = run("python3", "-c", "import os; print(os.getxattr('/usr/bin/capable', 'user.note'))").stdout
    assert shown == "b'hello'\n"


def test_a_terminated_run_stops_its_fetch_and_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    slow = tmp_path / "bin/skopeo"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\necho begun >&2\nexec sleep 300\n")
    slow.chmod(0o755)
    bench.want(x=f"oci:{bench.layout}:v1")
    line = bench.namespace.command("env", f"PATH={slow.parent}:{os.environ['PATH']}", bench.command, "apply")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(1.5)
        process.terminate()
        assert process.wait(100) == 130
        assert process.stderr
        assert "ended by SIGTERM" in process.stderr.read()
    assert subprocess.run(["pgrep", "-fx", "sleep 300"], check=False, capture_output=True).returncode == 1
