"""The configuration file as pydantic models: what a user may write, and nothing that does not work yet."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from reconciler.model.config.checks import parse_loopback_url
from reconciler.model.config.duration import parse_duration
from reconciler.model.config.placeholders import stand_in
from reconciler.model.config.prunelimit import parse_prune_limit
from reconciler.model.config.retention import DEFAULT_RETENTION
from reconciler.model.config.statedir import check_state_dir
from reconciler.model.content.limits import DEFAULT, parse_count, parse_size
from reconciler.model.content.ociread import parse_platform
from reconciler.model.content.source import DIGEST, Transport, parse_source

API_VERSION: Final = "livelayer/v1"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_RESERVED_ENDINGS = (".raw", ".v")
_SOURCES_MAX: Final = 64  # of one extension
_SOURCES_SCHEMA: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": _SOURCES_MAX},
        {"type": "null"},
    ]
}


def _as_sources(value: object) -> object:
    """One source is a list of one."""
    match value:
        case None:
            return None
        case str():
            return (value,)
        case list() | tuple():
            return tuple(value)
        case _:
            raise ValueError(f"must be a source or a list of sources, not {type(value).__name__} {value!r}")


def _check_sources(texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if texts is not None and not 0 < len(texts) <= _SOURCES_MAX:
        raise ValueError(f"a list of sources has 1 to {_SOURCES_MAX}, not {len(texts)}")
    for text in texts or ():
        parse_source(stand_in(text))
    return texts


def _check_catalog(url: str) -> str:
    if parse_source(url).transport not in {Transport.HTTPS, Transport.FILE}:
        raise ValueError(f"a catalog is https://HOST/FILE or file:///PATH, not {url!r}")
    return url


def _check_platform(text: str) -> str:
    parse_platform(text)
    return text


def _check_version(text: str) -> str:
    from reconciler.model.content.version import parse_range

    parse_range(stand_in(text))
    return text


def _check_kernel(text: str) -> str:
    from reconciler.model.fit.kernel import parse_constraint

    parse_constraint(text)
    return text


def _check_duration(text: str) -> str:
    parse_duration(text)
    return text


def _check_prune_limit(value: int | str) -> int | str:
    parse_prune_limit(value)
    return value


def is_name(text: str) -> bool:
    """Whether an extension may be called so."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(_RESERVED_ENDINGS)


def _check_name(name: str) -> str:
    """Systemd gives these endings a meaning of their own: an image file, a directory of versions."""
    if name.endswith(_RESERVED_ENDINGS):
        raise ValueError(f"a name must not end in {' or '.join(_RESERVED_ENDINGS)}")
    return name


Name = Annotated[str, StringConstraints(pattern=rf"^{_NAME.pattern}$"), AfterValidator(_check_name)]
Digest = Annotated[str, StringConstraints(pattern=rf"^{DIGEST.pattern}$")]
UnitName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|path|mount|automount|slice)$"),
]


