"""Find and read the configuration: main file, drop-ins, and the last good state when they are broken."""

from __future__ import annotations

import logging
import os
from dataclasses import field, replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, InvalidConfiguration, Mistake, ReconcilerError, file_of
from reconciler.host.base.durable import read_json, write_json
from reconciler.host.base.onhost import on_host
from reconciler.host.base.ownership import refuse_foreign_hands
from reconciler.host.config.cloudplaces import places
from reconciler.host.config.configfiles import Files, find_files, places_of
from reconciler.host.config.yamlfile import read_fragment
from reconciler.host.records.seen import Clouds, look_at
from reconciler.host.records.statedir import locate
from reconciler.model.config.desired import DesiredState, desired_state
from reconciler.model.config.merge import CloudParts, Fragment, Tree, combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from reconciler.paths import Paths


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The desired state in force, and what is wrong with the files if it is not theirs."""

    desired: DesiredState
    tree: Tree | None = None  # the merged configuration as written; None: there is none, or it is broken
    mistakes: tuple[Invalid, ...] = ()  # not empty: `desired` is the last good state
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what of cloud-configs is for others
    clouds: Clouds = Clouds()
    cloud_files: Mapping[str, Tree] = field(default_factory=dict)  # what each of them says, or said last
    vanished: tuple[str, ...] = ()  # places of cloud-configs that were mounted and are not
    unknown: tuple[str, ...] = ()  # cloud-configs of which nobody knows what all they list
    troubles: tuple[ReconcilerError, ...] = ()  # with a part of it, or with carrying out what it says about the whole


def load(paths: Paths, config: Path | None = None, cloud_configs: Sequence[Path] | None = None) -> Loaded:
    """The desired state; a broken configuration keeps the last good one in force, and says what is wrong."""
    clouds = Clouds()
    try:
        files, own = on_host(lambda: _read_own(paths, config), places_of(paths, config))
        clouds = look_at(_places(own, paths) if cloud_configs is None else cloud_configs)
        parts = _read_cloud_configs(clouds.places, None if cloud_configs is not None else paths)
        warnings = (*files.warnings, *parts.warnings)
        known = Loaded(DesiredState(configured=False), warnings=warnings, notes=parts.notes, clouds=clouds)
        is_told = bool(own or parts.fragments or parts.mistakes)
        of = paths if cloud_configs is None and clouds.places else None
        return _with(parts, own, known, of) if is_told else known
    except InvalidConfiguration as error:
        return Loaded(_last_good(paths), mistakes=error.mistakes, clouds=clouds)
    except Invalid as error:
        return Loaded(_last_good(paths), mistakes=(error,), clouds=clouds)
    except OSError as error:
        mistake = Invalid.of(error, f"{file_of(error, 'the configuration')}: cannot be read", "look at it")
        return Loaded(_last_good(paths), mistakes=(mistake,), clouds=clouds)
    except Exception as error:  # whatever it is, what was good stays in force
        log.debug("the configuration cannot be read", exc_info=True)
        return Loaded(_last_good(paths), mistakes=(Mistake.unexpected(error, "the configuration"),), clouds=clouds)


def _with(parts: CloudParts, own: Sequence[Fragment], known: Loaded, paths: Paths | None) -> Loaded:
    """What files say together; `paths`: of a node, whose cloud-configs break nothing but themselves."""
    if paths is None:
        fragment = combine([*parts.fragments, *own])
        return replace(known, desired=desired_state(fragment), tree=fragment.tree)
    from reconciler.loop.cloudconfigs import combined

    desired, fragment, mistakes = combined(parts, own, lambda: _last_good_tree(paths))
    return replace(
        known,
        desired=desired,
        tree=fragment.tree,
        cloud_files=parts.files,
        vanished=_vanished(paths, known.clouds),
        unknown=parts.unknown,
        troubles=mistakes,
    )


def compose(files: Sequence[Path], cloud_configs: Sequence[Path] = ()) -> Loaded:
    """Files as one configuration, the first lowest, wherever they are and whoever owns them; cloud-configs below."""
    cloud = _read_cloud_configs(cloud_configs, None, root_only=False)
    fragment = combine([*cloud.fragments, *(read_fragment(path, root_only=False) for path in files)])
    return Loaded(desired_state(fragment), fragment.tree, warnings=cloud.warnings, notes=cloud.notes)


def remember(paths: Paths, loaded: Loaded, *, forget_vanished: bool = False) -> None:
    """Keep a configuration that was read without an error, for a time when it is broken."""
    located = locate(paths)
    if loaded.tree is not None and loaded.tree != read_json(located.last_good):
        write_json(located.last_good, loaded.tree)
    if loaded.tree is not None and loaded.clouds.places:
        from reconciler.loop import cloudconfigs

        cloudconfigs.remember(located.cloud_configs, loaded.cloud_files)
        kept = () if forget_vanished else loaded.vanished
        places = sorted({*(str(it) for it in loaded.clouds.inhabited if os.path.ismount(it)), *kept})
        if places != (read_json(located.cloud_places) or []):
            write_json(located.cloud_places, places)


def _vanished(paths: Paths, clouds: Clouds) -> tuple[str, ...]:
    """Places that had cloud-configs and were mount points, and that are not mounted now."""
    recorded = read_json(locate(paths).cloud_places) if clouds.places else None
    if not isinstance(recorded, list):
        return ()
    return tuple(str(place) for place in clouds.places if str(place) in recorded and not os.path.ismount(place))


def _places(own: Sequence[Fragment], paths: Paths) -> tuple[Path, ...]:
    """Where cloud-configs lie: as the node's own files say, since no cloud-config can say it."""
    return places(combine(own).tree.get("settings"), paths)


def _read_cloud_configs(where: Sequence[Path], paths: Paths | None, *, root_only: bool = True) -> CloudParts:
    """The cloud-configs of a node; without `paths`, files that the user names."""
    if not where:
        return CloudParts()
    from reconciler.host.config.cloudconfig import read_named, read_places
    from reconciler.loop.cloudconfigs import read_known

    if paths is None:
        return read_named(where, root_only=root_only)
    known = read_known(locate(paths).cloud_configs)
    return on_host(lambda: read_places(where, paths, known), where if paths.is_running_system else ())


def _read_own(paths: Paths, config: Path | None) -> tuple[Files, tuple[Fragment, ...]]:
    files = find_files(paths, config)
    return files, tuple(_read_safely(files, paths))


def _read_safely(files: Files, paths: Paths) -> Iterable[Fragment]:
    for path, name in zip(files.paths, files.names, strict=True):
        refuse_foreign_hands(name, paths.root, code="config.not-roots")
        yield read_fragment(path)


def _last_good(paths: Paths) -> DesiredState:
    return _read_last_good(paths)[0]


def _last_good_tree(paths: Paths) -> Tree:
    return _read_last_good(paths)[1]


def _read_last_good(paths: Paths) -> tuple[DesiredState, Tree]:
    tree = read_json(locate(paths).last_good)
    if not isinstance(tree, dict):
        return DesiredState(configured=False), {}
    try:
        return desired_state(Fragment(tree)), tree
    except Exception:  # it was written by a newer livelayer
        log.debug("the last good configuration cannot be read", exc_info=True)
        return DesiredState(configured=False), {}
