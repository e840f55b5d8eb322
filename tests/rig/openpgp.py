"""Keys and signatures by GnuPG, in a home of their own."""

from __future__ import annotations

import subprocess
import tempfile
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class KeyOwner:
    """Somebody with a key, as long as the context lasts."""

    def __init__(self, name: str, *, long_ago: bool = False) -> None:
        self._name = name
        self._expires = "1d" if long_ago else "never"
        self._time = ["--faked-system-time=20200101T120000"] if long_ago else []
        self._home = tempfile.TemporaryDirectory(prefix="gpg-")  # a short path: the agent's socket lies in it

    def __enter__(self) -> Self:
        address = f"{self._name}@example"
        self._gpg("--quick-generate-key", "--passphrase", "", address, "ed25519", "sign", self._expires)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["gpgconf", "--homedir", self._home.name, "--kill", "all"], check=False, capture_output=True)
        self._home.cleanup()

    @property
    def home(self) -> str:
        """Where the private key is; GNUPGHOME for those who sign."""
        return self._home.name

    @property
    def fingerprint(self) -> str:
        """Of the key."""
        listed = self._gpg("--list-keys", "--with-colons").decode().splitlines()
        return next(line.split(":")[9] for line in listed if line.startswith("fpr:"))

    def export(self, target: Path, *options: str) -> Path:
        """Write the public key."""
        target.write_bytes(self._gpg(*options, "--export"))
        return target

    def sign(self, file: Path, *options: str) -> Path:
        """Write a detached signature beside a file."""
        signature = file.with_name(f"{file.name}.gpg")
        signature.unlink(missing_ok=True)
        self._gpg(*options, "--output", str(signature), "--detach-sign", str(file))
        return signature

    def _gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode=loopback", "--homedir", self._home.name]
        done = subprocess.run([*command, *self._time, *arguments], check=True, capture_output=True)
        return done.stdout
