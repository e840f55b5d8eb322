"""Debian's docker-registry on a free loopback port."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_CONFIG: Final = """\
version: 0.1
log: {{level: info, formatter: json, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
  delete: {{enabled: true}}
  maintenance: {{readonly: {{enabled: {read_only}}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""


class Registry:
    """A registry that can go down and come up again."""

    def __init__(self, directory: Path, *, user: str = "", password: str = "", read_only: bool = False) -> None:
        self._directory = directory
        self._read_only = read_only
        self._credentials = (user, password)
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{_free_port()}"

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "config.yaml").write_text(
            _CONFIG.format(
                directory=self._directory,
                port=self.address.rpartition(":")[2],
                auth=self._auth(),
                read_only=str(self._read_only).lower(),
            )
        )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Bring it up, if it is down, and wait until it answers."""
        if self._process:
            return
        with (self._directory / "log").open("ab") as log:
            command = ["docker-registry", "serve", str(self._directory / "config.yaml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        for _ in range(1200):
            if self._answers():
                return
            time.sleep(0.05)
        raise AssertionError((self._directory / "log").read_text())

    def stop(self) -> None:
        """Take it down."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(self, layout: Path, tag: str | None, name: str) -> str:
        """Copy an image of an OCI layout, or the only one, into the registry; returns how to pull it."""
        user, password = self._credentials
        command = ["skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false"]
        command += [f"--dest-creds={user}:{password}"] if user else []
        subprocess.run(
            [*command, f"oci:{layout}{f':{tag}' if tag else ''}", f"docker://{self.address}/{name}"], check=True
        )
        return f"docker://{self.address}/{name}"

    def requests(self) -> list[str]:
        """What was asked of it: method and path, in order."""
        return [f"{it['http.request.method']} {it['http.request.uri']}" for it in self._answered()]

    def served(self) -> list[tuple[str, int]]:
        """What was downloaded from it: path and bytes, in order."""
        downloads = [it for it in self._answered() if it["http.request.method"] == "GET"]
        return [(it["http.request.uri"], it.get("http.response.written", 0)) for it in downloads]

    def _answered(self) -> list[dict[str, Any]]:
        lines = [line for line in (self._directory / "log").read_text().splitlines() if line.startswith("{")]
        return [it for it in map(json.loads, lines) if "http.response.status" in it]

    def registries_conf(self) -> str:
        """What tells skopeo that this registry speaks plain HTTP (containers-registries.conf(5))."""
        return f'[[registry]]\nlocation = "{self.address}"\ninsecure = true\n'

    def auth_json(self) -> str:
        """The credentials as containers-auth.json(5) has them."""
        token = base64.b64encode(":".join(self._credentials).encode()).decode()
        return json.dumps({"auths": {self.address: {"auth": token}}})

    def blob(self, digest: str) -> Path:
        """Where it keeps a blob's content."""
        name = digest.removeprefix("sha256:")
        return self._directory / f"data/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"

    def _auth(self) -> str:
        user, password = self._credentials
        if not user:
            return ""
        command = ["htpasswd", "-Bbn", user, password]
        hashed = subprocess.run(command, capture_output=True, check=True).stdout
        (self._directory / "htpasswd").write_bytes(hashed)
        return f"auth: {{htpasswd: {{realm: test, path: {self._directory}/htpasswd}}}}"

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=1):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
