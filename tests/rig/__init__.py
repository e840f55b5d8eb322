"""The rig of the system tests: container images, a registry, a private mount namespace, booted nodes."""
