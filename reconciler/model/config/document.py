"""The configuration file as pydantic models: what a user may write, and nothing that does not work yet."""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import core_schema

from reconciler.dataclass import dataclass
from reconciler.errors import quoted, redacted
from reconciler.model.config.placeholders import Template, read_template
from reconciler.model.config.values import (
    PruneLimit,
    check_state_dir,
    parse_duration,
    parse_loopback_url,
    parse_prune_limit,
    parse_transfer_timeout,
)
from reconciler.model.content.filepattern import Pattern, in_placeholders, parse_pattern
from reconciler.model.content.format import Format
from reconciler.model.content.limits import DEFAULT, TRANSFERS, parse_count, parse_size
from reconciler.model.content.ociread import Platform, parse_platform
from reconciler.model.content.power import Power
from reconciler.model.content.source import DIGEST, Source, Transport, parse_source, parse_source_or_directory
from reconciler.model.content.version import Range, parse_range
from reconciler.model.fit.kernel import parse_constraint
from reconciler.model.kind import NAME, RESERVED_BEGINNING, RESERVED_ENDINGS, UNIT, Kind

API_VERSION: Final = "livelayer/v1"

_SOURCES_MAX: Final = 64  # of one extension
_SOURCES_SCHEMA: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": _SOURCES_MAX},
        {"type": "null"},
    ]
}
_PATTERNS_MAX: Final = 16  # of one extension
_PATTERNS_SCHEMA: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": _PATTERNS_MAX},
    ]
}


