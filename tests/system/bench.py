"""A namespace, a registry and images: what tests of the real thing in one process's mounts work with."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from tests.rig.images import Member, write_artifact, write_image

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from tests.rig.namespace import Namespace
    from tests.rig.registry import Registry


class Bench:
    """A namespace, a registry and an OCI layout, with short words for what tests do."""

    def __init__(self, namespace: Namespace, registry: Registry, livelayer: str, scratch: Path) -> None:
        self.namespace = namespace
        self.registry = registry
        self.layout = scratch / "layout"
        self.command = livelayer
        self.repository = hashlib.sha256(str(scratch).encode()).hexdigest()[:12]
        self.allow_plain_http(registry)

    def livelayer(self, *arguments: str, status: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        settings = [f"{key}={value}" for key, value in env.items()]
        return self.namespace.run("env", *settings, self.command, *arguments, status=status)

    def allow_plain_http(self, registry: Registry) -> None:
        self.registries_conf(registry.address, registry.registries_conf())

    def registries_conf(self, name: str, text: str) -> None:
        self.namespace.path(f"/etc/containers/registries.conf.d/{name}.conf").write_text(text)

    def push(self, tag: str, *layers: Sequence[Member], name: str = "x") -> str:
        write_image(self.layout, tag, *layers)
        return self.registry.push(self.layout, tag, f"{self.repository}/{name}:{tag}")

    def push_artifact(self, tag: str, content: bytes, name: str = "x") -> str:
        write_artifact(self.layout, tag, content)
        return self.registry.push(self.layout, tag, f"{self.repository}/{name}:{tag}")

    def configure(self, text: str) -> None:
        self.namespace.path("/etc/livelayer/extensions.yaml").write_text(text)

    def want(self, **sources: str) -> None:
        listed = "".join(f"  {name}: {{source: '{source}'}}\n" for name, source in sources.items())
        self.configure(f"settings: {{allow_empty: true}}\nextensions:\n{listed}")

    def status(self) -> dict[str, Any]:
        document = json.loads(self.livelayer("status", "--json").stdout)
        return {item["name"]: item for item in document["extensions"]}

    def merged(self) -> list[str]:
        listed = json.loads(self.namespace.run("systemd-sysext", "status", "--json=short").stdout)
        (usr,) = [row["extensions"] for row in listed if row["hierarchy"] == "/usr"]
        return [] if usr == "none" else sorted(usr)

    def says(self, name: str) -> str:
        return self.namespace.run(f"/usr/bin/{name}").stdout.strip()
