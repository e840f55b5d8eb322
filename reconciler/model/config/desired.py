"""The desired state: a validated configuration, reduced to what decisions need."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from reconciler.errors import Invalid, InvalidConfiguration, ReconcilerError
from reconciler.model.config.checks import Checks
from reconciler.model.config.document import (
    CheckSettings,
    Document,
    Extension,
    LimitSettings,
    PreflightSettings,
    RetentionSettings,
    Settings,
    Units,
)
from reconciler.model.config.duration import parse_duration
from reconciler.model.config.merge import Fragment, KeyPath, Tree, overlay
from reconciler.model.config.part import Part
from reconciler.model.config.placeholders import Template, has_placeholders, stand_in
from reconciler.model.config.preflight import Preflight
from reconciler.model.config.prunelimit import PruneLimit, parse_prune_limit
from reconciler.model.config.retention import DEFAULT_RETENTION, Retention
from reconciler.model.content.format import Format
from reconciler.model.content.limits import DEFAULT, Limits, parse_count, parse_size
from reconciler.model.content.ociread import Platform, parse_platform
from reconciler.model.content.source import Source, Transport, parse_source, shown_url
from reconciler.model.kind import ExtensionId, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from pydantic_core import ErrorDetails

    from reconciler.model.content.version import Range

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An extension the node shall have, merged or at least fetched."""

    name: str
    parts: tuple[Part, ...]  # one at least; of several, each is laid over those before it
    merged: bool = True
    pull: Literal["missing", "always", "never"] = "missing"
    rename: bool = False
    restart: tuple[str, ...] = ()
    kind: Kind = Kind.SYSEXT
    format: Format | None = Format.DIRECTORY  # None: whatever suits content and node
    min_age: timedelta | None = None
    boot_states: tuple[str, ...] = ()  # none: in all
    kernel: Range | None = None  # under which it may be merged
    checks: Checks | None = None  # what must hold after it was merged anew

    @property
    def text(self) -> str:
        """Its sources as the user wrote them."""
        return ", ".join(part.text for part in self.parts)

    @property
    def pin(self) -> str | None:
        """The digest that it must lead to; several sources are pinned each for itself."""
        return self.parts[0].pin if len(self.parts) == 1 else None

    @property
    def unresolved(self) -> ReconcilerError | None:
        """Why this host cannot fill in what a source has left open."""
        return next((part.unresolved for part in self.parts if part.unresolved), None)

    @property
    def is_remote(self) -> bool:
        """Whether it takes the network to look up a source."""
        return any(part.source.is_remote for part in self.parts)

    @property
    def ident(self) -> ExtensionId:
        """What systemd will know it as."""
        return ExtensionId(self.name, self.kind)

    def withheld(self, boot_state: str) -> str | None:
        """Why it is to be in the store only; None: it is to be merged."""
        if not self.merged:
            return "state: fetched keeps it in the store only"
        if self.boot_states and boot_state not in self.boot_states:
            return f"it is merged in boot state {' or '.join(self.boot_states)}, and this is {boot_state}"
        return None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything the configuration asks for, extensions in the order of their names."""

    extensions: tuple[Wanted, ...] = ()
    absent: frozenset[str] = frozenset()
    prune: bool = True
    allow_empty: bool = False
    refresh_now: bool = True
    keyring: str | None = None  # of keys that sign SHA256SUMS
    limits: Limits = DEFAULT
    catalogs: tuple[str, ...] = ()  # URLs, in the order in which they are asked
    state_dir: str | None = None  # None: where it is
    preflight: Preflight = Preflight()  # noqa: RUF009 - frozen
    prune_limit: PruneLimit | None = None  # None: whatever no file lists any more may go
    checks: Checks | None = None  # what must hold after any change
    held: int | None = None  # the generation that it is in place of the configuration
    vanished: tuple[str, ...] = ()  # where a part of the configuration was that may come back
    retention: Retention = DEFAULT_RETENTION
    quarantine: bool = False  # whether what others placed may be masked if it would make systemd merge nothing
    configured: bool = True  # False: there is no configuration file at all, so nothing is removed

    @property
    def names(self) -> frozenset[str]:
        """Every name the configuration speaks of."""
        return frozenset(item.name for item in self.extensions) | self.absent

    @property
    def wants_image_files(self) -> bool:
        """Whether an extension is, or may become, an image file."""
        return any(item.format is not Format.DIRECTORY for item in self.extensions)

    @property
    def depends_on_boot_state(self) -> bool:
        """Whether an extension is not for every boot state."""
        return any(item.boot_states for item in self.extensions)

    @property
    def idents(self) -> frozenset[ExtensionId]:
        """The extensions the node shall have, each as the kind it shall be."""
        return frozenset(item.ident for item in self.extensions)


def desired_state(fragment: Fragment) -> DesiredState:
    """Validate a merged configuration.

    Raises:
        InvalidConfiguration: with the file, line and column of each mistake.
    """
    document = _validated(Document, fragment, (), fragment.tree)
    return _reduce(document.settings, _effective(document, fragment), fragment)


def _effective(document: Document, fragment: Fragment) -> dict[str, Extension]:
    """The extensions by name, in the order of their names, with the defaults below them."""
    defaults = fragment.tree.get("defaults")
    listed = sorted(document.extensions.items())
    if not defaults:
        return {name: extension for name, extension in listed if extension}
    trees = fragment.tree["extensions"] if listed else {}
    return {
        name: _validated(Extension, fragment, ("extensions", name), overlay(defaults, trees[name]))
        for name, _ in listed
    }


def _reduce(settings: Settings, extensions: dict[str, Extension], fragment: Fragment) -> DesiredState:
    present = {name: item for name, item in extensions.items() if item.state != "absent"}
    sourceless = [name for name, item in present.items() if item.source is None]
    if sourceless:
        raise InvalidConfiguration(tuple(_no_source(name, fragment) for name in sourceless))
    if not settings.catalogs and (listed := [name for name, item in present.items() if _is_listed(item)]):
        raise InvalidConfiguration(tuple(_no_catalog(name, fragment) for name in listed))
    return DesiredState(
        tuple(_wanted(name, item, fragment) for name, item in present.items()),
        frozenset(extensions) - frozenset(present),
        settings.prune,
        settings.allow_empty,
        settings.refresh == "now",
        settings.keyring,
        _limits(settings.limits),
        catalogs=settings.catalogs,
        state_dir=settings.state_dir,
        preflight=Preflight(**settings.preflight.model_dump()),
        prune_limit=None if settings.prune_limit is None else parse_prune_limit(settings.prune_limit),
        checks=_checks(settings.checks),
        retention=_retention(settings.retention),
        quarantine=settings.quarantine,
    )


def _limits(given: LimitSettings) -> Limits:
    return Limits(parse_size(given.size), parse_count(given.members), parse_count(given.ratio), given.setuid)


def _retention(given: RetentionSettings) -> Retention:
    return Retention(given.generations, parse_duration(given.age) if given.age else None)


def _checks(given: CheckSettings | None) -> Checks | None:
    """None also for those that ask for nothing."""
    if given is None or not (given.units or given.command or given.file or given.http):
        return None
    settle, timeout = parse_duration(given.settle), parse_duration(given.timeout)
    return Checks(given.units, given.command, given.file, given.http, settle, timeout)


def _wanted(name: str, item: Extension, fragment: Fragment) -> Wanted:
    texts = item.source or ()
    sources = [parse_source(stand_in(text)) for text in texts]
    if misuse := _misuse(item, sources):
        key, what, hint = misuse
        raise InvalidConfiguration((_mistake(fragment, ("extensions", name, key), what, hint),))
    version = _range(name, item, sources[0], fragment) if item.version else None
    return Wanted(
        name,
        tuple(_part(item, text, source, version) for text, source in zip(texts, sources, strict=True)),
        merged=item.state == "merged",
        pull=item.pull,
        rename=item.rename,
        restart=item.units.restart,
        kind=Kind(item.kind),
        format=None if item.format == "auto" else Format(item.format),
        min_age=parse_duration(item.min_age) if item.min_age else None,
        boot_states=item.boot_states or (),
        kernel=_kernel(item.kernel) if item.kernel else None,
        checks=_checks(item.checks),
    )


def _part(item: Extension, text: str, source: Source, version: Range | None) -> Part:
    is_open = has_placeholders(text) or has_placeholders(item.version)
    template = Template(text, item.version, item.prereleases) if is_open else None
    return Part(_shown(text, source), source, item.digest or source.digest, _platform(item), version, template)


def _shown(text: str, source: Source) -> str:
    """As the user wrote it, without a URL's password."""
    if not source.is_web:
        return text
    return shown_url(text) if has_placeholders(text) else source.text