@dataclass(frozen=True, slots=True)
class Written:
    """A field that is written as one type and read into another: it is parsed once, here, and has a value then."""

    type: Any
    parse: Any  # a function, which raises ValueError with a sentence for the user

    def __get_pydantic_core_schema__(self, _: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """What is validated, and shown to editors, is what is written."""
        return core_schema.no_info_after_validator_function(self.parse, handler.generate_schema(self.type))


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
            raise ValueError(f"must be a source or a list of sources, not {type(value).__name__}")


def _read_sources(texts: tuple[str, ...]) -> tuple[Template[Source], ...]:
    if not 0 < len(texts) <= _SOURCES_MAX:
        raise ValueError(f"a list of sources has 1 to {_SOURCES_MAX}, not {len(texts)}")
    return tuple(read_template(parse_source_or_directory, text) for text in texts)


def _as_patterns(value: object) -> object:
    """One pattern is a list of one."""
    match value:
        case str():
            return (value,)
        case list() | tuple():
            return tuple(value)
        case _:
            raise ValueError(f"must be a pattern or a list of patterns, not {type(value).__name__}")


def _read_patterns(texts: tuple[str, ...]) -> tuple[Template[Pattern], ...]:
    if not 0 < len(texts) <= _PATTERNS_MAX:
        raise ValueError(f"a list of patterns has 1 to {_PATTERNS_MAX}, not {len(texts)}")
    return tuple(read_template(parse_pattern, in_placeholders(text)) for text in texts)


def _check_catalog(url: str) -> str:
    if parse_source(url).transport not in {Transport.HTTPS, Transport.FILE}:
        raise ValueError(f"a catalog is https://HOST/FILE or file:///PATH, not {quoted(url)}")
    return url


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
Reaction: TypeAlias = Literal["warn", "refuse"]
Pull: TypeAlias = Literal["missing", "always", "never"]
Activation: TypeAlias = Literal["auto", "none"]


class Strict(BaseModel):
    """Frozen, and neither unknown keys nor converted types: `"yes"` is no boolean."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


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


class Extension(Strict):
    """One extension the node shall have."""

    source: Annotated[
        Annotated[tuple[Template[Source], ...], Written(tuple[str, ...], _read_sources)] | None,
        BeforeValidator(_as_sources),
        WithJsonSchema(_SOURCES_SCHEMA),
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
        default=Format.DIRECTORY,
        description="How it lies on disk: unpacked, as an image file made here, as the image file that the "
        "source is (raw), or whatever suits content and node.",
    )
    version: Annotated[Template[Range], Written(str, lambda text: read_template(parse_range, text))] | None = Field(
        default=None,
        description="Instead of a tag: the highest one that fits, such as >=1.29,<1.30; with match: the newest file.",
    )
    match: Annotated[
        Annotated[tuple[Template[Pattern], ...], Written(tuple[str, ...], _read_patterns)],
        BeforeValidator(_as_patterns),
        WithJsonSchema(_PATTERNS_SCHEMA),
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


class Retention(Strict):
    """How long it is possible to go back."""

    generations: int = Field(
        default=10, ge=1, le=1000, description="How many generations are kept, with their content; two at the least."
    )
    age: Duration | None = Field(
        default=None, description="Drop older ones, such as 90d; the last two stay. Default: however old."
    )


class LimitSettings(Strict):
    """How much one extension may take of the node."""

    size: Annotated[int, Written(int | str, parse_size)] = Field(
        default=DEFAULT.size, description="Bytes of data unpacked, such as 16G."
    )
    members: Count = Field(default=DEFAULT.members, description="Files, directories and links.")
    ratio: Count = Field(
        default=DEFAULT.ratio, description="Bytes unpacked for each packed one, of large layers and image files."
    )
    setuid: bool = Field(
        default=DEFAULT.setuid, description="Whether it may bring setuid and setgid programs and file capabilities."
    )
    livelayer: bool = Field(
        default=False, description="What configures livelayer, livelayer itself, or takes the place of what it runs."
    )
    generators: bool = Field(default=True, description="Generators of systemd, programs for sleep and shutdown.")
    hooks: bool = Field(default=True, description="What cron, network and package managers and the like run.")
    units: bool = Field(default=True, description="Changes to units of the host: drop-ins, files of their names.")
    manager: bool = Field(default=True, description="Settings of systemd, of all services' environment, presets.")
    dbus: bool = Field(
        default=True, description="Services that D-Bus starts as root, and policies of the system bus."
    )
    polkit: bool = Field(default=True, description="Rules and actions of polkit.")
    login: bool = Field(default=True, description="PAM, NSS, sudo, sshd, passwords and what else the host trusts.")
    sysusers: bool = Field(default=True, description="Users of sysusers.d with root's number, members of groups.")
    tmpfiles: bool = Field(default=True, description="Files of tmpfiles.d.")
    udev: bool = Field(default=True, description="Rules of udev that run programs.")
    modules: bool = Field(default=True, description="Kernel modules and firmware, and the loading of modules.")
    modprobe: bool = Field(default=True, description="Commands of modprobe.d, for when a module is loaded.")
    sysctl: bool = Field(default=True, description="Settings of the kernel: sysctl.d, binfmt.d.")
    preload: bool = Field(
        default=True, description="What gets into programs of the host: *.pth, ld.so.preload, profile.d and the like."
    )
    shadowing: bool = Field(
        default=True, description="Programs and libraries that are found before those of the host with their names."
    )

    @property
    def refused(self) -> frozenset[Power]:
        """What an extension must not be able to do."""
        return frozenset(it for it in Power if not getattr(self, it))


class TransferSettings(Strict):
    """How slow a source may be."""

    timeout: Annotated[timedelta, Written(str, parse_transfer_timeout)] | None = Field(
        default=None, description="What one transfer may take in all, such as 30m; 6h at most. Default: 2h."
    )
    min_rate: Annotated[int, Written(int | str, parse_size)] = Field(
        default=TRANSFERS.min_rate, description="Bytes in a second that must come, over a minute, such as 10K."
    )


class Preflight(Strict):
    """Whether what is found before an extension is placed keeps it out, or is only said."""

    collisions: Reaction = Field(default="warn", description="A file that another extension has, too.")
    host_files: Reaction = Field(
        default="warn", description="A file in the place of one of the host's (system extensions)."
    )
    links: Reaction = Field(
        default="refuse",
        description="A directory where the host has a symbolic link or a file, or these where it has a directory.",
    )
    directories: Reaction = Field(
        default="refuse",
        description="A directory of the host's that the extension has with less access, or as another owner's.",
    )
    layers: Reaction = Field(
        default="refuse", description="More extensions than an overlay takes: systemd would merge none."
    )
    space: Reaction = Field(default="refuse", description="More to fetch than the disk of the store has room for.")
    labels: Reaction = Field(
        default="warn", description="Files without SELinux labels of their own, where SELinux is enforcing."
    )


class Settings(Strict):
    """How livelayer behaves."""

    cloud_config: tuple[Absolute, ...] | None = Field(
        default=None,
        strict=False,
        description="Directories or files with Kairos's cloud-configs, in the order in which they are read; the "
        "later wins. Default: Kairos's own four where the node is Kairos, else none; [] turns it off.",
    )
    prune: bool = Field(default=True, description="Remove what livelayer placed and no file lists any more.")
    prune_limit: Annotated[PruneLimit, Written(int | str, parse_prune_limit)] | None = Field(
        default=None,
        description="Remove no more than this at once because no file lists it any more: a count, or a share "
        "such as 50% of what is placed. More takes: livelayer apply --confirm-prune.",
    )
    checks: ChecksOrNone = Field(
        default=None, description="What must hold after any change of extensions, or all of it is taken back."
    )
    retention: Retention = Retention()
    allow_empty: bool = Field(
        default=False, description="Let an empty list of extensions remove all that livelayer placed."
    )
    refresh: Literal["now", "boot"] = Field(
        default="now", description="now: merge at once; boot: place only, merged at the next boot."
    )
    keyring: Absolute | None = Field(
        default=None,
        description="File with the keys that sign SHA256SUMS of https:// sources, before those of systemd.",
    )
    catalogs: tuple[Annotated[str, AfterValidator(_check_catalog)], ...] = Field(
        default=(),
        strict=False,
        description="Where catalog:NAME sources are looked up, in this order: https://HOST/FILE or file:///PATH.",
    )
    profile: Literal["strict"] | None = Field(
        default=None,
        description="strict: refuses what an extension could do to the host, kind by kind: limits and "
        "preflight.host_files are strict where they are not set.",
    )
    limits: LimitSettings = LimitSettings()
    transfers: TransferSettings = TransferSettings()
    state_dir: Annotated[str, AfterValidator(check_state_dir)] | None = Field(
        default=None,
        description="Where store and records are; followed until content is placed. Default: where they are, at "
        "first /var/lib/livelayer, on Kairos /var/lib/kairos/livelayer.",
    )
    preflight: Preflight = Preflight()
    quarantine: bool = Field(
        default=False,
        description="Mask what others placed and what would make systemd merge nothing at all, such as a corrupt "
        "image file, by an empty directory of its name in a search directory of higher precedence.",
    )

    @property
    def in_force(self) -> Self:
        """With what the profile sets where nothing else does."""
        if self.profile is None:
            return self
        unset = {"setuid", *Power} - self.limits.model_fields_set
        limits = self.limits.model_copy(update=dict.fromkeys(unset, False))
        given = {"host_files": "refuse"} if "host_files" not in self.preflight.model_fields_set else {}
        return self.model_copy(update={"limits": limits, "preflight": self.preflight.model_copy(update=given)})


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
