"""The node that faults happen to: three extensions in two versions, with sources on its own disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.faults import invariants
from tests.rig.images import extension, tar, write_image

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.rig.namespace import Namespace

_CRASHES: Final = ("Traceback", "unexpected", "this is a bug")


@dataclass(frozen=True, slots=True)
class Wish:
    """One extension as the configuration has it."""

    version: str
    format: str = "directory"


@dataclass(frozen=True, slots=True)
class Want:
    """A configuration."""

    wishes: Mapping[str, Wish]


class Victim:
    """A node in a namespace, and what may be on it."""

    def __init__(self, namespace: Namespace, livelayer: str, scratch: Path) -> None:
        self.namespace = namespace
        self.command = livelayer
        self.versions: dict[str, tuple[dict[str, str], ...]] = {}
        self.complete: dict[str, str] = {}  # the store's entries with their fingerprints, as far as they are known
        self._sources: dict[tuple[str, str], str] = {}
        for name in ("alpha", "beta", "gamma"):
            self._offer(name, scratch)

    @property
    def root(self) -> Path:
        """The node's root directory, as it sees it."""
        return self.namespace.root

    @property
    def state(self) -> Path:
        """The state directory of the node."""
        return self.root / "var/lib/livelayer"

    def want(self, want: Want) -> None:
        """Write the configuration."""
        lines = ["settings: {allow_empty: true}", "extensions:"]
        lines += [
            f"  {name}: {{source: '{self._sources[name, wish.version]}', format: {wish.format}}}"
            for name, wish in want.wishes.items()
        ]
        (self.root / "etc/livelayer/extensions.yaml").write_text("\n".join(lines) + "\n")

    def apply(self, *prefix: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Converge; whatever happens, the command must know what to say."""
        done = self.namespace.run(*prefix, self.command, "apply", status=status)
        assert not self.crashes(done.stderr), done.stderr
        return done

    @staticmethod
    def crashes(told: str) -> list[str]:
        """Signs that a run did not expect what happened to it."""
        return [sign for sign in _CRASHES if sign in told]

    def faults(self) -> list[str]:
        """Which invariants do not hold."""
        return invariants.faults(self.root, self.complete, self.versions)

    def differences(self, want: Want) -> Iterator[str]:
        """What is not as it should be after a run that nothing disturbed."""
        yield from self.faults()
        yield from (f"left over: {it}" for it in invariants.leftovers(self.root))
        if invariants.merged(self.root) != want.wishes.keys():
            yield f"merged are {sorted(invariants.merged(self.root))}"
        names = {f"{name}{'.raw' if wish.format == 'squashfs' else ''}" for name, wish in want.wishes.items()}
        links = {path.name for path in (self.root / "var/lib/extensions").iterdir() if path.is_symlink()}
        if links != names:
            yield f"placed are {sorted(links)}"
        for name, wish in want.wishes.items():
            if self.says(name) != wish.version:
                yield f"{name} is {self.says(name)}"

    def says(self, name: str) -> str | None:
        """The version of an extension that /usr shows."""
        try:
            return (self.root / f"usr/share/{name}/version").read_text()
        except FileNotFoundError:
            return None

    def learn(self, want: Want) -> None:
        """Converge undisturbed, and take what is in the store then as what complete entries are."""
        self.want(want)
        self.apply()
        self.complete |= invariants.entries(self.state)
        assert list(self.differences(want)) == []

    def forget_unused(self) -> None:
        """Drop what no link leads to, and all that would save fetching it again."""
        links = (self.root / "var/lib/extensions").iterdir()
        used = {path.readlink().name for path in links if path.is_symlink()}
        for path in (self.state / "store/sha256").glob("*"):
            if path.name.removesuffix(".json") not in used:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(self.state / "blobs", ignore_errors=True)
        (self.state / "resolutions.json").unlink(missing_ok=True)

    def reboot(self) -> None:
        """What a boot does: /run is empty, and systemd merges what lies in the search directories."""
        self.namespace.run("systemd-sysext", "unmerge")
        shutil.rmtree(self.root / "run/livelayer", ignore_errors=True)
        self.namespace.run("systemd-sysext", "merge")

    def _offer(self, name: str, scratch: Path) -> None:
        files = [_files(name, version) for version in ("1", "2")]
        self.versions[name] = tuple({path.removeprefix("usr/"): text for path, text in it.items()} for it in files)
        for version, content in zip(("1", "2"), files, strict=True):
            members = extension(name, content)
            if name == "gamma":
                archive = scratch / f"{name}{version}.tar"
                archive.write_bytes(tar(members))
                self._sources[name, version] = f"file://{archive}"
            else:
                write_image(scratch / "layout", f"{name}{version}", members[:1], members[1:])
                self._sources[name, version] = f"oci:{scratch}/layout:{name}{version}"


def _files(name: str, version: str) -> dict[str, str]:
    text = "".join(f"line {number} of {name} {version}\n" for number in range(2000))
    return {
        f"usr/bin/{name}": f"#!/bin/sh\necho {version}\n",
        f"usr/share/{name}/text": text,
        f"usr/share/{name}/version": version,
    }
