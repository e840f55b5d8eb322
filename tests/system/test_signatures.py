"""A node whose policy asks for signatures takes what is signed, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.rig.diskimages import extension_tree, squashfs
from tests.rig.newerskopeo import newer_skopeo
from tests.rig.node import PROJECT, debian_root, run_in_root
from tests.rig.openpgp import KeyOwner
from tests.rig.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.commands, pytest.mark.system]

PAGE: Final = PROJECT / "docs/publishing.md"


class Signer(NamedTuple):
    """How somebody signs."""

    options: tuple[str, ...]
    env: Mapping[str, str]


class Trade:
    """A publisher and a node that trusts it, with one way of signing."""

    def __init__(self, bench: Bench, scratch: Path, signers: Mapping[str, Signer], env: Mapping[str, str]) -> None:
        self.bench, self.scratch, self.signers, self._env = bench, scratch, signers, env
        self.repository = f"docker://{bench.registry.address}/{bench.repository}/tool"

    def push(self, tag: str, says: str, by: str | None = None, status: int = 0) -> str:
        """Publish a tool that says something, signed or not; returns what livelayer prints or complains."""
        signer = self.signers[by] if by else Signer((), {})
        tree = extension_tree(self.scratch / f"tree-{says}", "tool", {"usr/bin/tool": f"#!/bin/sh\necho {says}\n"})
        return self.send(str(tree), f"{self.repository}:{tag}", signer, status)

    def send(self, what: str, destination: str, signer: Signer, status: int = 0, *options: str) -> str:
        """Push anything."""
        command = ("push", *options, *signer.options, what, destination)
        done = self.bench.livelayer(*command, status=status, **{**self._env, **signer.env})
        return done.stderr if status else done.stdout.strip()

    def put_under(self, tag: str, digest: str) -> None:
        """Let a tag lead to a manifest of the repository, as who holds the registry can."""
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]
        plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        subprocess.run([*command, *plain, f"{self.repository}@{digest}", f"{self.repository}:{tag}"], check=True)

    def want(self, tag: str, *, status: int = 0, more: str = "") -> str:
        """Have a node converge to a tag; returns what it says."""
        self.bench.configure(
            f"defaults: {{pull: always}}\nextensions: {{tool: {{source: '{self.repository}:{tag}'{more}}}}}\n"
        )
        return self.bench.livelayer("apply", status=status, **self._env).stderr

    def is_refused(self, tag: str, words: str) -> None:
        """A refusal is one line and a hint, and places nothing."""
        before = self.bench.merged()
        told = self.want(tag, status=1)
        assert words in told
        complaints = [line for line in told.splitlines() if words in line]
        assert len(complaints) == 1
        assert len(complaints[0]) < 500
        assert self.bench.merged() == before


def _documented(section: str, language: str) -> str:
    """What docs/publishing.md tells to write."""
    text = PAGE.read_text().partition(f"## {section}\n")[2]
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def _configure(bench: Bench, scratch: Path, section: str, *replaced: tuple[str, str]) -> None:
    """Write the policy and a file in registries.d as documented, for this test's repository and key."""
    for language, place in (("json", "policy.json"), ("yaml", "registries.d/team.yaml")):
        text = _documented(section, language)
        for old, new in (("registry.example/team", f"{bench.registry.address}/{bench.repository}"), *replaced):
            text = text.replace(old, new)
        (scratch / "written").write_text(text)
        bench.namespace.run("mkdir", "--parents", "/etc/containers/registries.d")
        bench.namespace.run("cp", str(scratch / "written"), f"/etc/containers/{place}")


@pytest.fixture
def by_gpg(bench: Bench, tmp_path: Path) -> Iterator[Trade]:
    """Signatures in a directory that a web server serves."""
    (tmp_path / "www").mkdir()
    with KeyOwner("publisher") as publisher, KeyOwner("stranger") as stranger, WebServer(tmp_path / "www") as web:
        key = publisher.export(tmp_path / "publisher.gpg")
        places = ("/srv/www/signatures", str(web.directory)), ("https://www.example/signatures", web.url)
        _configure(bench, tmp_path, "Sign, with GPG", *places, ("/etc/livelayer/keys/team.gpg", str(key)))
        signers = {
            owner: Signer(("--sign-by", it.fingerprint), {"GNUPGHOME": it.home})
            for owner, it in (("publisher", publisher), ("stranger", stranger))
        }
        yield Trade(bench, tmp_path, signers, {})


