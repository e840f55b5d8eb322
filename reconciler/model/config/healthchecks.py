"""The map that says what must hold after a change."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from reconciler.errors import redacted
from reconciler.model.config.fields import Absolute, Duration, Strict, UnitName
from reconciler.model.config.values import parse_loopback_url


class Checks(Strict):
    """What must hold after a change, or it is taken back."""

    units: tuple[UnitName, ...] = Field(
        default=(), strict=False, description="Units that must be active, and still be so after the settle time."
    )
    command: tuple[str, ...] = Field(
        default=(), strict=False, description="A program and its arguments, which must exit with 0."
    )
    file: Absolute | None = Field(default=None, description="A path that must exist.")
    http: Annotated[str, AfterValidator(parse_loopback_url)] | None = Field(
        default=None, description="A URL on loopback that must answer, with a status below 400."
    )
    settle: Duration = Field(
        default=timedelta(seconds=5),
        description="How long units must stay up before they count as good.",
        json_schema_extra={"default": "5s"},
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="How long all this may take until it has failed.",
        json_schema_extra={"default": "30s"},
    )

    @property
    def words(self) -> str:
        """What is looked at, for people."""
        parts = [*self.units, " ".join(self.command), self.file or "", self.http or ""]
        return redacted(", ".join(part for part in parts if part))

    @property
    def longest(self) -> float:
        """Seconds until it is known whether they hold."""
        return (self.timeout + (self.settle if self.units else timedelta())).total_seconds()


def _unless_empty(checks: Checks | None) -> Checks | None:
    """Checks that ask for nothing are none."""
    return checks if checks and checks.words else None


ChecksOrNone = Annotated[Checks | None, AfterValidator(_unless_empty)]
