"""A package of somebody else's that brings a task type: installed by tests, never imported from here."""

from __future__ import annotations

import shutil
import site
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def install(site_packages: Path) -> None:
    """Put the package where pip would, with its entry points."""
    info = site_packages / "probe-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(HERE / "probe.py", site_packages / "probe_type.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[barbossa.tasks]\nprobe = probe_type\n")


def make_venv(folder: Path) -> Path:
    """Make an environment that has Barbossa, what Barbossa needs and the package; return its interpreter."""
    venv.create(folder, symlinks=True, with_pip=False)
    version = sysconfig.get_python_version()
    site_packages = folder / "lib" / f"python{version}" / "site-packages"
    lines = "".join(f"{path}\n" for path in (ROOT, *site.getsitepackages()))
    (site_packages / "barbossa.pth").write_text(lines)
    install(site_packages)
    return folder / "bin" / "python"
