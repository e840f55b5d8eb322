"""What a configuration may hold, and that each value of it is read once."""

from __future__ import annotations

from reconciler.model.config.document import Checks


def test_checks_in_words() -> None:
    checks = Checks(units=("a.service", "b.socket"), command=("x", "check"), file="/run/x", http="http://localhost/")
    assert checks.words == "a.service, b.socket, x check, /run/x, http://localhost/"
    assert Checks(file="/x").words == "/x"
