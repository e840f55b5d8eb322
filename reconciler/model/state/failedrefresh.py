"""A refresh that failed: as it may take the overlay away, it is not tried again at once for the same cause."""

from __future__ import annotations

from typing import Any

from reconciler.dataclass import dataclass
from reconciler.model.state.retry import Retry


@dataclass(frozen=True, slots=True)
class FailedRefresh:
    """When the overlay of a kind is refreshed again, unless what it starts from has changed."""

    cause: str  # a digest of what the refresh started from
    names: tuple[str, ...]  # the extensions that it concerned
    retry: Retry

    def as_json(self) -> dict[str, Any]:
        return {"cause": self.cause, "names": self.names, "retry": self.retry.as_json()}

    @classmethod
    def from_json(cls, record: Any) -> FailedRefresh:  # noqa: ANN401 - JSON
        names = tuple(str(name) for name in record["names"])
        return cls(str(record["cause"]), names, Retry.from_json(record["retry"]))
