"""Every location livelayer reads or writes, below one root.

Tests and `--root` give another root; nothing else in the package spells out an absolute path of a node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.fit.symlinks import follow
from reconciler.model.kind import Kind

SCRATCH = "/var/tmp"  # noqa: S108 - for large files of this process alone, in directories made by mkdtemp
STATE_DIR: Final = "/var/lib/livelayer"
_CONFIG_DIRS: Final = ("/etc/livelayer", "/run/livelayer", "/usr/lib/livelayer")
# Other directories below /var/lib do not outlive a boot there, as a rule.
KAIROS_STATE_DIR: Final = "/var/lib/kairos/livelayer"


@dataclass(frozen=True, slots=True)
class _At:
    """An attribute of `Paths`: the location of a node's absolute path."""

    name: str

    def __get__(self, paths: Paths, owner: type[Paths]) -> Path:
        return paths.under(self.name)


class _InState(_At):
    """A location below the state directory."""

    def __get__(self, paths: Paths, owner: type[Paths]) -> Path:
        return paths.state / self.name


class _InRuntime(_At):
    """A location below the directory that a reboot empties."""

    def __get__(self, paths: Paths, owner: type[Paths]) -> Path:
        return paths.runtime / self.name


@dataclass(frozen=True, slots=True)
class Paths:
    """The locations of one node, whose file system starts at `root`."""

    root: Path = Path("/")
    state_dir: str = STATE_DIR  # as the node sees it

    # Registry credentials for livelayer alone, in the format of containers-auth.json(5).
    auth_file = _At("/etc/livelayer/auth.json")
    kairos_extensions = _At("/var/lib/kairos/extensions")  # where kairos-agent keeps its own

    location = _InState("location.json")  # where the state is if not here; only in the default directory
    store = _InState("store/sha256")  # unpacked extensions by digest, each complete or absent
    file_lists = _InState("file-lists")  # which files the entries of the store have, by the entries' names
    manifests = _InState("manifests")  # what is in the entries of the store, with digests, by the entries' names
    # Under which manifest the blobs of an image are kept, where that is not the one it has at its source.
    images = _InState("images")
    transfers = _InState("transfers")  # which blobs of images are kept whose transfers are yet to end
    replaced = _InState("replaced")  # trees that were in the store and that the overlay may still show
    blobs = _InState("blobs")  # downloaded blobs; skopeo adds the level `sha256/`
    staging = _InState("staging")  # where content is unpacked, on the store's file system so that a rename is enough
    last_good = _InState("desired.json")  # the last configuration that was read without an error
    resolutions = _InState("resolutions.json")  # which digest a source's tag led to when its content was fetched
    first_seen = _InState("first-seen.json")  # when digests of extensions with a `min_age` were seen first
    catalogs = _InState("catalogs")  # copies of catalogs of extensions, for when their servers do not answer
    signed_lists = _InState("sha256sums.json")  # when the lists of checksums were signed that were accepted
    cloud_configs = _InState("cloud-configs.json")  # what each cloud-config said when it was last good
    cloud_places = _InState("cloud-places.json")  # where the last good configuration's cloud-configs were mounted
    generations = _InState("generations")  # what was placed after each successful change, a file each
    rollback = _InState("rollback.json")  # the generation that is pinned, and the configuration it stands in for
    checks = _InState("health.json")  # changes whose checks are pending, and those that failed them
    prefetched = _InState("prefetched.json")  # what the store has for an OS that is yet to be booted
    lasting_masks = _InState("quarantine.json")  # which masks livelayer made elsewhere

    runtime = _At("/run/livelayer/state")  # what must not survive a reboot
    status = _InRuntime("status.json")  # the status document of the last run
    lock = _InRuntime("lock")  # held by the run that changes the node
    failed_refreshes = _InRuntime("failed-refreshes.json")  # which overlays could not be refreshed, and why
    seen = _InRuntime("seen.json")  # the fingerprint of the configuration that the last run worked from
    retries = _InRuntime("retries.json")  # when sources that did not answer are asked again
    masks = _InRuntime("quarantine.json")  # which masks livelayer made in /run
    activation = _InRuntime("activated.json")  # what was done since the boot for what is merged
    judged = _InRuntime("judged.json")  # what was found of images that others placed

    def under(self, absolute: str) -> Path:
        """The place of a node's absolute path below the root: of its symlinks, none leads out of another root."""
        return Path(absolute) if self.is_running_system else _inside(self.root, absolute)

    def name_under(self, absolute: str) -> Path:
        """The same for a name that may be a symlink itself: those on the way to it are followed, it is not."""
        directory, _, name = absolute.rpartition("/")
        return self.under(directory or "/") / name

    def by_name(self, absolute: str) -> Path:
        """The same with all symlinks in it, for who judges what leads there, or follows them below the root."""
        return self.root / absolute.lstrip("/")

    def followed(self, path: Path) -> Path:
        """Where a path below another root leads there; on the running system the kernel follows links itself."""
        if self.is_running_system or not path.is_relative_to(self.root):
            return path
        return _inside(self.root, str(path.relative_to(self.root)))

    @property
    def is_running_system(self) -> bool:
        """Whether the root is this machine's own, so that merging and restarting mean something."""
        return self.root == Path("/")

    @property
    def config_dirs(self) -> tuple[Path, ...]:
        """Configuration directories, the administrator's first: systemd's precedence."""
        return tuple(map(self.under, _CONFIG_DIRS))

    @property
    def config_dirs_by_name(self) -> tuple[Path, ...]:
        """The same where no symlink is followed yet."""
        return tuple(map(self.by_name, _CONFIG_DIRS))

    @property
    def main_files(self) -> tuple[Path, ...]:
        """Candidates for the main file, by their names; the first that exists is the one."""
        return tuple(directory / "extensions.yaml" for directory in self.config_dirs_by_name)

    @property
    def dropin_dirs(self) -> tuple[Path, ...]:
        """Directories of drop-ins, by their names; a file in an earlier one replaces its namesake in a later one."""
        return tuple(directory / "extensions.d" for directory in self.config_dirs_by_name)

    @property
    def kairos_cloud_configs(self) -> tuple[Path, ...]:
        """Where Kairos looks for cloud-configs, in its order: the last wins."""
        names = ("/run/initramfs/live", "/etc/kairos", "/usr/local/cloud-config", "/oem")
        return tuple(self.under(name) for name in names)

    def keyrings(self, configured: str | None) -> tuple[Path, ...]:
        """Where keys that sign downloads may be: the configured file, ours, systemd-sysupdate's."""
        ours = [f"/etc/livelayer/keyring.{form}" for form in ("gpg", "asc")]
        systemds = [f"{top}/systemd/import-pubring.{form}" for top in ("/etc", "/usr/lib") for form in ("gpg", "pgp")]
        return tuple(self.under(name) for name in [*([configured] if configured else []), *ours, *systemds])

    @property
    def state(self) -> Path:
        """What must survive a reboot: the store and its records."""
        return self.under(self.state_dir)

    @property
    def records_of_entries(self) -> tuple[Path, ...]:
        """Directories of records about entries of the store, which go with them."""
        return self.file_lists, self.manifests

    def links(self, kind: Kind) -> Path:
        """The search directory in which livelayer places its links to extensions of a kind."""
        return self.under("/var/lib/extensions" if kind is Kind.SYSEXT else "/var/lib/confexts")

    @property
    def public_status(self) -> Path:
        """Where others look for it: a symlink, since what is written there makes path units watch anew."""
        return self.name_under("/run/livelayer/status.json")

    def refresh_owed(self, kind: Kind) -> Path:
        """Exists from the first changed link until the overlay was read back as expected."""
        return self.runtime / f"refresh-owed-{kind}"

    def search_dirs(self, kind: Kind, systemd: int) -> tuple[Path, ...]:
        """Where systemd of that version looks, highest precedence first (254 dropped the /usr ones for sysext)."""
        names = ["/run/confexts", "/var/lib/confexts", "/usr/local/lib/confexts", "/usr/lib/confexts"]
        if kind is Kind.SYSEXT:
            names = ["/etc/extensions", "/run/extensions", "/var/lib/extensions"]
            names += ["/usr/local/lib/extensions", "/usr/lib/extensions"] if systemd < 254 else []
        return tuple(self.under(name) for name in names)


def _inside(root: Path, absolute: str) -> Path:
    place = follow(absolute, lambda path: _target(root / path))
    if place is None:
        raise Invalid(f"{root}: too many symlinks on the way to {absolute}", "look at the links on this way")
    return root / place


def _target(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except OSError:  # no symlink, or not there at all
        return None
