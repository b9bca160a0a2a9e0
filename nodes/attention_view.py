"""Attention View: where the sound looks in the picture, and where the picture looks in the sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import torch
from comfy_api.latest import io
from torch import Tensor

from ..unitalking.attention_view import AttentionMaps, heat, offset_s, over
from ..unitalking.guidance import Guidance
from .constants import CATEGORY
from .given_picture import RECOMPUTE
from .guider import joint_guider
from .inputs import check_latent_shapes
from .latents import video_of
from .messages import say, speaking_config_of
from .sampling import AVNoise, seed_input

OVERRIDE = "optimized_attention_override"
# Height and width of a latent frame and of an audio latent in the picture of `timing`.
CELL = (12, 4)


class AttentionView(io.ComfyNode):
    """One more pass over a finished clip, watched."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingAttentionView",
            display_name="Attention View",
            category=CATEGORY,
            description="Shows where the sound looks in the picture, and when the picture listens, in one more pass "
            "over a finished clip. Sampling itself is not slowed down.",
            search_aliases=["heat map", "cross-modal attention", "visualise", "explain", "debug"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model that made the clip."),
                io.Conditioning.Input("positive", tooltip="Its positive, from Text Prompt."),
                io.Latent.Input("latent", tooltip="The clip, from Joint Flow Sampler."),
                io.Image.Input(
                    "images", tooltip="Its pictures, from Decode AV, to draw on. Of a batch the first clip."
                ),
                io.Float.Input(
                    "sigma",
                    default=0.8,
                    min=0.02,
                    max=1.0,
                    step=0.01,
                    tooltip="The step to look at, as a noise level: 1 is the first step, small is the last ones. Words "
                    "and lips are decided above 0.6.",
                ),
                io.Int.Input("first_block", default=0, min=0, max=999, tooltip="First block that is looked at."),
                io.Int.Input(
                    "last_block", default=999, min=0, max=999, tooltip="Last block that is looked at; 999 is the last."
                ),
                seed_input(),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Mask.Output(display_name="heat"),
                io.Image.Output(display_name="timing"),
                io.String.Output(display_name="report"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: list,
        latent: dict[str, Any],
        images: Tensor,
        sigma: float,
        first_block: int,
        last_block: int,
        seed: int,
    ) -> io.NodeOutput:
        """Runs the network once and draws what it looked at."""
        config = speaking_config_of(model, "Attention View")
        video = video_of(latent, "Attention View")
        if not getattr(latent["samples"], "is_nested", False):
            raise ValueError("Attention View: the LATENT has no sound: wire one from Joint Flow Sampler.")
        check_latent_shapes([tuple(part.shape) for part in latent["samples"].unbind()], config)
        blocks = range(first_block, min(last_block + 1, config.num_layers))
        if not any(config.is_joint(index) for index in blocks):
            raise ValueError(
                f"Attention View: the streams do not meet in blocks {first_block} to {last_block}: this model has "
                f"{config.num_layers} blocks, and they meet in {_joint_blocks(config)}."
            )
        rows, columns = config.patch_size[1:]
        grid = (video.shape[2], -(-video.shape[3] // rows), -(-video.shape[4] // columns))
        maps = AttentionMaps(grid, latent["samples"].unbind()[1].shape[2], config.fusion)
        watch(model, positive, latent, maps, blocks, sigma, seed)
        where = maps.frames(config)
        mean_s, apart_s = offset_s(maps.to_sound, config)
        report = (
            f"sigma {sigma:g}, blocks {blocks.start} to {blocks.stop - 1}\n"
            f"the picture listens {apart_s:.2f} s from its own moment ({mean_s:+.2f} s on average)\n"
            f"the sound looks most at {_place(where.mean(0))}"
        )
        say(cls, report)
        timing = maps.to_sound / maps.to_sound.amax(1, keepdim=True).clamp_min(1e-12)
        drawn = heat(timing[None], CELL[0] * grid[0], CELL[1] * maps.sound)
        shown = over(images[..., :3].cpu().float(), where, config.time_stride)
        return io.NodeOutput(shown, where / where.amax().clamp_min(1e-12), drawn, report)


def watch(
    model: Any, positive: list, latent: dict[str, Any], maps: AttentionMaps, blocks: range, sigma: float, seed: int
) -> None:
    """One pass over a clip at a noise level, whose attention between the streams is added to `maps`."""
    watched = model.clone()
    options = watched.model_options["transformer_options"]
    inner = options.get(OVERRIDE)

    def look(
        function: Callable[..., Tensor], queries: Tensor, keys: Tensor, values: Tensor, heads: int, **more: Any
    ) -> Tensor:
        if more.get("transformer_options", {}).get("block_index") in blocks:
            maps.add(queries, keys, heads)
        run = function if inner is None else lambda *given, **rest: inner(function, *given, **rest)
        return run(queries, keys, values, heads=heads, **more)

    options[OVERRIDE] = look

    def one_call(
        denoiser: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any] | None = None, **_: Any
    ) -> Tensor:
        return denoiser(x, sigmas[0] * x.new_ones(x.shape[0]), **(extra_args or {}))

    guider = joint_guider(watched, positive, positive, Guidance(1.0, 1.0), keep_picture=RECOMPUTE)
    guider.sample(
        AVNoise(seed).generate_noise(latent),
        latent["samples"],
        comfy.samplers.KSAMPLER(one_call),
        torch.tensor([sigma, 0.0]),
        denoise_mask=latent.get("noise_mask"),
        disable_pbar=True,
        seed=seed,
    )


def _joint_blocks(config: Any) -> str:
    meeting = [index for index in range(config.num_layers) if config.is_joint(index)]
    return f"{meeting[0]} to {meeting[-1]}" if meeting else "none"


def _place(heat_map: Tensor) -> str:
    """Where the middle of the warmest tenth of a picture lies, in shares of its width and height."""
    height, width = heat_map.shape
    warm = (heat_map >= heat_map.flatten().quantile(0.9)).nonzero().float().mean(0)
    across, down = (float(warm[1]) + 0.5) / width, (float(warm[0]) + 0.5) / height
    return f"{across:.0%} from the left, {down:.0%} from the top"
