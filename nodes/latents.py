"""Empty AV Latent and Portrait Image."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import torch
from comfy.nested_tensor import NestedTensor
from comfy_api.latest import io, ui
from torch import Tensor

from ..unitalking import timeline
from ..unitalking.config import UniTalkingConfig
from ..unitalking.portrait import fit_portrait
from ..unitalking.samples import NO_SAMPLE, portrait_choices
from ..unitalking.tasks import TASKS, Spans
from .assets import load_portrait
from .constants import CATEGORY, LATENT_KEY
from .messages import config_of, say
from .vae import VideoVAE

STREAMS = ("both", "sound", "picture")


class EmptyLatent(io.ComfyNode):
    """Room for a clip: zeros of the right shapes for picture and sound."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingEmptyLatent",
            display_name="Empty AV Latent",
            category=CATEGORY,
            description="An empty clip. The sound's length always follows from the number of frames.",
            search_aliases=["empty latent", "video length", "talking"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model that will fill the clip; gives sizes and rates."),
                io.Int.Input("width", default=0, min=0, max=8192, step=16, tooltip=_side_tooltip("Width")),
                io.Int.Input("height", default=0, min=0, max=8192, step=16, tooltip=_side_tooltip("Height")),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="Pictures in the clip, 0 for the model's own (121 = 5 s at 24 fps for the full model). "
                    "Rounded to 4n+1. Wire planned_frames of Text Prompt here to fit the speech.",
                ),
                io.Int.Input("batch_size", default=1, min=1, max=64, tooltip="Clips to generate at once."),
                io.Combo.Input(
                    "streams",
                    options=list(STREAMS),
                    default="both",
                    tooltip="both: a talking clip. sound: speech alone, fastest. picture: a silent clip.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The empty clip; wire it into Portrait Image, or straight into Joint Flow Sampler.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, width: int, height: int, frames: int, batch_size: int, streams: str) -> io.NodeOutput:
        """Snaps the sizes and says so."""
        config = config_of(model, "Empty AV Latent")
        size, notes = snap_size(config, width, height, frames)
        if not config.audio_channels and streams != "picture":
            streams, notes = _picture_alone(streams), (*notes, "this model has no sound stream: the clip is silent")
        if notes:
            say(cls, "\n".join(notes))
        return io.NodeOutput(empty_latent(config, *size, batch_size=batch_size, streams=streams))


def _picture_alone(streams: str) -> str:
    """What a model without a sound stream makes instead.

    Raises:
        ValueError: sound alone was asked for.
    """
    if streams == "sound":
        raise ValueError(
            "Empty AV Latent: this model has no sound stream: set streams to picture, or load another model."
        )
    return "picture"


def _side_tooltip(name: str) -> str:
    return (
        f"{name} in pixels, 0 for the model's own (704 for the full model). Rounded to a multiple of the model's "
        "token size (32)."
    )


def snap_size(
    config: UniTalkingConfig, width: int, height: int, frames: int
) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """The nearest size that the model can make, 0 standing for its own, and what was changed."""
    trained = config.trained
    wanted = (width or trained.width, height or trained.height, frames or trained.frames)
    multiple = config.side_multiple
    snapped = (
        timeline.snap_side(wanted[0], multiple),
        timeline.snap_side(wanted[1], multiple),
        snap_frames(config, wanted[2]),
    )
    notes = []
    if snapped[:2] != wanted[:2]:
        notes.append(
            f"size {wanted[0]}x{wanted[1]} rounded to {snapped[0]}x{snapped[1]}: sides are multiples of {multiple}"
        )
    if snapped[2] != wanted[2]:
        made = " or ".join(str(frames) for frames, _ in config.lengths)
        rule = f"this model makes clips of {made}" if made else f"a clip has {config.time_stride}n+1 frames"
        notes.append(f"{wanted[2]} frames rounded to {snapped[2]}: {rule}")
    if snapped[0] * snapped[1] > trained.max_area:
        notes.append(f"{snapped[0]}x{snapped[1]} is beyond the {trained.max_area} pixels this model was trained on")
    if snapped[2] > trained.max_frames:
        notes.append(f"{snapped[2]} frames is beyond the {trained.max_frames} that this model was trained on")
    return snapped, tuple(notes)


def snap_frames(config: UniTalkingConfig, frames: int) -> int:
    """The nearest number of frames that the model can make."""
    if config.lengths:
        return min((length for length, _ in config.lengths), key=lambda length: abs(length - frames))
    return timeline.snap_frames(frames, config.time_stride)


def empty_latent(
    config: UniTalkingConfig, width: int, height: int, frames: int, *, batch_size: int = 1, streams: str = "both"
) -> dict[str, Any]:
    """LATENT of zeros: nested video (B, C_v, F, H, W) and audio (B, C_a, L); an absent stream has length 0.

    For a model without a sound stream it is the video latent alone.
    """
    device = comfy.model_management.intermediate_device()
    _, down_height, down_width = config.video_stride
    video_frames = 0 if streams == "sound" else timeline.video_latents(frames, config.time_stride)
    length = 0
    if streams != "picture":
        length = config.audio_latents(frames)
    video = torch.zeros(
        batch_size, config.in_dim, video_frames, height // down_height, width // down_width, device=device
    )
    audio = torch.zeros(batch_size, config.audio_channels, length, device=device)
    if not config.audio_channels:
        return {"samples": video, LATENT_KEY: {"fps": config.fps, "frames": frames}}
    return {"samples": NestedTensor((video, audio)), LATENT_KEY: {"fps": config.fps, "frames": frames}}


class Portrait(io.ComfyNode):
    """Holds a picture as the clip's first frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingPortrait",
            display_name="Portrait Image",
            category=CATEGORY,
            description="The clip starts from this picture: it gives the face, the framing and the light. A note says "
            "where the model was trained on pictures of another kind.",
            search_aliases=["first frame", "image to video", "identity"],
            inputs=[
                io.Latent.Input("latent", tooltip="The empty clip, from Empty AV Latent."),
                io.Vae.Input("vae", tooltip="The picture codec, from Load UniTalking Model."),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The portrait. Without one the sample portrait below is used. Of several the first counts.",
                ),
                io.Combo.Input(
                    "sample_portrait",
                    options=portrait_choices(),
                    tooltip="Built-in drawn portrait, used when no image is wired.",
                ),
                io.Combo.Input(
                    "fit",
                    options=["crop", "pad", "stretch"],
                    default="crop",
                    tooltip="How the picture fits the clip's shape: crop cuts the edges, pad adds borders, stretch "
                    "distorts.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The clip with its first picture given; wire it into Joint Flow Sampler.",
                ),
                io.Image.Output(
                    display_name="fitted", tooltip="The portrait in the clip's size, as the model sees it."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,  # the picture comes back when the host takes it from its cache
        )

    @classmethod
    def execute(
        cls, latent: dict[str, Any], vae: Any, sample_portrait: str, fit: str, image: Tensor | None = None
    ) -> io.NodeOutput:
        """Encodes the fitted picture and holds it."""
        if image is None and sample_portrait == NO_SAMPLE:
            raise ValueError("Portrait Image: no picture. Wire an IMAGE, or choose a sample portrait.")
        video = video_of(latent, "Portrait Image")
        channels = getattr(vae, "latent_channels", None)
        if channels != video.shape[1]:
            raise ValueError(
                f"Portrait Image: the VAE makes latents of {channels} channels, the clip has {video.shape[1]}: wire "
                "vae of the same Load UniTalking Model that Empty AV Latent has its MODEL from."
            )
        height, width = (side * vae.spacial_compression_encode() for side in video.shape[-2:])
        picture, notes = fit_portrait(load_portrait(sample_portrait) if image is None else image, width, height, fit)
        notes += foreign_picture(vae, picture)
        if notes:
            say(cls, "\n".join(notes))
        held = hold_first_frame(latent, vae.encode(picture))
        return io.NodeOutput(held, picture, ui=ui.PreviewImage(picture, cls=cls))


def foreign_picture(vae: Any, picture: Tensor) -> tuple[str, ...]:
    """A sentence where a fitted picture (1, H, W, 3) is far from what the codec's model knows, and which model fits.

    The codecs of full-size models say nothing of what was learned, and neither does this.
    """
    if not isinstance(vae, VideoVAE) or vae.domain is None:
        return ()
    height, width = (cells * vae.spacial_compression_encode() for cells in vae.domain.cells)
    seen, _ = fit_portrait(picture, width, height, "crop")
    distance = float(vae.domain.distance(vae.encode(seen)[:, :, 0]))
    if distance <= vae.domain.limit:
        return ()
    return (
        f"This picture is far from those that the model knows (distance {distance:.1f}, known up to "
        f"{vae.domain.limit:.1f}): it is {vae.config.trained.description}, so the face will look wrong. "
        "The sample portraits fit it; for photographs load a full-size UniTalking model.",
    )


def held(
    latent: dict[str, Any], streams: tuple[Tensor, Tensor], task: str, config: UniTalkingConfig, spans: Spans = ()
) -> dict[str, Any]:
    """The LATENT with these streams, of which what `task` is given is held.

    Args:
        latent: nested.
        streams: video (B, C, F, H, W) and audio (B, C, L), given parts filled in.
        task: of `TASKS`.
        config: the model's rates.
        spans: video latent frames that "infill" is given.
    """
    video, audio = streams
    masks = (
        TASKS[task].video_mask(video.shape[2], spans).to(video).repeat(1, 1, 1, *video.shape[3:]),
        TASKS[task].audio_mask(audio.shape[2], config, spans).to(audio),
    )
    return {**latent, "samples": NestedTensor(streams), "noise_mask": NestedTensor(masks)}


def video_of(latent: dict[str, Any], node: str) -> Tensor:
    """The picture stream of a LATENT, (B, C, F, H, W) with at least one frame.

    Raises:
        ValueError: no picture stream, or a latent of an image model.
    """
    samples = latent["samples"]
    video = samples.unbind()[0] if getattr(samples, "is_nested", False) else samples
    if video.ndim != 5 or not video.shape[2]:
        raise ValueError(
            f"{node}: the LATENT has no picture stream (shape {tuple(video.shape)}): wire one from Empty AV Latent "
            "with streams set to both or picture."
        )
    return video


def hold_first_frame(latent: dict[str, Any], encoded: Tensor) -> dict[str, Any]:
    """The LATENT with its first latent frame set to `encoded` (1, C, 1, H, W) and held.

    A latent without sound becomes a plain video latent: the host cannot mask a nested one whose sound has length 0.

    Raises:
        ValueError: the codec is not the one of this latent.
    """
    samples = latent["samples"]
    nested = getattr(samples, "is_nested", False)
    streams = list(samples.unbind()) if nested else [samples]
    video = streams[0]
    if encoded.shape[1:] != (video.shape[1], 1, *video.shape[3:]):
        raise ValueError(
            f"Portrait Image: the VAE gives latents of shape {tuple(encoded.shape)}, the clip has "
            f"{tuple(video.shape)}: use the VAE of the same Load UniTalking Model."
        )
    video = video.clone()
    video[:, :, :1] = encoded.to(video)
    mask = TASKS["ti2av"].video_mask(video.shape[2]).to(video).repeat(1, 1, 1, *video.shape[3:])
    held = latent.copy()
    if nested and len(streams) > 1 and streams[1].shape[2]:
        audio = streams[1]
        held["samples"] = NestedTensor((video, audio))
        held["noise_mask"] = NestedTensor((mask, _audio_mask(latent, audio)))
    else:
        held["samples"], held["noise_mask"] = video, mask
    return held


def _audio_mask(latent: dict[str, Any], audio: Tensor) -> Tensor:
    """What the latent already holds of its sound, else nothing."""
    mask = latent.get("noise_mask")
    if getattr(mask, "is_nested", False):
        return mask.unbind()[1]
    return audio.new_ones(1, 1, audio.shape[2])