def _kernel(text: str) -> Range:
    from reconciler.model.fit.kernel import parse_constraint

    return parse_constraint(text)


def _platform(item: Extension) -> Platform | None:
    return parse_platform(item.platform) if item.platform else None


def _misuse(item: Extension, sources: Sequence[Source]) -> tuple[str, str, str | None] | None:
    """What the other keys forbid about the sources: the key, what is wrong, and what to do."""
    if len(sources) > 1:
        if item.digest:
            return "digest", "cannot pin several sources", "pin each of them: docker://NAME@sha256:..."
        if item.version:
            return "version", "cannot choose the tag of several sources", "name a tag in each of them"
        if item.format == "raw":
            return "format", "raw takes one image file, not several sources", "name one source, or another format:"
    elif item.digest and sources[0].digest not in {None, item.digest}:
        return "digest", "differs from the digest in source:", None
    if any(it.transport is Transport.HTTP for it in sources) and not item.digest:
        what = "http:// needs a digest, since content can be changed on the way"
        return "source", what, "add digest: sha256:..., or use https://"
    return None


def _range(name: str, item: Extension, source: Source, fragment: Fragment) -> Range:
    """What `version:` says, where it can mean something."""
    from reconciler.model.content.version import parse_range

    path = ("extensions", name, "version")
    if source.transport not in {Transport.DOCKER, Transport.CATALOG}:
        raise InvalidConfiguration((_mistake(fragment, path, "only a registry has tags to choose from"),))
    if source.tag or source.digest or item.digest:
        what = "the tag" if source.tag else "the digest"
        raise InvalidConfiguration((_mistake(fragment, path, f"chooses a tag, so {what} must go"),))
    return parse_range(stand_in(item.version or ""), prereleases=item.prereleases)


