"""The command line in this process: what `livelayer ARGUMENTS` exits with."""

from __future__ import annotations

import os
import sys

import pytest

from reconciler import cli


def run(*arguments: object) -> int:
    """The exit status. The command leaves by os._exit, which a test must survive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "_exit", sys.exit)
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code
