"""The registry, the namespace and the command of the system tests."""

from tests.system.conftest import bench, livelayer, namespace, registry

__all__ = ["bench", "livelayer", "namespace", "registry"]
