"""The configuration file as pydantic models: what a user may write, and nothing that does not work yet."""

from functools import partial
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from reconciler.model.config.fields import Digest, Duration, Name, Strict, UnitName, Written
from reconciler.model.config.healthchecks import ChecksOrNone
from reconciler.model.config.placeholders import Template, read_pattern, read_template
from reconciler.model.config.settings import Settings
from reconciler.model.content.filepattern import Pattern
from reconciler.model.content.format import Format
from reconciler.model.content.ociread import Platform, parse_platform
from reconciler.model.content.source import Source, parse_source_or_directory
from reconciler.model.content.version import Range, parse_range
from reconciler.model.fit.kernel import parse_constraint
from reconciler.model.kind import Kind

API_VERSION: Final = "livelayer/v1"

_SOURCES_MAX: Final = 64  # of one extension
_PATTERNS_MAX: Final = 16  # of one extension


def _several(what: str, value: object) -> object:
    """One text is a list of one; what is not given stays so."""
    match value:
        case None:
            return None
        case str():
            return (value,)
        case list() | tuple():
            return tuple(value)
        case _:
            raise ValueError(f"must be a {what} or a list of {what}s")


def _schema_of_several(most: int, *others: str) -> dict[str, object]:
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": most}
    return {"anyOf": [{"type": "string"}, texts, *({"type": it} for it in others)]}


def _check_number(what: str, texts: tuple[str, ...], most: int) -> None:
    if not 0 < len(texts) <= most:
        raise ValueError(f"a list of {what}s has 1 to {most}, not {len(texts)}")


def _read_sources(texts: tuple[str, ...]) -> tuple[Template[Source], ...]:
    _check_number("source", texts, _SOURCES_MAX)
    return tuple(read_template(parse_source_or_directory, text) for text in texts)


def _read_patterns(texts: tuple[str, ...]) -> tuple[Template[Pattern], ...]:
    _check_number("pattern", texts, _PATTERNS_MAX)
    return tuple(read_pattern(text) for text in texts)


Pull: TypeAlias = Literal["missing", "always", "never"]
Activation: TypeAlias = Literal["auto", "none"]


class Units(Strict):
    """What to do with systemd units around a merge."""

    start: tuple[UnitName, ...] = Field(
        default=(),
        strict=False,
        description="Units that run while this extension is merged: started after a merge and after each boot, "
        "restarted when its content changes, and its own are stopped before it goes.",
    )
    restart: tuple[UnitName, ...] = Field(default=(), strict=False, description="The same as start.")
    reload: tuple[UnitName, ...] = Field(
        default=(),
        strict=False,
        description="Units to reload (those that cannot: to restart) when this extension's content changes, if they "
        "run.",
    )


class Extension(Strict):
    """One extension the node shall have."""

    source: Annotated[
        Annotated[tuple[Template[Source], ...], Written(tuple[str, ...], _read_sources)] | None,
        BeforeValidator(partial(_several, "source")),
        WithJsonSchema(_schema_of_several(_SOURCES_MAX, "null")),
    ] = Field(
        default=None,
        description="Where it comes from: docker://REF, container://REF, https://HOST/FILE, file:///PATH, "
        "with match: https://HOST/DIR/ or file:///DIR/, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, "
        "dir:DIR or catalog:NAME[@VERSION]; or a list of them, each laid over those before it. {VERSION_ID} and the "
        "like are filled from os-release.",
    )
    digest: Digest | None = Field(
        default=None, description="Pin: content with another digest (of manifest, index or file) is refused."
    )
    kind: Annotated[Kind, Written(Literal["sysext", "confext"], Kind)] = Field(
        default=Kind.SYSEXT, description="sysext: for /usr and /opt; confext: for /etc (systemd 254 on)."
    )
    format: Annotated[
        Format | None,
        Written(
            Literal["directory", "squashfs", "erofs", "raw", "auto"],
            lambda text: None if text == "auto" else Format(text),
        ),
    ] = Field(
        default=None,
        description="How it lies on disk: whatever suits content and node (auto), unpacked, as an image file made "
        "here, or as the image file that the source is (raw).",
    )
    version: Annotated[Template[Range], Written(str, lambda text: read_template(parse_range, text))] | None = Field(
        default=None,
        description="Instead of a tag: the highest one that fits, such as >=1.29,<1.30; with match: the newest file.",
    )
    match: Annotated[
        Annotated[tuple[Template[Pattern], ...], Written(tuple[str, ...], _read_patterns)],
        BeforeValidator(partial(_several, "pattern")),
        WithJsonSchema(_schema_of_several(_PATTERNS_MAX)),
    ] = Field(
        default=(),
        description="Of a directory of releases the files to choose from, such as NAME-@v-%a.raw, or a list of such "
        "patterns: @v stands for the version, %a for the architecture (sysupdate.d(5)).",
    )
    signed: bool = Field(
        default=True,
        description="false: a SHA256SUMS of an https:// source will do without a signature (plan and status tell).",
    )
    kernel: Annotated[Range, Written(str, parse_constraint)] | None = Field(
        default=None, description="Merge it only under a kernel that fits, such as >=6.1."
    )
    prereleases: bool = Field(default=False, description="Let version: choose pre-releases, such as 1.30-rc.1.")
    min_age: Duration | None = Field(
        default=None, description="Use a new digest only when this node has known it for so long, such as 3d."
    )
    state: Literal["merged", "fetched", "absent"] = Field(
        default="merged",
        description="merged: in the overlay; fetched: in the store only; absent: removed if livelayer placed it.",
    )
    pull: Pull = Field(
        default="missing",
        description="missing: look a tag up once; always: at every run; never: only what is in the store.",
    )
    platform: Annotated[Platform, Written(str, parse_platform)] | None = Field(
        default=None,
        description="os/architecture[/variant] to take from a multi-platform image; default: this machine's.",
    )
    rename: bool = Field(
        default=False, description="Give a sole release file of another name also under this extension's name."
    )
    boot_states: tuple[Literal["active", "passive", "recovery"], ...] | None = Field(
        default=None,
        strict=False,
        min_length=1,
        description="Merged in these boot states of Kairos only; a node without boot states is active.",
    )
    units: Units = Units()
    activation: Activation = Field(
        default="auto",
        description="auto: after a merge and after each boot, make its users, directories and caches, and let "
        "systemd, udev, D-Bus and networkd read their configuration anew, as what it carries needs; none: nothing.",
    )
    checks: ChecksOrNone = Field(
        default=None,
        description="What must hold after this extension was merged anew, or its previous version comes back.",
    )


class Document(Strict):
    """The desired state of a node: /etc/livelayer/extensions.yaml, or a drop-in beside it."""

    model_config = ConfigDict(title="livelayer configuration")

    apiVersion: Literal["livelayer/v1"] = API_VERSION  # noqa: N815 - the field's customary spelling
    settings: Settings = Settings()
    defaults: Extension = Field(default=Extension(), description="Values for every extension that sets none.")
    extensions: dict[Name, Extension | None] = Field(
        default={}, description="Extensions by name; `NAME: null` withdraws what a lower file lists."
    )


def json_schema() -> dict[str, object]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema()}
