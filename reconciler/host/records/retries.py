"""The record of sources that did not answer. It is gone after a reboot, which may be what mends them."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from reconciler.errors import Unavailable
from reconciler.host.base.durable import read_json, write_json
from reconciler.model.state.retry import Retry, delay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.errors import ReconcilerError
    from reconciler.paths import Paths


def read_retries(paths: Paths, configuration: str) -> dict[str, Retry]:
    """By extension; another configuration than the recorded one has failed at nothing yet."""
    record = read_json(paths.retries)
    try:
        if record is None or record["configuration"] != configuration:
            return {}
        return {str(name): Retry.from_json(it) for name, it in record["extensions"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def write_retries(paths: Paths, configuration: str, retries: Mapping[str, Retry]) -> None:
    if not retries:
        paths.retries.unlink(missing_ok=True)
        return
    document = {"configuration": configuration, "extensions": {name: it.as_json() for name, it in retries.items()}}
    write_json(paths.retries, document, durable=False)


def after_failure(before: Retry | None, error: ReconcilerError) -> Retry:
    """When an extension is tried again that failed just now."""
    failures = before.failures + 1 if before else 1
    jitter = random.uniform(-1, 1)  # noqa: S311 - spreads nodes that lost the same server
    asked = error.retry_after if isinstance(error, Unavailable) else None
    at = time.time() + delay(failures, jitter, asked)
    return Retry(failures, at, error.code, error.message, error.hint)