class Strict(BaseModel):
    """Frozen, and neither unknown keys nor converted types: `"yes"` is no boolean."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Units(Strict):
    """What to do with systemd units around a merge."""

    restart: Annotated[
        tuple[UnitName, ...],
        Field(strict=False, description="Units to restart after this extension was merged anew or updated."),
    ] = ()


Duration = Annotated[str, AfterValidator(_check_duration)]
Absolute = Annotated[str, StringConstraints(pattern="^/")]


class CheckSettings(Strict):
    """What must hold after a change, or it is taken back."""

    units: Annotated[
        tuple[UnitName, ...],
        Field(strict=False, description="Units that must be active, and still be so after the settle time."),
    ] = ()
    command: Annotated[
        tuple[str, ...],
        Field(strict=False, description="A program and its arguments, which must exit with 0."),
    ] = ()
    file: Annotated[Absolute | None, Field(description="A path that must exist.")] = None
    http: Annotated[
        Annotated[str, AfterValidator(parse_loopback_url)] | None,
        Field(description="A URL on loopback that must answer, with a status below 400."),
    ] = None
    settle: Annotated[Duration, Field(description="How long units must stay up before they count as good.")] = "5s"
    timeout: Annotated[Duration, Field(description="How long all this may take until it has failed.")] = "30s"


class Extension(Strict):
    """One extension the node shall have."""

    source: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(_as_sources),
        AfterValidator(_check_sources),
        WithJsonSchema(_SOURCES_SCHEMA),
        Field(
            description="Where it comes from: docker://REF, container://REF, https://HOST/FILE, file:///PATH, "
            "oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR or catalog:NAME[@VERSION]; or a list of "
            "them, each laid over those before it. {VERSION_ID} and the like are filled from os-release.",
        ),
    ] = None
    digest: Annotated[
        Digest | None,
        Field(description="Pin: content with another digest (of manifest, index or file) is refused."),
    ] = None
    kind: Annotated[
        Literal["sysext", "confext"],
        Field(description="sysext: for /usr and /opt; confext: for /etc (systemd 254 on)."),
    ] = "sysext"
    format: Annotated[
        Literal["directory", "squashfs", "erofs", "raw", "auto"],
        Field(
            description="How it lies on disk: unpacked, as an image file made here, as the image file that the "
            "source is (raw), or whatever suits content and node."
        ),
    ] = "directory"
    version: Annotated[
        str | None,
        AfterValidator(lambda text: text if text is None else _check_version(text)),
        Field(description="Instead of a tag: the highest one that fits, such as >=1.29,<1.30 (registries only)."),
    ] = None
    kernel: Annotated[
        str | None,
        AfterValidator(lambda text: text if text is None else _check_kernel(text)),
        Field(description="Merge it only under a kernel that fits, such as >=6.1."),
    ] = None
    prereleases: Annotated[bool, Field(description="Let version: choose pre-releases, such as 1.30-rc.1.")] = False
    min_age: Annotated[
        str | None,
        AfterValidator(lambda text: text if text is None else _check_duration(text)),
        Field(description="Use a new digest only when this node has known it for so long, such as 3d."),
    ] = None
    state: Annotated[
        Literal["merged", "fetched", "absent"],
        Field(
            description="merged: in the overlay; fetched: in the store only; absent: removed if livelayer placed it."
        ),
    ] = "merged"
    pull: Annotated[
        Literal["missing", "always", "never"],
        Field(description="missing: look a tag up once; always: at every run; never: only what is in the store."),
    ] = "missing"
    platform: Annotated[
        str | None,
        AfterValidator(lambda text: text if text is None else _check_platform(text)),
        Field(description="os/architecture[/variant] to take from a multi-platform image; default: this machine's."),
    ] = None
    rename: Annotated[
        bool, Field(description="Give a sole release file of another name also under this extension's name.")
    ] = False
    boot_states: Annotated[
        tuple[Literal["active", "passive", "recovery"], ...] | None,
        Field(
            strict=False,
            min_length=1,
            description="Merged in these boot states of Kairos only; a node without boot states is active.",
        ),
    ] = None
    units: Units = Units()
    checks: Annotated[
        CheckSettings | None,
        Field(description="What must hold after this extension was merged anew, or its previous version comes back."),
    ] = None


class RetentionSettings(Strict):
    """How long it is possible to go back."""

    generations: Annotated[
        int, Field(ge=1, le=1000, description="How many generations are kept, with their content; two at the least.")
    ] = DEFAULT_RETENTION.generations
    age: Annotated[
        Duration | None, Field(description="Drop older ones, such as 90d; the last two stay. Default: however old.")
    ] = None


class LimitSettings(Strict):
    """How much one extension may take of the node."""

    size: Annotated[
        int | str, AfterValidator(parse_size), Field(description="Bytes of data unpacked, such as 16G.")
    ] = DEFAULT.size
    members: Annotated[int | str, AfterValidator(parse_count), Field(description="Files, directories and links.")] = (
        DEFAULT.members
    )
    ratio: Annotated[
        int | str,
        AfterValidator(parse_count),
        Field(description="Bytes unpacked for each packed one, of large layers."),
    ] = DEFAULT.ratio
    setuid: Annotated[
        bool, Field(description="Whether it may bring setuid and setgid programs and file capabilities.")
    ] = DEFAULT.setuid


class PreflightSettings(Strict):
    """Whether what is found before an extension is placed keeps it out, or is only said."""

    collisions: Annotated[Literal["warn", "refuse"], Field(description="A file that another extension has, too.")] = (
        "warn"
    )
    host_files: Annotated[
        Literal["warn", "refuse"], Field(description="A file in the place of one of the host's (system extensions).")
    ] = "warn"
    links: Annotated[
        Literal["warn", "refuse"], Field(description="A directory where the host has a symbolic link.")
    ] = "refuse"
    layers: Annotated[
        Literal["warn", "refuse"],
        Field(description="More extensions than an overlay takes: systemd would merge none."),
    ] = "refuse"
    space: Annotated[
        Literal["warn", "refuse"], Field(description="More to fetch than the disk of the store has room for.")
    ] = "refuse"
    labels: Annotated[
        Literal["warn", "refuse"],
        Field(description="Files without SELinux labels of their own, where SELinux is enforcing."),
    ] = "warn"


class Settings(Strict):
    """How livelayer behaves."""

    cloud_config: Annotated[
        tuple[Annotated[str, StringConstraints(pattern="^/")], ...] | None,
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        Field(
            description="Directories or files with Kairos's cloud-configs, in the order in which they are read; the "
            "later wins. Default: Kairos's own four where the node is Kairos, else none; [] turns it off."
        ),
    ] = None

    prune: Annotated[bool, Field(description="Remove what livelayer placed and no file lists any more.")] = True
    prune_limit: Annotated[
        int | str | None,
        AfterValidator(lambda value: value if value is None else _check_prune_limit(value)),
        Field(
            description="Remove no more than this at once because no file lists it any more: a count, or a share "
            "such as 50% of what is placed. More takes: livelayer apply --confirm-prune."
        ),
    ] = None
    checks: Annotated[
        CheckSettings | None,
        Field(description="What must hold after any change of extensions, or all of it is taken back."),
    ] = None
    retention: RetentionSettings = RetentionSettings()
    allow_empty: Annotated[
        bool, Field(description="Let an empty list of extensions remove all that livelayer placed.")
    ] = False
    refresh: Annotated[
        Literal["now", "boot"],
        Field(description="now: merge at once; boot: place only, merged at the next boot."),
    ] = "now"
    keyring: Annotated[
        str | None,
        StringConstraints(pattern="^/"),
        Field(description="File with the keys that sign SHA256SUMS of https:// sources, before those of systemd."),
    ] = None
    catalogs: Annotated[
        tuple[Annotated[str, AfterValidator(_check_catalog)], ...],
        Field(
            strict=False,
            description="Where catalog:NAME sources are looked up, in this order: https://HOST/FILE or file:///PATH.",
        ),
    ] = ()
    limits: LimitSettings = LimitSettings()
    state_dir: Annotated[
        str | None,
        AfterValidator(lambda text: text if text is None else check_state_dir(text)),
        Field(
            description="Where store and records are; what is elsewhere is moved there. Default: where they are, at "
            "first /var/lib/livelayer, on Kairos /var/lib/kairos/livelayer."
        ),
    ] = None
    preflight: PreflightSettings = PreflightSettings()
    quarantine: Annotated[
        bool,
        Field(
            description="Mask what others placed and what would make systemd merge nothing at all, such as a corrupt "
            "image file, by an empty directory of its name in a search directory of higher precedence."
        ),
    ] = False


class Document(Strict):
    """The desired state of a node: /etc/livelayer/extensions.yaml, or a drop-in beside it."""

    model_config = ConfigDict(title="livelayer configuration")

    apiVersion: Literal["livelayer/v1"] = API_VERSION  # noqa: N815 - the field's customary spelling
    settings: Settings = Settings()
    defaults: Annotated[Extension, Field(description="Values for every extension that sets none.")] = Extension()
    extensions: Annotated[
        dict[Name, Extension | None],
        Field(description="Extensions by name; `NAME: null` withdraws what a lower file lists."),
    ] = {}


def json_schema() -> dict[str, object]:
    """The JSON Schema of a configuration file, for editors and config management."""
    schema = Document.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
    }
