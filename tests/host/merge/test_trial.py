"""What systemd says of the images that it could not read. Trials are made on nodes."""

from __future__ import annotations

from reconciler.host.merge.trial import named_in


def test_systemd_names_the_image_it_could_not_read() -> None:
    assert named_in("Failed to read metadata for image bad: No medium found") == {"bad"}
    assert named_in("Failed to read metadata for image a.b-1: Package not installed; Reload failed") == {"a.b-1"}
    refused = "Extension image contains /usr/lib/os-release file, which is not allowed"
    assert named_in(refused) == frozenset()
