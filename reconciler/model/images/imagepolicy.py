"""systemd's image policies (systemd.image-policy(7), 254 on): which images a node's systemd-sysext takes.

Directories are not subject to them. Source of the rules: src/shared/image-policy.c and dissect_image() of systemd 254
to 260; a test compares with the real `systemd-analyze image-policy` and `systemd-sysext --image-policy=`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.images.imageformat import ImageFormat, Volume

PARTITIONS: Final = (
    "root",
    "usr",
    "home",
    "srv",
    "esp",
    "xbootldr",
    "swap",
    "root-verity",
    "usr-verity",
    "root-verity-sig",
    "usr-verity-sig",
    "tmp",
    "var",
)
_USED: Final = frozenset({"verity", "signed", "encrypted", "unprotected"})
_OPEN: Final = _USED | {"unused", "absent"}
_IGNORE: Final = frozenset({"unused", "absent"})
_FILE_SYSTEMS: Final = frozenset({"btrfs", "erofs", "ext4", "f2fs", "squashfs", "vfat", "xfs"})  # 258 on
_PARTITION_FLAGS: Final = frozenset({"read-only-on", "read-only-off", "growfs-on", "growfs-off"})
_ALIASES: Final = {"open": _OPEN, "ignore": _IGNORE}
_SYMBOLIC: Final = {"": _IGNORE, "-": _IGNORE, "*": _OPEN, "~": frozenset({"absent"})}
_HINT: Final = "see systemd.image-policy(7)"


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """What is demanded of each partition."""

    text: str
    rules: Mapping[str, frozenset[str]]
    default: frozenset[str]

    def flags(self, partition: str) -> frozenset[str]:
        """What is allowed for a partition, with all that the policy leaves open spelled out."""
        rule = self._rule(partition)
        return _normalized(partition, self.default if rule is None else rule)

    def _rule(self, partition: str) -> frozenset[str] | None:
        """Its own rule, or what the one of the data it protects implies."""
        if partition in self.rules:
            return self.rules[partition]
        for suffix, needed in (("-verity-sig", {"signed"}), ("-verity", {"signed", "verity"})):
            data = partition.removesuffix(suffix)
            if data != partition:
                rule = self.rules.get(data)
                allowed = None if rule is None else _normalized(data, rule)
                return (allowed & _IGNORE) | {"unprotected"} if allowed and allowed & needed else None
        return None


def _normalized(partition: str, flags: frozenset[str]) -> frozenset[str]:
    used = flags & _OPEN or _OPEN
    if partition.endswith(("-verity", "-verity-sig")):
        used -= {"verity", "signed", "encrypted"}
    elif partition not in {"root", "usr"}:
        used -= {"verity", "signed"}
    return used | (flags & _PARTITION_FLAGS) | (flags & _FILE_SYSTEMS)


def parse_image_policy(text: str) -> ImagePolicy:
    """Read an image policy as systemd's tools do."""
    if text in _SYMBOLIC:
        return ImagePolicy(text, {}, _SYMBOLIC[text])
    rules: dict[str, frozenset[str]] = {}
    for rule in text.split(":"):
        partition, separator, flags = (part.strip() for part in rule.partition("="))
        if not separator:
            raise Invalid(f"image policy {text}: a rule without an equal sign: {rule or 'an empty one'}", _HINT)
        if partition not in {*PARTITIONS, ""}:
            raise Invalid(f"image policy {text}: there is no partition {partition}", _HINT)
        if partition in rules:
            raise Invalid(f"image policy {text}: two rules for {partition or 'the other partitions'}", _HINT)
        rules[partition] = _flags(text, flags)
    return ImagePolicy(text, rules, rules.pop("", _IGNORE))


def _flags(text: str, words: str) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for word in [] if words in {"", "-"} else words.split("+"):
        flag = word.strip()
        if flag not in {*_OPEN, *_ALIASES, *_PARTITION_FLAGS, *_FILE_SYSTEMS}:
            raise Invalid(f"image policy {text}: there is no flag {flag or 'without a name'}", _HINT)
        found |= _ALIASES.get(flag, {flag})
    return found


