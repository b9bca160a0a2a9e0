"""The environment of the demo and the tests: a Python with ComfyUI's requirements, and a ComfyUI.

    python scripts/environment.py

builds what is missing and prints the environment's Python as its last line. What exists wins: `$UNITALKING_PYTHON`,
the running Python or the one beside ComfyUI if it can import what is needed, and the ComfyUI in `$COMFYUI_PATH` or
around this pack. The rest is kept in `$UNITALKING_CACHE`, by default ~/.cache/comfyui-unitalking, and built by
environment_build.py, which an installed pack does not have.

Standard library only, Python 3.11 or newer.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from build_cache import SetupError, cache_folder, say

SCRIPTS = Path(__file__).resolve().parent

# Imports, not package names: what a Python must have to run ComfyUI 0.30 and the demo ...
HOST_MODULES = (
    *("torch", "torchvision", "torchaudio", "torchsde", "numpy", "einops", "transformers", "sentencepiece"),
    *("safetensors", "aiohttp", "yarl", "yaml", "PIL", "scipy", "psutil", "alembic", "sqlalchemy", "av"),
    *("comfy_kitchen", "comfy_aimdo", "simpleeval", "blake3", "comfyui_frontend_package"),
)
# ... and besides that for training, tests and linters.
TOOL_MODULES = (
    *("pytest", "ruff", "accelerate", "peft", "tensorboard", "webdataset", "espeakng_loader", "silero_vad"),
    *("scenedetect", "cv2", "gguf", "ftfy"),
    "tomllib",  # Python 3.11
)


def comfyui() -> Path:
    """The folder of the ComfyUI to run: `$COMFYUI_PATH`, else the one that this pack is installed in, else the cache's.

    Raises:
        SetupError: `$COMFYUI_PATH` is no ComfyUI, or the download failed.
    """
    _require_python()
    return _existing_comfyui() or _builder().comfyui()


def python(*, with_tools: bool = True) -> Path:
    """The Python to run ComfyUI with: one that has `HOST_MODULES`, else the cache's.

    Args:
        with_tools: it must also have `TOOL_MODULES`.

    Raises:
        SetupError: `$UNITALKING_PYTHON` lacks a module, or building failed.
    """
    _require_python()
    needed = HOST_MODULES + (TOOL_MODULES if with_tools else ())
    given = os.environ.get("UNITALKING_PYTHON")
    if given:
        missing = _missing(Path(given), needed)
        if missing:
            raise SetupError(f"UNITALKING_PYTHON={given} cannot import {', '.join(missing)}: install, or unset it.")
        return Path(given).absolute()
    for candidate in _existing_pythons():
        missing = _missing(candidate, needed)
        if not missing:
            say(f"Using the existing environment of {candidate}")
            return candidate
        if "torch" not in missing:
            say(f"{candidate} is not used: it cannot import {', '.join(missing)}.")
    return _builder().python(comfyui())


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


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


def _builder() -> ModuleType:
    try:
        import environment_build
    except ModuleNotFoundError as error:
        raise SetupError(
            "No ComfyUI with its Python was found, and an installed pack fetches none: set COMFYUI_PATH to ComfyUI's "
            "folder and UNITALKING_PYTHON to the Python that runs it."
        ) from error
    return environment_build


def _existing_comfyui() -> Path | None:
    """`$COMFYUI_PATH`, or the ComfyUI in whose custom_nodes this pack lies, if any."""
    given = os.environ.get("COMFYUI_PATH")
    around = SCRIPTS.parent.parent.parent
    path = Path(given).absolute() if given else around
    if (path / "main.py").is_file() and (path / "comfyui_version.py").is_file():
        return path
    if given:
        raise SetupError(f"COMFYUI_PATH={given} is not a ComfyUI folder: it has no main.py and comfyui_version.py.")
    return None


def _existing_pythons() -> list[Path]:
    """The running Python, and those that ComfyUI's ways of installing put in or beside its folder."""
    found = [Path(sys.executable)]
    host = _existing_comfyui()
    if host:
        found += [python_of(host / "venv"), python_of(host / ".venv"), host.parent / "python_embeded" / "python.exe"]
    return [path for path in found if path.exists()]


def _missing(interpreter: Path, needed: tuple[str, ...]) -> list[str]:
    """Those of the modules that `interpreter` does not have; torchaudio is imported, as it refuses a wrong torch."""
    code = (
        "import importlib.util, sys\n"
        "missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]\n"
        "print(*missing)\n"
        "if not missing:\n"
        "    import torchaudio\n"
    )
    try:
        run = subprocess.run([interpreter, "-c", code, *needed], capture_output=True, text=True, cwd=SCRIPTS)
    except OSError as error:
        raise SetupError(f"{interpreter} cannot be run: {error}.") from error
    return run.stdout.split() if run.returncode == 0 else ["torchaudio"]


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
