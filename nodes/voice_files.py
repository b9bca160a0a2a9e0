"""Save Voice and Load Voice: a VOICE as a file, the same in every graph."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .conditioning import VoiceSocket
from .constants import CATEGORY
from .files import VOICE_FOLDER, find_part
from .messages import as_html, say
from .voice import Voice, single_voice

METADATA_KEY = "unitalking_voice"
LATENTS, FRAMES = "latents", "frames"
_UNUSABLE = re.compile(r'[<>:"|?*\x00-\x1f]')


class SaveVoice(io.ComfyNode):
    """VOICE -> models/voices."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingSaveVoice",
            display_name="Save Voice",
            category=CATEGORY,
            description="Keeps a voice as a file in models/voices, to be used again without its clip.",
            search_aliases=["keep voice", "speaker file"],
            is_output_node=True,
            inputs=[
                VoiceSocket.Input("voice", tooltip="From Encode Voice Reference."),
                io.String.Input("name", default="my voice", tooltip="Name of the file; folders by /."),
                io.String.Input(
                    "about",
                    multiline=True,
                    default="",
                    tooltip="Whose voice it is, and that its owner agrees. Kept in the file and shown by Load Voice.",
                ),
                io.Boolean.Input("overwrite", default=False, tooltip="Replace a file of that name."),
            ],
            outputs=[
                VoiceSocket.Output(display_name="voice", tooltip="The same voice, for Text Prompt or Voice Turn.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, voice: Voice, name: str, about: str, overwrite: bool) -> io.NodeOutput:
        """Writes the file, and passes the voice on."""
        single_voice(voice, "Save Voice")
        path = _place(name)
        if path.exists() and not overwrite:
            raise FileExistsError(f"Save Voice: {path} is there already: choose another name, or switch overwrite on.")
        write_voice(path, voice, about.strip())
        said = f"Saved as {path}."
        say(cls, said)
        return io.NodeOutput(voice, ui=ui.PreviewText(as_html(said)))


class LoadVoice(io.ComfyNode):
    """A file of models/voices -> VOICE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingLoadVoice",
            display_name="Load Voice",
            category=CATEGORY,
            description="A voice kept by Save Voice; needs neither its clip nor a codec.",
            search_aliases=["speaker file", "voice cloning"],
            inputs=[
                io.Combo.Input(
                    "voice_file",
                    options=folder_paths.get_filename_list(VOICE_FOLDER),
                    tooltip="File from models/voices. Voices fit all models with the same sound codec.",
                )
            ],
            outputs=[
                VoiceSocket.Output(
                    display_name="voice", tooltip="The voice of the file, for Text Prompt and Decode AV, or Voice Turn."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Whose voice it is and what was used of its clip, as the node shows it.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,
        )

    @classmethod
    def fingerprint_inputs(cls, voice_file: str) -> tuple[int, int]:
        """A file that was replaced is read again."""
        found = Path(find_part(VOICE_FOLDER, voice_file)).stat()
        return found.st_mtime_ns, found.st_size

    @classmethod
    def execute(cls, voice_file: str) -> io.NodeOutput:
        """Reads the file."""
        voice, about = read_voice(Path(find_part(VOICE_FOLDER, voice_file)))
        said = voice_text(voice, about)
        say(cls, said)
        return io.NodeOutput(voice, said, ui=ui.PreviewText(as_html(said)))


def write_voice(path: Path, voice: Voice, about: str) -> None:
    """A voice as safetensors, under a temporary name first.

    Raises:
        OSError: the disk is full, or the folder may not be written.
    """
    tensors = {name: getattr(voice, name) for name in (LATENTS, FRAMES) if getattr(voice, name) is not None}
    described = {key: value for key, value in asdict(voice).items() if key not in (LATENTS, FRAMES)} | {"about": about}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        tensors[LATENTS] = tensors[LATENTS].float()
        save_file(tensors, temporary, {METADATA_KEY: json.dumps(described), "format": "pt"})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def voice_text(voice: Voice, about: str) -> str:
    """What its owner wrote about a voice, if anything, and the report on its clip."""
    return f"{about}\n{voice.report}" if about else voice.report


def read_voice(path: Path) -> tuple[Voice, str]:
    """A voice, and what its owner wrote about it.

    Raises:
        ValueError: a file that is no voice, or a damaged one, by name.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in (LATENTS, FRAMES) if name in file.keys()}
        about = described.pop("about")
        voice = Voice(**tensors, **described)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged or no safetensors file: save the voice again. ({error})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path.name} is not a voice: choose a file that Save Voice has written, or encode a clip with Encode "
            "Voice Reference."
        ) from error
    latents, frames = voice.latents, voice.frames
    if latents.ndim != 3 or latents.shape[0] != 1 or 0 in latents.shape or not bool(latents.isfinite().all()):
        raise ValueError(f"{path.name} is a damaged voice (latents {tuple(latents.shape)}): save it again.")
    if frames is not None and not (frames.ndim == 2 and bool(frames.isfinite().all())):
        raise ValueError(f"{path.name} is a damaged voice (frames {tuple(frames.shape)}): save it again.")
    return voice, about


def _place(name: str) -> Path:
    """Where a voice of this name is kept.

    Raises:
        ValueError: a name that is empty, or leads out of the folder.
    """
    folder = Path(folder_paths.get_folder_paths(VOICE_FOLDER)[0]).resolve()
    given = name.strip().replace("\\", "/").removesuffix(".safetensors")
    is_name = bool(given) and not given.endswith("/") and not _UNUSABLE.search(given)
    path = (folder / f"{given}.safetensors").resolve() if is_name else folder
    if not is_name or not path.is_relative_to(folder):
        raise ValueError(f"Save Voice: {name!r} is no name for a file below {folder}: use letters, digits and spaces.")
    return path
