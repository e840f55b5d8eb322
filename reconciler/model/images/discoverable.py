"""Partition types of the Discoverable Partitions Specification (UAPI.2), in the words of image policies."""

from __future__ import annotations

from typing import Final

GENERIC: Final = "0fc63daf-8483-4772-8e79-3d69d8477de4"  # Linux data: a sole one serves as root

_ROLE_OF: Final = {  # on machines of one architecture, by systemd's name of that
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": ("root", "x86-64"),
    "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5": ("root-verity", "x86-64"),
    "41092b05-9fc8-4523-994f-2def0408b176": ("root-verity-sig", "x86-64"),
    "8484680c-9521-48c6-9c11-b0720656f69e": ("usr", "x86-64"),
    "77ff5f63-e7b6-4633-acf4-1565b864c0e6": ("usr-verity", "x86-64"),
    "e7bb33fb-06cf-4e81-8273-e543b413e2e2": ("usr-verity-sig", "x86-64"),
    "b921b045-1df0-41c3-af44-4c6f280d3fae": ("root", "arm64"),
    "df3300ce-d69f-4c92-978c-9bfb0f38d820": ("root-verity", "arm64"),
    "6db69de6-29f4-4758-a7a5-962190f00ce3": ("root-verity-sig", "arm64"),
    "b0e01050-ee5f-4390-949a-9101b17104e9": ("usr", "arm64"),
    "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e": ("usr-verity", "arm64"),
    "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a": ("usr-verity-sig", "arm64"),
    "44479540-f297-41b2-9af7-d131d5f0458a": ("root", "x86"),
    "d13c5d3b-b5d1-422a-b29f-9454fdc89d76": ("root-verity", "x86"),
    "5996fc05-109c-48de-808b-23fa0830b676": ("root-verity-sig", "x86"),
    "75250d76-8cc6-458e-bd66-bd47cc81a812": ("usr", "x86"),
    "8f461b0d-14ee-4e81-9aa9-049b6fb97abd": ("usr-verity", "x86"),
    "974a71c0-de41-43c3-be5d-5c5ccd1ad2c0": ("usr-verity-sig", "x86"),
    "69dad710-2ce4-4e3c-b16c-21a1d49abed3": ("root", "arm"),
    "7386cdf2-203c-47a9-a498-f2ecce45a2d6": ("root-verity", "arm"),
    "42b0455f-eb11-491d-98d3-56145ba9d037": ("root-verity-sig", "arm"),
    "7d0359a3-02b3-4f0a-865c-654403e70625": ("usr", "arm"),
    "c215d751-7bcd-4649-be90-6627490a4c05": ("usr-verity", "arm"),
    "d7ff812f-37d1-4902-a810-d76ba57b975a": ("usr-verity-sig", "arm"),
    "72ec70a6-cf74-40e6-bd49-4bda08e8f224": ("root", "riscv64"),
    "b6ed5582-440b-4209-b8da-5ff7c419ea3d": ("root-verity", "riscv64"),
    "efe0f087-ea8d-4469-821a-4c2a96a8386a": ("root-verity-sig", "riscv64"),
    "beaec34b-8442-439b-a40b-984381ed097d": ("usr", "riscv64"),
    "8f1056be-9b05-47c4-81d6-be53128e5b54": ("usr-verity", "riscv64"),
    "d2f9000a-7a18-453f-b5cd-4d32f77a7b32": ("usr-verity-sig", "riscv64"),
    "60d5a7fe-8e7d-435c-b714-3dd8162144e1": ("root", "riscv32"),
    "ae0253be-1167-4007-ac68-43926c14c5de": ("root-verity", "riscv32"),
    "3a112a75-8729-4380-b4cf-764d79934448": ("root-verity-sig", "riscv32"),
    "b933fb22-5c3f-4f91-af90-e2bb0fa50702": ("usr", "riscv32"),
    "cb1ee4e3-8cd0-4136-a0a4-aa61a32e8730": ("usr-verity", "riscv32"),
    "c3836a13-3137-45ba-b583-b16c50fe5eb4": ("usr-verity-sig", "riscv32"),
    "5eead9a9-fe09-4a1e-a1d7-520d00531306": ("root", "s390x"),
    "b325bfbe-c7be-4ab8-8357-139e652d2f6b": ("root-verity", "s390x"),
    "c80187a5-73a3-491a-901a-017c3fa953e9": ("root-verity-sig", "s390x"),
    "8a4f5770-50aa-4ed3-874a-99b710db6fea": ("usr", "s390x"),
    "31741cc4-1a2a-4111-a581-e00b447d2d06": ("usr-verity", "s390x"),
    "3f324816-667b-46ae-86ee-9b0c0c6c11b4": ("usr-verity-sig", "s390x"),
    "c31c45e6-3f39-412e-80fb-4809c4980599": ("root", "ppc64-le"),
    "906bd944-4589-4aae-a4e4-dd983917446a": ("root-verity", "ppc64-le"),
    "d4a236e7-e873-4c07-bf1d-bf6cf7f1c3c6": ("root-verity-sig", "ppc64-le"),
    "15bb03af-77e7-4d4a-b12b-c0d084f7491c": ("usr", "ppc64-le"),
    "ee2b9983-21e8-4153-86d9-b6901a54d1ce": ("usr-verity", "ppc64-le"),
    "c8bfbd1e-268e-4521-8bba-bf314c399557": ("usr-verity-sig", "ppc64-le"),
    "912ade1d-a839-4913-8964-a10eee08fbd2": ("root", "ppc64"),
    "9225a9a3-3c19-4d89-b4f6-eeff88f17631": ("root-verity", "ppc64"),
    "f5e2c20c-45b2-4ffa-bce9-2a60737e1aaf": ("root-verity-sig", "ppc64"),
    "2c9739e2-f068-46b3-9fd0-01c5a9afbcca": ("usr", "ppc64"),
    "bdb528a5-a259-475f-a87d-da53fa736a07": ("usr-verity", "ppc64"),
    "0b888863-d7f8-4d9e-9766-239fce4d58af": ("usr-verity-sig", "ppc64"),
    "77055800-792c-4f94-b39a-98c91b762bb6": ("root", "loongarch64"),
    "f3393b22-e9af-4613-a948-9d3bfbd0c535": ("root-verity", "loongarch64"),
    "5afb67eb-ecc8-4f85-ae8e-ac1e7c50e7d0": ("root-verity-sig", "loongarch64"),
    "e611c702-575c-4cbe-9a46-434fa0bf7e3f": ("usr", "loongarch64"),
    "f46b2c26-59ae-48f0-9106-c50ed47f673d": ("usr-verity", "loongarch64"),
    "b024f315-d330-444c-8461-44bbde524e99": ("usr-verity-sig", "loongarch64"),
    "700bda43-7a34-4507-b179-eeb93d7a7ca3": ("root", "mips64-le"),
    "16b417f8-3e06-4f57-8dd2-9b5232f41aa6": ("root-verity", "mips64-le"),
    "904e58ef-5c65-4a31-9c57-6af5fc7c5de7": ("root-verity-sig", "mips64-le"),
    "c97c1f32-ba06-40b4-9f22-236061b08aa8": ("usr", "mips64-le"),
    "3c3d61fe-b5f3-414d-bb71-8739a694a4ef": ("usr-verity", "mips64-le"),
    "f2c2c7ee-adcc-4351-b5c6-ee9816b66e16": ("usr-verity-sig", "mips64-le"),
}
_ANYWHERE: Final = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "esp",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "xbootldr",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "swap",
    "933ac7e1-2eb4-4f13-b844-0e14e2aef915": "home",
    "3b8f8425-20e0-4f3b-907f-1a25a76f98e8": "srv",
    "4d21b016-b534-45c2-a9fb-5c16e091fd2d": "var",
    "7ec6f557-3bc5-4aca-b293-16ef5df639d1": "tmp",
}


def role(partition_type: str, architecture: str) -> str | None:
    """What a partition of this type is on a machine of this architecture; None: nothing."""
    found, wanted = _ROLE_OF.get(partition_type, (None, None))
    return found if wanted == architecture else _ANYWHERE.get(partition_type)


def architecture_of_type(partition_type: str) -> str | None:
    """The architecture for which this type of partition is a root or usr partition; None: it is not, for any."""
    found, wanted = _ROLE_OF.get(partition_type, (None, None))
    return wanted if found in {"root", "usr"} else None
