"""Packages imported by their place, so that the repository's root stays off `sys.path`.

The root holds a folder `nodes/`, and ComfyUI has a module `nodes.py`: whoever may meet both keeps the root off.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def import_package(name: str, folder: Path) -> ModuleType:
    """The package in `folder` under `name`, imported once; its submodules are then importable as `name.<module>`."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
