"""The types of the fields of a configuration, and what its maps have in common."""

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints
from pydantic_core import core_schema

from reconciler.dataclass import dataclass
from reconciler.model.config.values import parse_duration
from reconciler.model.content.limits import parse_count
from reconciler.model.content.source import DIGEST
from reconciler.model.kind import NAME, RESERVED_BEGINNING, RESERVED_ENDINGS, UNIT


@dataclass(frozen=True, slots=True)
class Written:
    """A field that is written as one type and read into another: it is parsed once, here, and has a value then."""

    type: Any
    parse: Any  # a function, which raises ValueError with a sentence for the user

    def __get_pydantic_core_schema__(self, _: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """What is validated, and shown to editors, is what is written."""
        return core_schema.no_info_after_validator_function(self.parse, handler.generate_schema(self.type))


def _check_name(name: str) -> str:
    """Systemd gives these endings a meaning of their own: an image file, a directory of versions."""
    if name.endswith(RESERVED_ENDINGS):
        raise ValueError(f"a name must not end in {' or '.join(RESERVED_ENDINGS)}")
    if RESERVED_BEGINNING.match(name):
        raise ValueError("a name must not begin with a number of 16 digits or more: such layers lie above all others")
    return name


def _check_unit(name: str) -> str:
    if "@." in name:
        raise ValueError(f"is a template, which cannot run: name an instance of it, {name.replace('@.', '@NAME.')}")
    return name


Name = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$"), AfterValidator(_check_name)]
DIGEST_PATTERN: Final = rf"^{DIGEST.pattern}$"
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
UNIT_PATTERN: Final = rf"^{UNIT.pattern}$"
UnitName = Annotated[str, StringConstraints(pattern=UNIT_PATTERN), AfterValidator(_check_unit)]
ABSOLUTE_PATTERN: Final = "^/"
Absolute = Annotated[str, StringConstraints(pattern=ABSOLUTE_PATTERN)]
Duration = Annotated[timedelta, Written(str, parse_duration)]
Count = Annotated[int, Written(int | str, parse_count)]


class Strict(BaseModel):
    """Frozen, and neither unknown keys nor converted types: `"yes"` is no boolean."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)
