"""The record of sources that did not answer. It is gone after a reboot, which may be what mends them."""

from __future__ import annotations

import random
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reconciler.host.base.durable import read_json, write_json
from reconciler.model.state.retry import Retry, delay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.errors import Unavailable
    from reconciler.paths import Paths


def read_retries(paths: Paths, configuration: str) -> dict[str, Retry]:
    """By extension; another configuration than the recorded one has failed at nothing yet."""
    record = read_json(paths.retries)
    try:
        if record is None or record["configuration"] != configuration:
            return {}
        return {str(name): _from_json(it) for name, it in record["extensions"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def write_retries(paths: Paths, configuration: str, retries: Mapping[str, Retry]) -> None:
    if not retries:
        paths.retries.unlink(missing_ok=True)
        return
    document = {"configuration": configuration, "extensions": {name: asdict(it) for name, it in retries.items()}}
    write_json(paths.retries, document, durable=False)


def after_failure(before: Retry | None, error: Unavailable) -> Retry:
    """When an extension is tried again that failed just now."""
    failures = before.failures + 1 if before else 1
    jitter = random.uniform(-1, 1)  # noqa: S311 - spreads nodes that lost the same server
    at = time.time() + delay(failures, jitter, error.retry_after)
    return Retry(failures, at, error.code, error.message, error.hint)


def _from_json(record: Any) -> Retry:  # noqa: ANN401 - JSON
    code, message = str(record["code"]), str(record["message"])
    return Retry(int(record["failures"]), float(record["at"]), code, message, record["hint"])