def _no_source(name: str, fragment: Fragment) -> Invalid:
    return _mistake(fragment, ("extensions", name), "has no source", "add source: docker://..., or withdraw it: null")


def _is_listed(item: Extension) -> bool:
    return any(parse_source(stand_in(text)).transport is Transport.CATALOG for text in item.source or ())


def _no_catalog(name: str, fragment: Fragment) -> Invalid:
    path, hint = ("extensions", name, "source"), "name them in settings.catalogs"
    return _mistake(fragment, path, "there are no catalogs to look it up in", hint)


def _validated(model: type[Model], fragment: Fragment, at: KeyPath, tree: Tree) -> Model:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise InvalidConfiguration(tuple(_translate(item, at, fragment) for item in details)) from None


def _translate(detail: ErrorDetails, at: KeyPath, fragment: Fragment) -> Invalid:
    path = at + tuple(part for part in detail["loc"] if part != "[key]")
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(path, fragment)
        case "string_pattern_mismatch" if detail["loc"][-1] == "[key]":
            return _mistake(fragment, path, "is no extension name", "use letters, digits and . _ + - (64 at most)")
        case "literal_error":
            return _wrong_choice(path, detail, fragment)
        case "value_error":
            return _mistake(fragment, path, str(detail["ctx"]["error"]))
        case _:
            found = f", not {type(detail['input']).__name__} {detail['input']!r}"
            return _mistake(fragment, path, f"{_lower_first(detail['msg'])}{found}")


def _wrong_choice(path: KeyPath, detail: ErrorDetails, fragment: Fragment) -> Invalid:
    return _mistake(fragment, path, f"must be {detail['ctx']['expected']}, not {detail['input']!r}")


def _unknown_key(path: KeyPath, fragment: Fragment) -> Invalid:
    *around, key = path
    known = _keys_of(tuple(around))
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
    return _mistake(fragment, path, "unknown key", hint)


def _keys_of(path: KeyPath) -> list[str]:
    """The keys a map at this path may have."""
    model: type[BaseModel] = Document
    match path:
        case ("settings",):
            model = Settings
        case ("settings", "limits"):
            model = LimitSettings
        case ("settings", "preflight"):
            model = PreflightSettings
        case ("settings", "retention"):
            model = RetentionSettings
        case ("settings", "checks") | ("defaults", "checks") | ("extensions", _, "checks"):
            model = CheckSettings
        case ("defaults",) | ("extensions", _):
            model = Extension
        case ("defaults", "units") | ("extensions", _, "units"):
            model = Units
        case _:
            pass
    return list(model.model_fields)


def _mistake(fragment: Fragment, path: KeyPath, what: str, hint: str | None = None) -> Invalid:
    place = fragment.place(path)
    name = ".".join(str(part) for part in path) or "the configuration"
    return Invalid(f"{place}: {name}: {what}" if place else f"{name}: {what}", hint)


def _lower_first(text: Any) -> str:  # noqa: ANN401 - pydantic's message type
    return str(text)[:1].lower() + str(text)[1:]
