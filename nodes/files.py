"""Where files lie: the host's model folders, and what ships inside the pack."""

from __future__ import annotations

from pathlib import Path

import folder_paths

PACK = Path(__file__).resolve().parent.parent
MODEL_FOLDER = "unitalking"
MODEL_FOLDERS = (MODEL_FOLDER, "diffusion_models", "checkpoints")
FROM_MODEL = "from model file"


def register_folders() -> None:
    """Registers the pack's `models/` and `models/unitalking` of the host under a key of our own.

    The key is ours so that stock loaders, which cannot read these files, do not list them.
    """
    extensions = {".safetensors"}
    own = [str(PACK / "models"), str(Path(folder_paths.models_dir) / MODEL_FOLDER)]
    known, known_extensions = folder_paths.folder_names_and_paths.get(MODEL_FOLDER, ([], set()))
    paths = [path for path in own if path not in known] + list(known)
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, set(known_extensions) | extensions)


def model_choices() -> list[str]:
    """Model files, the pack's own first, each name once."""
    own = sorted(path.name for path in (PACK / "models").glob("*.safetensors"))
    listed = [name for folder in MODEL_FOLDERS for name in folder_paths.get_filename_list(folder)]
    return list(dict.fromkeys([*own, *listed]))


def part_choices(folder: str) -> list[str]:
    """Where a part of the model can come from: the model file, a file of its own, another bundle."""
    files = [*folder_paths.get_filename_list(folder), *folder_paths.get_filename_list(MODEL_FOLDER)]
    return [FROM_MODEL, *dict.fromkeys(files)]


def find_model(name: str) -> str:
    """Full path of a model file.

    Raises:
        FileNotFoundError: says where it was looked for.
    """
    for folder in MODEL_FOLDERS:
        path = folder_paths.get_full_path(folder, name)
        if path is not None:
            return path
    raise FileNotFoundError(_missing(name, MODEL_FOLDERS))


def find_part(folder: str, name: str) -> str:
    """Full path of a file for a part of the model.

    Raises:
        FileNotFoundError: says where it was looked for.
    """
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise FileNotFoundError(_missing(name, (folder,)))
    return path


def _missing(name: str, folders: tuple[str, ...]) -> str:
    looked = ", ".join(path for folder in folders for path in folder_paths.get_folder_paths(folder))
    return f"{name} was not found. Looked in: {looked}. Put the file there, or choose another, and refresh the list."
