"""Joint Guider: classifier-free guidance with a strength of its own for picture, sound and voice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import comfy.samplers
import torch
from comfy_api.latest import io
from torch import Tensor

from ..unitalking.config import UniTalkingConfig
from ..unitalking.guidance import Guidance, needed_passes
from .constants import CATEGORY, VOICE_KEY
from .given_picture import AUTO, keep_picture_input
from .messages import config_of

POST_CFG_KEY = "sampler_post_cfg_function"
# A stock node whose function takes one scale for the whole latent. Its function's own name, since the host imports its
# nodes under names that depend on where it lies.
ONE_SCALE = "CFGZeroStar."
VIDEO_TOOLTIP = (
    "How strictly the picture follows the text. 0: the model's own value (4 for the full model); 1: no guidance, "
    "twice as fast when the sound's is 1 as well."
)
AUDIO_TOOLTIP = (
    "How strictly the sound follows the text and the voice. 0: the model's own value (3 for the full model)."
)
VOICE_TOOLTIP = (
    "How strictly the voice is imitated. 0: linked to the values above (two passes per step). Any other value costs a "
    "third pass."
)


class AVGuider(comfy.samplers.CFGGuider):
    """The host's guider with a strength per stream; where all are equal it computes what the host computes.

    Args:
        model_patcher: a UniTalking MODEL.
        guidance: strengths.
        skipped_block: the block that the negative pass leaves out, 0: none.
        keep_picture: where a given picture is kept, of `given_picture.PLACES`.
    """

    def __init__(
        self, model_patcher: Any, guidance: Guidance, skipped_block: int = 0, keep_picture: str = AUTO
    ) -> None:
        super().__init__(model_patcher)
        self.guidance = guidance
        self.skipped_block = skipped_block
        self.keep_picture = keep_picture
        self.set_cfg(guidance.video)
        self.streams: tuple[str, ...] = ("video", "audio")
        self.video_values = 0

    def set_conds(self, positive: list, negative: list) -> None:
        """Keeps the positive, the negative, and the positive without its voice where that has a strength of its own."""
        conds = {"positive": positive, "negative": negative}
        has_voice = any(VOICE_KEY in more for _, more in positive)
        if has_voice and self.guidance.voice is not None:
            conds["text"] = [
                [context, {key: value for key, value in more.items() if key != VOICE_KEY}] for context, more in positive
            ]
        self.inner_set_conds(conds)

    def sample(self, noise: Any, latent_image: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes how much of the packed latent is picture, then samples as the host does."""
        self.streams, self.video_values = ("video",), 0
        if latent_image.is_nested:
            sizes = [math.prod(part.shape[1:]) for part in latent_image.unbind()]
            self.streams = tuple(name for name, size in zip(("video", "audio"), sizes, strict=True) if size)
            self.video_values = sizes[0]
        return super().sample(noise, latent_image, *args, **kwargs)

    def predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict[str, Any] | None = None, seed: int | None = None
    ) -> Tensor:
        """The guided denoised latent, (B, 1, N) packed or (B, C, F, H, W) plain; all passes are one batched call."""
        model_options = model_options or {}
        # Reading the noise level makes a GPU wait, so only where it matters.
        guidance = self.guidance if self.guidance.is_everywhere else self.guidance.at(float(timestep.max()))
        main, none, voice = self._passes(guidance, model_options)
        conds = [main, none] if voice is None else [main, none, voice]
        out = self._denoised(conds, x, timestep, model_options)
        if main is None:
            out[0] = out[1]
        scale = self._scale(guidance, x)
        for change in model_options.get("sampler_pre_cfg_function", []):
            given = {"conds": conds, "conds_out": out, "cond_scale": scale, "timestep": timestep, "input": x}
            out = change({**given, "sigma": timestep, "model": self.inner_model, "model_options": model_options})
        cond = self.conds["positive"] if main is None else main
        guided = comfy.samplers.cfg_function(
            self.inner_model, out[0], out[1], scale, x, timestep, model_options=model_options, cond=cond, uncond=none
        )
        return guided if voice is None else guided + guidance.voice * (out[2] - out[0])

    def _denoised(
        self, conds: list[list | None], x: Tensor, timestep: Tensor, model_options: dict[str, Any]
    ) -> list[Tensor]:
        """Denoised latents of the passes, zeros where there is none."""
        replaced = model_options.get("sampler_calc_cond_batch_function")
        if replaced is None:
            return comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, model_options)
        # Nodes that replace it (skip-layer guidance) know a positive and a negative and nothing else.
        given = {"conds": conds[:2], "input": x, "sigma": timestep, "model": self.inner_model}
        out = replaced({**given, "model_options": model_options})
        if conds[2:]:
            out = [*out, *comfy.samplers.calc_cond_batch(self.inner_model, conds[2:], x, timestep, model_options)]
        return out

    def _passes(
        self, guidance: Guidance, model_options: dict[str, Any]
    ) -> tuple[list | None, list | None, list | None]:
        """Conditionings of the passes that have weight: the main one, the negative, and the voice on its own.

        At strength 0 the negative is all there is and stands for the main one as well.
        """
        apart = "text" in self.conds and guidance.voice is not None
        needed = set(needed_passes(guidance, self.streams, has_voice=apart))
        if model_options.get("disable_cfg1_optimization", False):
            needed.add("none")
        none = self.conds.get("negative") if "none" in needed else None
        if not needed & {"text", "text_voice"}:
            return None, none, None
        if not apart or "text" not in needed:
            return self.conds["positive"], none, None
        return self.conds["text"], none, self.conds["positive"] if "text_voice" in needed else None

    def _scale(self, guidance: Guidance, x: Tensor) -> Tensor | float:
        """Guidance strength per value of the packed latent, (1, 1, N), or a number where there is one stream."""
        if len(self.streams) == 1:
            return guidance.of(self.streams[0])
        scale = torch.full((1, 1, x.shape[-1]), guidance.audio, device=x.device, dtype=x.dtype)
        scale[..., : self.video_values] = guidance.video
        return scale


