"""What a plan consists of: actions, in the order in which they are carried out, and problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, assert_never

from reconciler.dataclass import dataclass
from reconciler.errors import Pending, ReconcilerError, sentence

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.config.desired import Wanted
    from reconciler.model.config.healthchecks import Checks
    from reconciler.model.content.resolution import Resolution
    from reconciler.model.kind import ExtensionId, Kind
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Masked


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring content into the store."""

    wanted: Wanted
    resolution: Resolution
    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Layer:
    """What has kernel modules: an entry of the store, or a directory or image file of others."""

    name: str
    content: Entry | Path


@dataclass(frozen=True, slots=True)
class Generate:
    """Make an extension's content here: the indexes of the kernel modules of the host and of these layers."""

    ident: ExtensionId
    entry: Entry
    kernel: str
    layers: tuple[Layer, ...]  # the lowest first
    reason: str
    changed: bool = False  # what the store has of it is not as it was made


@dataclass(frozen=True, slots=True)
class Place:
    """Point the extension's link at an entry of the store."""

    ident: ExtensionId
    old: Entry | None
    new: Entry
    reason: str
    checked: bool = False  # it stays only if checks pass
    is_return: bool = False  # to what was there before a change that failed


@dataclass(frozen=True, slots=True)
class Remove:
    """Take the extension's link away."""

    ident: ExtensionId
    old: Entry
    reason: str
    checked: bool = False  # it stays away only if checks pass


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the units an extension carries before they vanish; systemd itself leaves them running (before 262)."""

    ident: ExtensionId
    units: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """Let systemd merge what is placed, once for each kind; after all links have changed."""

    kind: Kind
    reason: str
    only_after_changes: bool  # pointless if no link could be changed
    unchanged: frozenset[str] = frozenset()  # what this plan leaves alone and what must be merged afterwards
    carried: frozenset[str] = frozenset()  # configuration extensions that came with a system extension, as those must
    gone: frozenset[str] = frozenset()  # what went with one


@dataclass(frozen=True, slots=True)
class Activate:
    """Let the running system take up what the overlay shows now: users, directories, caches, units."""

    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """Let units of an extension run, on its present content."""

    ident: ExtensionId
    units: tuple[str, ...]
    reason: str
    reload: tuple[str, ...] = ()  # those of them that are only reloaded, or restarted, if they run


@dataclass(frozen=True, slots=True)
class Mask:
    """Hide an unmanaged extension that would make systemd merge nothing, by an empty directory of its name."""

    masked: Masked
    reason: str


@dataclass(frozen=True, slots=True)
class Unmask:
    """Take such a directory away again."""

    masked: Masked
    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """See whether a change has done well."""

    ident: ExtensionId | None  # None: the node as a whole
    checks: Checks
    reason: str


Action: TypeAlias = Fetch | Generate | Stop | Mask | Unmask | Place | Remove | Refresh | Activate | Start | Check


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps an extension (or, if it names none, the whole) from its desired state."""

    code: str
    extension: str | None
    message: str
    hint: str | None = None
    pending: bool = False  # not wrong, only not possible at the moment

    @property
    def sentence(self) -> str:
        return sentence(self.extension, self.message)


Step: TypeAlias = Action | Problem


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order, and what cannot be done."""

    actions: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()  # what is only to be said

    @property
    def in_sync(self) -> bool:
        return not self.actions and not self.problems


def problem(extension: str | None, error: ReconcilerError) -> Problem:
    """An error as part of a plan or outcome; an error of an extension keeps its own."""
    return Problem(
        error.code, error.extension or extension, error.message, error.hint, pending=isinstance(error, Pending)
    )


def action_ident(action: Action) -> ExtensionId | None:
    """The extension an action is about; None: the whole."""
    match action:
        case Fetch():
            return action.wanted.ident
        case Refresh() | Activate():
            return None
        case Mask() | Unmask():
            return action.masked.ident
        case Generate() | Stop() | Place() | Remove() | Start() | Check():
            return action.ident
        case never:
            assert_never(never)


def action_name(action: Action) -> str | None:
    ident = action_ident(action)
    return ident.name if ident else None
