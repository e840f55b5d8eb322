"""Log lines: one for each message, and nothing in them that was not to leave."""

from __future__ import annotations

import logging
import os
import sys

import pytest

from reconciler.report import logs

log = logging.getLogger("reconciler.test")


@pytest.mark.parametrize("into_journal", [False, True])
def test_a_line_of_others_is_no_line_of_the_journal(
    into_journal: bool,  # noqa: FBT001
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with os.fdopen(os.dup(2), "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        if into_journal:
            stream = os.fstat(stderr.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
        logs.set_up(1)
        log.info("%s of https://user:secret@host/x?secret", "a\n<2>b\x1b[2J")
        try:
            raise ValueError("https://user:secret@host/x\x1b[2J\n<2>c")  # noqa: TRY301 - to be logged
        except ValueError:
            log.debug("it failed", exc_info=True)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].removeprefix("<6>") == r"a\n<2>b\x1b[2J of https://***@host/x?***"
    assert all(line.isprintable() and "secret" not in line for line in lines if "raise ValueError" not in line)
    assert [line[:3] for line in lines] == [
        ("<6>" if not at else "<7>") for at in range(len(lines))
    ] or not into_journal


def test_a_line_is_not_longer_than_anybody_reads(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(0)
    logging.getLogger("reconciler").warning("a%sz", "x" * 1_000_000)
    line = capsys.readouterr().err
    assert len(line) <= 8001
    assert (line[0], line[-2:]) == ("a", "z\n")