def stream_by_stream(
    change: Callable[[dict[str, Any]], Tensor], latent_shapes: list[Sequence[int]]
) -> Callable[[dict[str, Any]], Tensor]:
    """A function of guidance that takes one scale for the whole latent, called once per stream of a packed one.

    Picture and sound differ in how far text moves them, and the picture has most of the values: their common scale
    (CFG-Zero*, Fan et al. 2025) would be the picture's. Other functions stay as they are.
    """
    if len(latent_shapes) < 2 or not getattr(change, "__qualname__", "").startswith(ONE_SCALE):
        return change
    sizes = [math.prod(shape[1:]) for shape in latent_shapes]

    def of_each(given: dict[str, Any]) -> Tensor:
        def parts(value: Any) -> Sequence[Any]:
            packed = isinstance(value, Tensor) and value.ndim == 3 and value.shape[-1] == sum(sizes)
            return value.split(sizes, -1) if packed else [value] * len(sizes)

        streams = zip(*map(parts, given.values()), strict=True)
        return torch.cat([change(dict(zip(given, stream, strict=True))) for stream in streams], -1)

    return of_each


def model_guidance(
    config: UniTalkingConfig,
    video: float,
    audio: float,
    voice: float,
    from_sigma: float = 1.0,
    to_sigma: float = 0.0,
    lips: float = 0.0,
) -> Guidance:
    """Guidance from widgets: 0 stands for the model's own strength, and for the voice for linked."""
    own = config.sampling
    return Guidance(
        video or own.guidance_video,
        audio or own.guidance_audio,
        voice or None,
        from_sigma,
        to_sigma,
        lips or own.guidance_lips,
    )


def guidance_inputs() -> list[io.Input]:
    """The three widgets, the same in every node that has them."""
    limits = {"default": 0.0, "min": 0.0, "max": 30.0, "step": 0.1}
    return [
        io.Float.Input("guidance_video", tooltip=VIDEO_TOOLTIP, **limits),
        io.Float.Input("guidance_audio", tooltip=AUDIO_TOOLTIP, **limits),
        io.Float.Input("guidance_voice", tooltip=VOICE_TOOLTIP, **limits),
    ]