DEFAULTS: Final = {  # what systemd applies outside an initrd where nobody says anything else
    Kind.SYSEXT: parse_image_policy(
        "root=verity+signed+encrypted+unprotected+absent:usr=verity+signed+encrypted+unprotected+absent"
    ),
    Kind.CONFEXT: parse_image_policy("root=verity+signed+encrypted+unprotected+absent"),
}


def refusal(policy: ImagePolicy, image: ImageFormat) -> str | None:
    """Why a node with this policy would not merge this image, as one sentence; None: it would.

    A refused image fails the whole refresh, not its own extension alone.
    """
    reason = _disk_refusal(policy, image) if image.partitioned else _naked_refusal(policy, image.volumes[0])
    return reason and f"the node's image policy ({policy.text}) refuses it: {reason}"


def needs_device_mapper(policy: ImagePolicy, image: ImageFormat) -> bool:
    """Whether systemd would set up verity for an image that the policy takes, for which the kernel needs dm-verity.

    It does for a signed one unless the policy passes over the signature; a hash without a signature it does not know.
    """
    found = _found(policy, image)
    return any({top, f"{top}-verity", f"{top}-verity-sig"} <= found for top in ("root", "usr"))


def _found(policy: ImagePolicy, image: ImageFormat) -> set[str]:
    """The image's partitions that the policy lets be used."""
    return {partition for partition in image.partitions if policy.flags(partition) & _USED}


def _naked_refusal(policy: ImagePolicy, volume: Volume) -> str | None:
    """What systemd holds a naked file system against: the rule for root alone."""
    if not policy.flags("root") & _USED:
        return "no root file system may be used, and a file system without a partition table is one"
    return _level_refusal(policy, "root", "unprotected", "a file system without a partition table") or _flag_refusal(
        policy, volume
    )


def _disk_refusal(policy: ImagePolicy, image: ImageFormat) -> str | None:
    found = _found(policy, image)
    for partition in sorted(image.partitions - found):
        if "unused" not in policy.flags(partition):
            return f"there must be no {partition} partition"
    if not found & {"root", "usr"}:
        return "it lets neither a root nor a usr partition be used"
    for partition in PARTITIONS:
        if reason := _partition_refusal(policy, partition, found, image.partitions):
            return reason
    used = (volume for volume in image.volumes if volume.top in found)
    return next((reason for volume in used if (reason := _flag_refusal(policy, volume))), None)


def _partition_refusal(policy: ImagePolicy, name: str, found: set[str], there: frozenset[str]) -> str | None:
    if name in found:
        return _level_refusal(policy, name, _level(name, found), f"the {name} partition")
    missing = "unused" if name in there else "absent"
    return None if missing in policy.flags(name) else f"it demands a {name} partition"


def _level(partition: str, found: set[str]) -> str:
    if f"{partition}-verity" not in found:
        return "unprotected"
    return "signed" if f"{partition}-verity-sig" in found else "verity"


def _level_refusal(policy: ImagePolicy, partition: str, level: str, what: str) -> str | None:
    allowed = policy.flags(partition) & _USED
    if level in allowed:
        return None
    words = "protected by verity alone" if level == "verity" else level
    return f"{what} is {words}, and {_either(allowed)} is demanded"


def _flag_refusal(policy: ImagePolicy, volume: Volume) -> str | None:
    flags = policy.flags(volume.top)
    for name, is_set in (("read-only", volume.read_only), ("growfs", volume.growfs)):
        demanded = flags & {f"{name}-on", f"{name}-off"}
        if demanded and f"{name}-{'on' if is_set else 'off'}" not in demanded:
            return f"the flag {name} of its {volume.top} partition must be {'off' if is_set else 'on'}"
    allowed = flags & _FILE_SYSTEMS
    if allowed and volume.file_system not in allowed:
        return f"its file system is {volume.file_system}, and {_either(allowed)} is demanded"
    return None


def _either(words: frozenset[str]) -> str:
    return " or ".join(sorted(words)) or "none"
