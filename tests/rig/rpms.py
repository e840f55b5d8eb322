"""RPM packages made from nothing, and a repository of them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def write_rpm(  # noqa: PLR0913 - what a package has
    directory: Path,
    name: str,
    files: Mapping[str, str],
    *,
    requires: Sequence[str] = (),
    post: str = "",
    attributes: Mapping[str, str] | None = None,
) -> Path:
    """A package; files in a `bin` directory are executable, `attributes` are rpm's own of files (`%caps(...)`)."""
    tree, top = directory / f"{name}.tree", directory / f"{name}.top"
    for path, text in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if "bin/" in path else 0o644)
    listed = "".join(f"{(attributes or {}).get(it, '')} /{it}\n" for it in files)
    spec = directory / f"{name}.spec"
    spec.write_text(
        f"Name: {name}\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\nAutoReqProv: no\n"
        + "".join(f"Requires: {it}\n" for it in requires)
        + f"%description\nx\n%install\ncp -a {tree}/. %{{buildroot}}\n"
        + f"%files\n%defattr(-,root,root)\n{listed}"
        + (f"%post\n{post}\n" if post else "")
    )
    command = ["rpmbuild", "--quiet", "-bb", "--define", f"_topdir {top}", "--define", f"_rpmdir {directory}"]
    subprocess.run(
        [*command, "--define", "_rpmfilename %{NAME}.rpm", str(spec)], check=True, capture_output=True, timeout=250
    )
    return directory / f"{name}.rpm"


def write_repository(directory: Path) -> None:
    """Index the packages in a directory."""
    subprocess.run(["createrepo_c", "--quiet", str(directory)], check=True, capture_output=True, timeout=250)


def write_system(root: Path, repository: Path, installed: Sequence[Path]) -> None:
    """The tree of a system with packages, that takes further ones from a repository."""
    database = root / "usr/lib/sysimage/rpm"
    database.mkdir(parents=True)
    options = ["--root", str(root), "--dbpath", "/usr/lib/sysimage/rpm", "--justdb", "--nodeps", "--noscripts"]
    subprocess.run(["rpm", *options, "--install", *map(str, installed)], check=True, capture_output=True, timeout=250)
    (root / "usr/lib/os-release").write_text("ID=fedora\nVERSION_ID=43\n")
    (root / "etc/yum.repos.d").mkdir(parents=True)
    settings = f"[here]\nname=here\nbaseurl=file://{repository}\ngpgcheck=0\n"
    (root / "etc/yum.repos.d/here.repo").write_text(settings)
