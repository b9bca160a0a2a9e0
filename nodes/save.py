"""Save MP4."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui
from torch import Tensor

from ..unitalking import timeline
from .constants import CATEGORY, DEFAULT_FPS
from .messages import say
from .mp4 import write_mp4


class SaveMP4(io.ComfyNode):
    """Pictures and sound -> one MP4 per clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingSaveMP4",
            display_name="Save MP4",
            category=CATEGORY,
            description="Writes an MP4 that plays everywhere (H.264, sound in step, the workflow inside).",
            search_aliases=["save video", "video combine", "export"],
            inputs=[
                io.Image.Input("images", optional=True, tooltip="Pictures of one clip, from Decode AV or an upscaler."),
                io.Audio.Input(
                    "audio", optional=True, tooltip="The clip's sound. Cut or padded to the pictures' length."
                ),
                io.Video.Input("video", optional=True, tooltip="A finished clip, instead of images and audio."),
                io.Float.Input(
                    "fps",
                    default=DEFAULT_FPS,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Pictures per second for images; wire fps of Decode AV. A VIDEO brings its own.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/UniTalking",
                    tooltip="Folder and name inside the output folder; a number is added.",
                ),
                io.Int.Input(
                    "crf",
                    default=18,
                    min=0,
                    max=51,
                    tooltip="Picture quality: 0 is best and largest, 18 looks lossless, 23 is small.",
                ),
                io.Boolean.Input(
                    "lossless",
                    default=False,
                    tooltip="Keep every picture value exactly. Very large; browsers and phones may not play it.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "audio_codec",
                    options=["aac", "flac", "alac"],
                    default="aac",
                    tooltip="aac plays everywhere. flac and alac are lossless; alac suits Apple, flac browsers.",
                    advanced=True,
                ),
                io.Int.Input(
                    "audio_bitrate",
                    default=192,
                    min=32,
                    max=512,
                    step=16,
                    tooltip="Kilobits per second of aac; 192 is transparent for speech.",
                    advanced=True,
                ),
                io.Float.Input(
                    "loudness",
                    default=0.0,
                    min=-40.0,
                    max=0.0,
                    step=0.5,
                    tooltip="Target loudness in LUFS: -16 for podcasts, -14 for streaming. 0: leave it as it is.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The file that was written, for all that takes a VIDEO.")
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        fps: float,
        filename_prefix: str,
        crf: int,
        lossless: bool,
        audio_codec: str,
        audio_bitrate: int,
        loudness: float,
        images: Tensor | None = None,
        audio: dict[str, Any] | None = None,
        video: Any = None,
    ) -> io.NodeOutput:
        """Writes the file under a temporary name first."""
        images, audio, rate = _clip(images, audio, video, fps)
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), images.shape[2], images.shape[1]
        )
        path = Path(folder) / f"{name}_{counter:05}_.mp4"
        written = write_mp4(
            path,
            images,
            audio,
            fps=rate,
            crf=crf,
            lossless=lossless,
            audio_codec=audio_codec,
            audio_bitrate_kbps=audio_bitrate,
            loudness_lufs=loudness or None,
            metadata=_metadata(cls.hidden),
            on_progress=_progress(images.shape[0]),
        )
        say(cls, "\n".join([path.name, *written.notes]))
        preview = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), ui=preview)


def _clip(
    images: Tensor | None, audio: dict[str, Any] | None, video: Any, fps: float
) -> tuple[Tensor, dict[str, Any] | None, Fraction]:
    """What to write, from IMAGE + AUDIO or from a VIDEO.

    Raises:
        ValueError: neither or both are wired.
    """
    if (images is None) == (video is None):
        got = "neither images nor a video" if images is None else "images and a video"
        raise ValueError(f"Save MP4: {got} is wired: wire images (with audio), or a video.")
    if video is None:
        return images, audio, timeline.rational(fps)
    components = video.get_components()
    return components.images, components.audio if audio is None else audio, Fraction(components.frame_rate)


def _metadata(hidden: Any) -> dict[str, str]:
    """The workflow and the prompt as JSON, unless the host was told not to keep them."""
    if args.disable_metadata:
        return {}
    entries = dict(hidden.extra_pnginfo or {})
    if hidden.prompt is not None:
        entries["prompt"] = hidden.prompt
    return {key: json.dumps(value) for key, value in entries.items()}


def _progress(total: int) -> Any:
    bar = comfy.utils.ProgressBar(total)

    def on_progress(done: int, _: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return on_progress
