"""Make, once and for all sessions, the root file system from which the container of the systemd ring boots.

A minimal Debian with what `docs/systemd.md` asks for (python3, python3-venv, make, a C compiler), and beside it a
folder of wheels of Barbossa's dependencies, built in that Debian by its own Python, so that `make install` needs no
network later. Both stay in a cache outside the checkout (`BARBOSSA_TEST_ROOT`, default `/var/cache/barbossa-tests`) and
are made anew when what they were made from changes.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import nspawn

REPOSITORY = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "make", "gcc", "libc6-dev", "ca-certificates")
_CERTIFICATE_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PIP_FILES = ("/etc/pip.conf", "/etc/resolv.conf", "/etc/ssl/certs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A root file system that nobody writes to, and the wheels that belong to it."""

    root: Path
    wheels: Path


class ImageError(RuntimeError):
    """The image could not be made; the message ends with what the failing command said."""


def prepare() -> Image:
    """Return the image, making what is missing (a minute or two the first time; sessions take turns)."""
    cache = Path(os.environ.get("BARBOSSA_TEST_ROOT", "/var/cache/barbossa-tests"))
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    with _locked(cache / "lock"):
        root = cache / f"{SUITE}-{_key(SUITE, *PACKAGES)}"
        if not root.exists():
            _debootstrap(root)
        requirements = _requirements()
        wheels = cache / f"wheels-{_key(root.name, *requirements)}"
        if not wheels.exists():
            _build_wheels(root, wheels, requirements)
    return Image(root=root, wheels=wheels)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _requirements() -> list[str]:
    """Return what is asked of the index: what an installation needs, and what runs tests in the container."""
    metadata = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    tools = [name for name in metadata["project"]["optional-dependencies"]["dev"] if name.startswith("pytest")]
    return sorted([*metadata["build-system"]["requires"], "wheel", *metadata["project"]["dependencies"], *tools])


def _debootstrap(root: Path) -> None:
    """Unpack the minimal system under another name and rename it when it is complete."""
    partial = _partial(root)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(partial)]
    mirror = os.environ.get("BARBOSSA_TEST_MIRROR")
    done = subprocess.run(
        [*command, mirror] if mirror else command,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ImageError(f"debootstrap ended with {done.returncode}:\n{done.stdout[-4000:]}")
    # A machine id of its own for every boot, and no first-boot questions.
    (partial / "etc/machine-id").write_text("uninitialized\n")
    shutil.rmtree(partial / "var/cache/apt/archives", ignore_errors=True)
    partial.rename(root)


def _build_wheels(root: Path, wheels: Path, requirements: list[str]) -> None:
    """Have the image's own Python fetch and build the wheels, with the host's network and pip settings."""
    partial = _partial(wheels)
    partial.mkdir()
    options = ["--pipe", f"--bind={partial}:/wheels", "--resolv-conf=off"]
    options += [f"--setenv={name}={value}" for name, value in os.environ.items() if _concerns_downloads(name)]
    options += [f"--bind-ro={path}" for path in _download_settings()]
    build = 'python3 -m venv /venv && exec /venv/bin/python -m pip wheel --quiet --use-pep517 --wheel-dir /wheels "$@"'
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        with nspawn.launched(root, [*options, "/bin/sh", "-c", build, "sh", *requirements], output) as process:
            status = process.wait()
        output.seek(0)
        if status:
            raise ImageError(f"Building the wheels ended with {status}:\n{output.read()[-4000:]}")
    partial.rename(wheels)


def _concerns_downloads(name: str) -> bool:
    return name.startswith("PIP_") or name in _CERTIFICATE_VARIABLES or name.lower().endswith("_proxy")


def _download_settings() -> list[Path]:
    """Return the files and folders of this host which say how to reach the package index, as far as they exist."""
    named = [os.environ[name] for name in _CERTIFICATE_VARIABLES if os.environ.get(name)]
    paths = {Path(name) for name in (*_PIP_FILES, *named, os.environ.get("PIP_FIND_LINKS", "")) if name.startswith("/")}
    present = {path for path in paths if path.exists()}
    return sorted(path for path in present if not any(parent in present for parent in path.parents))


def _partial(target: Path) -> Path:
    """Return the name under which `target` is made, with nothing left there by an attempt before."""
    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    return partial


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