@pytest.fixture
def by_sigstore(bench: Bench, tmp_path: Path) -> Trade:
    """Signatures in the registry, by a skopeo that can do this."""
    (tmp_path / "passphrase").write_text("secret")
    shared = ("--read-only", f"--bind={tmp_path}:/mnt")
    signers = {}
    for owner in ("publisher", "stranger"):
        make = ("skopeo", "generate-sigstore-key", f"--output-prefix=/mnt/{owner}")
        run_in_root(debian_root("trixie"), *make, "--passphrase-file=/mnt/passphrase", options=shared)
        private = f"--sign-by-sigstore-private-key={tmp_path}/{owner}.private"
        signers[owner] = Signer((private, f"--sign-passphrase-file={tmp_path}/passphrase"), {})
    key = tmp_path / "publisher.pub"
    _configure(bench, tmp_path, "Sign, with sigstore", ("/etc/livelayer/keys/team.pub", str(key)))
    return Trade(bench, tmp_path, signers, {"PATH": f"{newer_skopeo(tmp_path / 'bin')}:{os.environ['PATH']}"})


@pytest.fixture(params=["by_gpg", "by_sigstore"])
def trade(request: pytest.FixtureRequest) -> Trade:
    """Each way of signing."""
    found: Trade = request.getfixturevalue(request.param)
    return found


def test_what_is_signed_is_taken_and_nothing_else(trade: Trade) -> None:
    trade.push("v1", "one")
    trade.is_refused("v1", "refused by the signature policy")
    trade.push("v1", "one", by="stranger")
    trade.is_refused("v1", "it is signed by a key that the signature policy does not trust")
    old = trade.push("v1", "one", by="publisher")
    trade.push("v2", "two", by="publisher")
    trade.want("v2")
    assert trade.bench.says("tool") == "two"

    # What a thief of the registry can do: other content under a tag, and old content under a new one.
    trade.put_under("v2", trade.push("v3", "three"))
    trade.is_refused("v2", "refused by the signature policy")
    trade.put_under("v2", old)
    trade.is_refused("v2", "its signature is for another name")
    assert trade.bench.says("tool") == "two"
    trade.want("v2", more=f", digest: '{old}'")  # who names the digest wants nothing else
    assert trade.bench.says("tool") == "one"


@pytest.mark.by_lot(1)
def test_several_platforms_and_artifacts(trade: Trade, tmp_path: Path) -> None:
    publisher = trade.signers["publisher"]
    tree = extension_tree(tmp_path / "many", "tool")
    platforms = ("--platform=linux/arm64", "--platform=linux/amd64")
    many = trade.send(str(tree), f"{trade.repository}:many", publisher, 0, *platforms)
    trade.put_under("latest", many)
    trade.is_refused("latest", "its signature is for another name")
    trade.want("many")
    assert trade.bench.says("tool") == "tool"
    image = squashfs(extension_tree(tmp_path / "bare", "tool", {"usr/share/tool": "bare"}), tmp_path / "tool.raw")
    trade.send(str(image), f"{trade.repository}:bare", publisher, 0, "--artifact")
    trade.want("bare", more=", format: raw")
    assert trade.bench.namespace.run("cat", "/usr/share/tool").stdout == "bare"


def test_a_manifest_of_dockers_own_format(by_gpg: Trade) -> None:
    """Which has another digest once it is copied."""
    trade = by_gpg
    trade.push("v1", "one")
    signer = trade.signers["publisher"]
    env = [f"{name}={value}" for name, value in signer.env.items()]
    copy = ("skopeo", "--insecure-policy", "copy", "--quiet", "--format=v2s2", *signer.options)
    trade.bench.namespace.run("env", *env, *copy, f"{trade.repository}:v1", f"{trade.repository}:docker")
    trade.want("docker")
    assert trade.bench.says("tool") == "one"


def test_a_layer_that_was_changed_in_the_registry(by_gpg: Trade) -> None:
    trade = by_gpg
    digest = trade.push("v1", "one", by="publisher")
    manifest = json.loads(trade.bench.registry.blob(digest).read_bytes())
    blob = trade.bench.registry.blob(manifest["layers"][0]["digest"])
    blob.write_bytes(blob.read_bytes()[:-8] + b"tampered")
    trade.is_refused("v1", "its content is not what its digest says")


def test_a_tag_moves_only_once_its_image_is_signed(by_gpg: Trade) -> None:
    trade = by_gpg
    signed = trade.push("v1", "one", by="publisher")
    nobody = Signer(("--sign-by", "0" * 40), trade.signers["publisher"].env)
    tree = extension_tree(trade.scratch / "other", "tool", {"usr/share/tool": "other"})
    told = trade.send(str(tree), f"{trade.repository}:v1", nobody, 1)
    assert "it cannot be signed with this key" in told
    there = trade.bench.namespace.run("skopeo", "inspect", "--format={{.Digest}}", f"{trade.repository}:v1")
    assert there.stdout.strip() == signed
