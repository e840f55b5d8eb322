"""Every location livelayer reads or writes, below one root.

Tests and `--root` give another root; nothing else in the package spells out an absolute path of a node.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.errors import Invalid
from reconciler.model.kind import Kind

_MAIN = "extensions.yaml"
_DROPINS = "extensions.d"
SCRATCH = "/var/tmp"  # noqa: S108 - for large files of this process alone, in directories made by mkdtemp
STATE_DIR: Final = "/var/lib/livelayer"
# Other directories below /var/lib do not outlive a boot there, as a rule.
KAIROS_STATE_DIR: Final = "/var/lib/kairos/livelayer"
_MOST_LINKS: Final = 40  # on one way, as for the kernel


@dataclass(frozen=True, slots=True)
class Paths:
    """The locations of one node, whose file system starts at `root`."""

    root: Path = Path("/")
    state_dir: str = STATE_DIR  # as the node sees it

    def under(self, absolute: str) -> Path:
        """The place of a node's absolute path below the root: of its symlinks, none leads out of another root.

        Raises:
            Invalid: symlinks below the root go round in a circle.
        """
        return Path(absolute) if self.is_running_system else _inside(self.root, absolute)

    def name_under(self, absolute: str) -> Path:
        """The same for a name that may be a symlink itself: those on the way to it are followed, it is not."""
        directory, _, name = absolute.rpartition("/")
        return self.under(directory or "/") / name

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
        return tuple(self.under(f"{top}/livelayer") for top in ("/etc", "/run", "/usr/lib"))

    @property
    def main_files(self) -> tuple[Path, ...]:
        """Candidates for the main file; the first that exists is the one."""
        return tuple(directory / _MAIN for directory in self.config_dirs)

    @property
    def dropin_dirs(self) -> tuple[Path, ...]:
        """Directories of drop-ins; a file name in an earlier one replaces the same name in a later one."""
        return tuple(directory / _DROPINS for directory in self.config_dirs)

    @property
    def kairos_cloud_configs(self) -> tuple[Path, ...]:
        """Where Kairos looks for cloud-configs, in its order: the last wins."""
        names = ("/run/initramfs/live", "/etc/kairos", "/usr/local/cloud-config", "/oem")
        return tuple(self.under(name) for name in names)

    @property
    def auth_file(self) -> Path:
        """Registry credentials for livelayer alone, in the format of containers-auth.json(5)."""
        return self.under("/etc/livelayer/auth.json")

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
    def location(self) -> Path:
        """Where the state is if not here; only in the directory where it is by default."""
        return self.state / "location.json"

    @property
    def store(self) -> Path:
        """Unpacked extensions by digest, each complete or absent."""
        return self.state / "store" / "sha256"

    @property
    def file_lists(self) -> Path:
        """Which files the entries of the store have, by the entries' names."""
        return self.state / "file-lists"

    @property
    def records_of_entries(self) -> tuple[Path, ...]:
        """Directories of records about entries of the store, which go with them."""
        return self.file_lists, self.manifests

    @property
    def manifests(self) -> Path:
        """What is in the entries of the store, with digests, by the entries' names."""
        return self.state / "manifests"

    @property
    def images(self) -> Path:
        """Under which manifest the blobs of an image are kept, where that is not the one it has at its source."""
        return self.state / "images"

    @property
    def replaced(self) -> Path:
        """Trees that were in the store and that the overlay may still show."""
        return self.state / "replaced"

    @property
    def blobs(self) -> Path:
        """Downloaded blobs; skopeo adds the level `sha256/`."""
        return self.state / "blobs"

    @property
    def staging(self) -> Path:
        """Where content is unpacked, on the store's file system so that a rename is enough."""
        return self.state / "staging"

    @property
    def last_good(self) -> Path:
        """The last configuration that was read without an error."""
        return self.state / "desired.json"

    @property
    def resolutions(self) -> Path:
        """Which digest a source's tag led to when its content was fetched."""
        return self.state / "resolutions.json"

    @property
    def first_seen(self) -> Path:
        """When digests of extensions with a `min_age` were seen first."""
        return self.state / "first-seen.json"

    @property
    def catalogs(self) -> Path:
        """Copies of catalogs of extensions, for when their servers do not answer."""
        return self.state / "catalogs"

    @property
    def cloud_places(self) -> Path:
        """Mount points from which the last good configuration had cloud-configs."""
        return self.state / "cloud-places.json"

    @property
    def generations(self) -> Path:
        """What was placed after each successful change, a file each."""
        return self.state / "generations"

    @property
    def rollback(self) -> Path:
        """The generation that is held in place of the configuration, and which configuration that is."""
        return self.state / "rollback.json"

    @property
    def checks(self) -> Path:
        """Changes whose checks are pending, and those that failed them."""
        return self.state / "health.json"

    @property
    def prefetched(self) -> Path:
        """What the store has for an OS that is yet to be booted."""
        return self.state / "prefetched.json"

    def links(self, kind: Kind) -> Path:
        """The search directory in which livelayer places its links to extensions of a kind."""
        return self.under("/var/lib/extensions" if kind is Kind.SYSEXT else "/var/lib/confexts")

    @property
    def kairos_extensions(self) -> Path:
        """Where kairos-agent keeps extensions of its own."""
        return self.under("/var/lib/kairos/extensions")

    @property
    def runtime(self) -> Path:
        """What must not survive a reboot: the lock, the status, a refresh that is owed."""
        return self.under("/run/livelayer/state")

    @property
    def status(self) -> Path:
        """The status document of the last run."""
        return self.runtime / "status.json"

    @property
    def public_status(self) -> Path:
        """Where others look for it: a symlink, since what is written there makes path units watch anew."""
        return self.name_under("/run/livelayer/status.json")

    @property
    def lock(self) -> Path:
        """Held by the run that changes the node."""
        return self.runtime / "lock"

    @property
    def seen(self) -> Path:
        """The fingerprint of the configuration that the last run worked from."""
        return self.runtime / "seen.json"

    @property
    def retries(self) -> Path:
        """When sources that did not answer are asked again."""
        return self.runtime / "retries.json"

    @property
    def masks(self) -> Path:
        """Which masks livelayer made in /run."""
        return self.runtime / "quarantine.json"

    @property
    def lasting_masks(self) -> Path:
        """Which masks it made elsewhere."""
        return self.state / "quarantine.json"

    @property
    def judged(self) -> Path:
        """What was found of images that others placed."""
        return self.runtime / "judged.json"

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
    """Where a path leads for a node that has `root` as its root directory, like chroot(2) would have it."""
    parts, way, links = deque(absolute.split("/")), root, 0
    while parts:
        part = parts.popleft()
        if part in {"", "."}:
            continue
        if part == "..":
            way = way if way == root else way.parent
            continue
        try:
            target = str((way / part).readlink())
        except OSError:  # no symlink, or not there at all
            way /= part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise Invalid(f"{root}: too many symlinks on the way to {absolute}", "look at the links on this way")
        parts.extendleft(reversed(target.split("/")))
        way = root if target.startswith("/") else way
    return way
