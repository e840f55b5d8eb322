"""Whether signatures are asked for, as skopeo finds its policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.host.node import signaturepolicy
from reconciler.host.node.signaturepolicy import asks_for_signatures

if TYPE_CHECKING:
    from pathlib import Path

ANYTHING = '{"default": [{"type": "insecureAcceptAnything"}]}'
SIGNED = '{"default": [{"type": "reject"}], "transports": {"docker": {"h": [{"type": "%s"}]}}}'


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where the system's policy is, and the user's."""
    monkeypatch.setattr(signaturepolicy, "_SYSTEM", tmp_path / "policy.json")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    user = tmp_path / "home/.config/containers/policy.json"
    user.parent.mkdir(parents=True)
    return tmp_path / "policy.json", user


@pytest.mark.parametrize(
    ("text", "asks"),
    [(ANYTHING, False), (SIGNED % "signedBy", True), (SIGNED % "sigstoreSigned", True), ("{", False)],
)
def test_what_a_policy_asks_for(policies: tuple[Path, Path], text: str, asks: bool) -> None:  # noqa: FBT001 - a table
    policies[0].write_text(text)
    assert asks_for_signatures() is asks


def test_the_users_policy_goes_first(policies: tuple[Path, Path]) -> None:
    assert not asks_for_signatures()
    policies[0].write_text(ANYTHING)
    policies[1].write_text(SIGNED % "signedBy")
    assert asks_for_signatures()
