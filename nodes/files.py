"""Where files lie: the host's model folders, and what ships inside the pack."""

from __future__ import annotations

import re
from pathlib import Path

import folder_paths

from .gguf import GGUF_FOLDER, gguf_choices

PACK = Path(__file__).resolve().parent.parent
MODEL_FOLDER = "unitalking"
MODEL_FOLDERS = (MODEL_FOLDER, "diffusion_models", "checkpoints")
VOICE_FOLDER = "voices"
FROM_MODEL = "from model file"
_NUMBERED = re.compile(r"(?P<start>.*-)(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.safetensors)")


def register_folders() -> None:
    """Registers the pack's `models/` and `models/unitalking` of the host under a key of our own, and `models/voices`
    with the pack's own voices behind it.

    The key is ours so that stock loaders, which cannot read these files, do not list them.
    """
    models = Path(folder_paths.models_dir)
    _register(MODEL_FOLDER, [PACK / "models", models / MODEL_FOLDER])
    _register(VOICE_FOLDER, [models / VOICE_FOLDER, PACK / "assets" / "voice_files"])


def _register(key: str, folders: list[Path]) -> None:
    known, extensions = folder_paths.folder_names_and_paths.get(key, ([], set()))
    paths = [path for path in map(str, folders) if path not in known] + list(known)
    folder_paths.folder_names_and_paths[key] = (paths, set(extensions) | {".safetensors"})


def model_choices() -> list[str]:
    """Model files, the pack's own first, each name once."""
    own = sorted(path.name for path in (PACK / "models").glob("*.safetensors"))
    listed = [name for folder in MODEL_FOLDERS for name in folder_paths.get_filename_list(folder)]
    return list(dict.fromkeys([*own, *listed, *gguf_choices()]))


def part_choices(folder: str) -> list[str]:
    """Where a part of the model can come from: the model file, a file of its own, another bundle."""
    files = [*folder_paths.get_filename_list(folder), *folder_paths.get_filename_list(MODEL_FOLDER)]
    return [FROM_MODEL, *dict.fromkeys(files)]


def find_model(name: str) -> str:
    """Full path of a model file.

    Raises:
        FileNotFoundError: says where it was looked for.
    """
    for folder in (*MODEL_FOLDERS, *([GGUF_FOLDER] if name in gguf_choices() else [])):
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


def shards_of(path: str) -> list[str]:
    """All files of a model in several numbered ones (`x-00001-of-00003.safetensors`), any of which stands for it.

    Raises:
        FileNotFoundError: some are missing, with their names.
    """
    found = _NUMBERED.fullmatch(Path(path).name)
    if found is None:
        return [path]
    count = int(found["count"])
    names = [f"{found['start']}{number:05d}-of-{count:05d}{found['end']}" for number in range(1, count + 1)]
    absent = [name for name in names if not Path(path).with_name(name).is_file()]
    if absent:
        raise FileNotFoundError(
            f"{Path(path).name} is one of {count} files of a model, of which {', '.join(absent)} are not beside it: "
            "put all of them into one folder."
        )
    return [str(Path(path).with_name(name)) for name in names]


def _missing(name: str, folders: tuple[str, ...]) -> str:
    looked = ", ".join(path for folder in folders for path in folder_paths.get_folder_paths(folder))
    return f"{name} was not found. Looked in: {looked}. Put the file there, or choose another, and refresh the list."
