"""Debian's docker-registry on a free loopback port, with plain HTTP and, if wanted, credentials.

skopeo wants HTTPS on loopback too, so whoever pulls needs `registries_conf()`: as a file in
/etc/containers/registries.conf.d/ or as ~/.config/containers/registries.conf. No environment variable points skopeo
to it: CONTAINERS_REGISTRIES_CONF is podman's.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG: Final = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: "{directory}/data"}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
"""
_AUTH: Final = 'auth: {{htpasswd: {{realm: test, path: "{directory}/htpasswd"}}}}\n'
_ACCESS: Final = re.compile(r'^\S+ - \S+ \[[^]]*\] "(?P<request>\S+ \S+) \S+" (?P<status>\d+) .* "(?P<agent>[^"]*)"$')
_PROBE: Final = "livelayer-test-rig"
_START_SECONDS: Final = 10
_PUSH_SECONDS: Final = 120


class Registry:
    """A registry that can go down and come up again at the same address, with the same content."""

    def __init__(self, directory: Path, *, credentials: tuple[str, str] | None = None) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        self._directory = directory
        self._credentials = credentials
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        config = _CONFIG + (_AUTH if self._credentials else "")
        self._config.write_text(config.format(directory=self._directory, address=self.address))
        if self._credentials:
            (self._directory / "htpasswd").write_text(_htpasswd(*self._credentials))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Bring it up, if it is down, and wait until it answers."""
        if self._process:
            return
        with self._log.open("ab") as log:
            command = ["docker-registry", "serve", str(self._config)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"docker-registry does not answer at {self.address}:\n{self._log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Take it down: from now on connections are refused."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(self, layout: Path, tag: str, repo_tag: str) -> str:
        """Copy an image or a whole index, unchanged, from an OCI layout to "repository:tag"; returns its source."""
        command = ["skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"]
        if self._credentials:
            command.append("--dest-creds=" + ":".join(self._credentials))
        command += [f"oci:{layout}:{tag}", self.reference(repo_tag)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PUSH_SECONDS)
        assert done.returncode == 0, done.stderr
        return self.reference(repo_tag)

    def reference(self, repo_tag: str) -> str:
        """What a configuration gives as the source of "repository:tag" or "repository@digest"."""
        return f"docker://{self.address}/{repo_tag}"

    def registries_conf(self) -> str:
        """What allows plain HTTP with this registry, see containers-registries.conf(5)."""
        return f'[[registry]]\nlocation = "{self.address}"\ninsecure = true\n'

    def auth_json(self) -> str:
        """What gives a client the credentials, for REGISTRY_AUTH_FILE, see containers-auth.json(5)."""
        secret = base64.b64encode(":".join(self._credentials or ("", "")).encode()).decode()
        return json.dumps({"auths": {self.address: {"auth": secret}}})

    def requests(self) -> list[str]:
        """What it was asked so far, as "METHOD PATH STATUS", oldest first; the rig's own probes are left out."""
        matches = map(_ACCESS.match, self._log.read_text().splitlines())
        return [f"{match['request']} {match['status']}" for match in matches if match and match["agent"] != _PROBE]

    def fetched(self) -> list[str]:
        """The digests of the blobs that were handed out, one entry for each time."""
        asked = (re.fullmatch(r"GET /v2/.+/blobs/(sha256:[0-9a-f]{64}) 200", line) for line in self.requests())
        return [match[1] for match in asked if match]

    @property
    def _config(self) -> Path:
        return self._directory / "config.yaml"

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _answers(self) -> bool:
        probe = urllib.request.Request(f"http://{self.address}/v2/", headers={"User-Agent": _PROBE})
        try:
            with urllib.request.urlopen(probe, timeout=1):  # noqa: S310 - the same
                return True
        except urllib.error.HTTPError as error:  # It wants credentials, so it is up.
            error.close()
            return True
        except OSError:
            return False


def _htpasswd(user: str, password: str) -> str:
    """A password file; docker-registry takes bcrypt only."""
    command = ["htpasswd", "-Bbn", user, password]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