def interval_inputs() -> list[io.Input]:
    """The two widgets of the guidance interval, the same in every node that has them."""
    shared = {"min": 0.0, "max": 1.0, "step": 0.01, "optional": True, "advanced": True}
    return [
        io.Float.Input(
            "guidance_from",
            default=1.0,
            tooltip="Noise level at which guidance begins: 1 is the start of sampling, 0 its end. Before it there is "
            "one pass instead of two.",
            **shared,
        ),
        io.Float.Input(
            "guidance_to",
            default=0.0,
            tooltip="Noise level at which guidance ends. 0.3 saves the second pass of the last steps; with the pack's "
            "own model it costs a few words.",
            **shared,
        ),
    ]


def skipped_block_input() -> io.Input:
    """The widget of skip-layer guidance, the same in every node that has it."""
    return io.Int.Input(
        "skipped_block",
        default=0,
        min=-1,
        max=1000,
        tooltip="Skip-layer guidance: the block that the negative pass leaves out. 0: the model's own (11 for Ovi, "
        "none for others); -1: none.",
        optional=True,  # graphs saved before it was there have no value
        advanced=True,
    )


def skipped_block_of(config: UniTalkingConfig, widget: int) -> int:
    """The block of a widget's value: 0 stands for the model's own, -1 for none; 0 is none in the result.

    Raises:
        ValueError: the model has no such block.
    """
    if widget >= config.num_layers:
        raise ValueError(f"skipped_block: got {widget}, this model has blocks 1 to {config.num_layers - 1}.")
    return max(widget, 0) if widget else config.sampling.skipped_block


def lips_input() -> io.Input:
    """The widget of how strictly the sound keeps to a given picture, the same in every node that has it."""
    return io.Float.Input(
        "guidance_lips",
        default=0.0,
        min=0.0,
        max=10.0,
        step=0.05,
        tooltip="For Driving Video: how strictly the sound keeps to the lips of the given picture. 0: the model's own "
        "value (1 for the full model); 1: as trained, in one pass; below 1 words are clearer and lips matter less.",
        optional=True,  # graphs saved before it was there have no value
        advanced=True,
    )


class JointGuider(io.ComfyNode):
    """Guidance for SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingJointGuider",
            display_name="Joint Guider",
            category=CATEGORY,
            description="Guidance of its own for picture, sound and voice, for SamplerCustomAdvanced.",
            search_aliases=["cfg", "guidance", "guider"],
            inputs=[
                io.Model.Input("model", tooltip="A UniTalking model."),
                io.Conditioning.Input("positive", tooltip="What to make, from Text Prompt."),
                io.Conditioning.Input("negative", tooltip="What to keep away from, from Text Prompt."),
                *guidance_inputs(),
                skipped_block_input(),
                *interval_inputs(),
                keep_picture_input(),
                lips_input(),
            ],
            outputs=[
                io.Guider.Output(
                    display_name="guider",
                    tooltip="The model with prompt and guidance; wire it into SamplerCustomAdvanced.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: list,
        negative: list,
        guidance_video: float,
        guidance_audio: float,
        guidance_voice: float,
        skipped_block: int = 0,
        guidance_from: float = 1.0,
        guidance_to: float = 0.0,
        keep_picture: str = AUTO,
        guidance_lips: float = 0.0,
    ) -> io.NodeOutput:
        """Builds the guider."""
        config = config_of(model, "Joint Guider")
        interval = guidance_from, guidance_to
        guidance = model_guidance(config, guidance_video, guidance_audio, guidance_voice, *interval, lips=guidance_lips)
        skipped = skipped_block_of(config, skipped_block)
        return io.NodeOutput(joint_guider(model, positive, negative, guidance, skipped, keep_picture))


def joint_guider(
    model: Any, positive: list, negative: list, guidance: Guidance, skipped_block: int = 0, keep_picture: str = AUTO
) -> AVGuider:
    """A guider with its conditionings set."""
    guider = AVGuider(model, guidance, skipped_block, keep_picture)
    guider.set_conds(positive, negative)
    return guider
