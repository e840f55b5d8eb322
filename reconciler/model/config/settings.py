"""The map `settings:`, which says how livelayer behaves."""

from datetime import timedelta
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field

from reconciler.errors import quoted
from reconciler.model.config.fields import Absolute, Count, Duration, Strict, Written
from reconciler.model.config.healthchecks import ChecksOrNone
from reconciler.model.config.values import PruneLimit, check_state_dir, parse_prune_limit, parse_transfer_timeout
from reconciler.model.content.limits import DEFAULT, TRANSFERS, parse_size
from reconciler.model.content.power import Power
from reconciler.model.content.source import Transport, parse_source

Reaction: TypeAlias = Literal["warn", "refuse"]


def _check_catalog(url: str) -> str:
    if parse_source(url).transport not in {Transport.HTTPS, Transport.FILE}:
        raise ValueError(f"a catalog is https://HOST/FILE or file:///PATH, not {quoted(url)}")
    return url


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
