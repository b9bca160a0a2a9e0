"""The package by its place: the repository's root must stay off sys.path, where `nodes` is ComfyUI's own module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def import_package() -> ModuleType:
    """Makes `import unitalking` work in this process."""
    folder = ROOT / "unitalking"
    spec = importlib.util.spec_from_file_location(
        "unitalking", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["unitalking"] = module
    spec.loader.exec_module(module)
    return module
