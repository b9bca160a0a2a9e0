"""Recipes: a YAML file says everything about a run. Unknown keys are errors."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from ..mapping import from_mapping
from .settings import TrainingError

# What can be trained, and the module that has its `Recipe` and its `run(recipe)`.
KINDS = {
    "flow": "flow_run",
    "text_encoder": "text_encoder",
    "audio_vae": "audio_vae",
    "video_vae": "video_vae",
    "vocoder": "vocoder",
    "hearing": "hearing_run",
}
RECIPES = Path(__file__).resolve().parent / "recipes"


def load_recipe(path: str, changes: Sequence[str] = ()) -> tuple[ModuleType, Any]:
    """A recipe, and the module that runs it.

    Args:
        path: a YAML file, or the name of one that comes with the pack, without its ending.
        changes: `key=value` or `key.key=value`, what this run has different; values are YAML.

    Raises:
        TrainingError: a file that cannot be read, or a recipe that says something unknown or impossible.
    """
    file = Path(path)
    if not file.suffix and not file.exists():
        file = RECIPES / f"{path}.yaml"
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(given, dict):
            raise ValueError(f"expected keys and values, got {type(given).__name__}")
        for change in changes:
            _apply(given, change)
        kind = given.pop("kind", None)
        if kind not in KINDS:
            raise ValueError(f"kind: got {kind!r}, expected one of {', '.join(KINDS)}.")
        module = importlib.import_module(f".{KINDS[kind]}", __package__)
        return module, from_mapping(module.Recipe, given, file.name)
    except FileNotFoundError as error:
        known = ", ".join(sorted(found.stem for found in RECIPES.glob("*.yaml")))
        raise TrainingError(f"{path}: no such recipe. The pack has {known}; or give a YAML file.") from error
    except ImportError as error:
        raise TrainingError(f"{file}: {error}. Training needs: pip install -r requirements-train.txt") from error
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise TrainingError(f"{file}: {error}") from error


def _apply(recipe: dict[str, Any], change: str) -> None:
    name, equals, value = change.partition("=")
    if not equals:
        raise ValueError(f"{change}: expected key=value.")
    *path, last = name.split(".")
    for part in path:
        recipe = recipe.setdefault(part, {})
        if not isinstance(recipe, dict):
            raise ValueError(f"{change}: {part} has no keys of its own.")
    recipe[last] = yaml.safe_load(value)
