"""Attention View: where the sound looks in the picture, and where the picture looks in the sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.samplers
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..unitalking.attention_view import AttentionMaps, offset_s, over, timing
from ..unitalking.config import UniTalkingConfig
from ..unitalking.guidance import Guidance
from .constants import CATEGORY, LATENT_KEY
from .given_picture import RECOMPUTE
from .guider import joint_guider
from .inputs import check_latent_shapes
from .latents import video_of
from .messages import say, speaking_config_of
from .sampling import AVNoise, seed_input

OVERRIDE = "optimized_attention_override"
# Stops what hangs on the timing of a picture that is given, and nothing else; the report says why.
NO_TIMING = ExecutionBlocker(None)


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
                    "images", tooltip="Its pictures, from Decode AV, to draw on; of a batch those of all clips."
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
                io.Image.Output(
                    display_name="images",
                    is_output_list=True,
                    tooltip="The clip in grey under a heat map: the sound of each moment, in the picture of that "
                    "moment; for Save MP4.",
                ),
                io.Mask.Output(
                    display_name="heat",
                    is_output_list=True,
                    tooltip="The heat map as a mask, one per latent frame, those of a style reference too.",
                ),
                io.Image.Output(
                    display_name="timing",
                    is_output_list=True,
                    tooltip="Latent frames from top to bottom, audio latents from left to right; the blue curve is "
                    "what each frame listens to most, the white line its own moment: one over the other where both are "
                    "in time.",
                ),
                io.String.Output(
                    display_name="report",
                    is_output_list=True,
                    tooltip="How far from its own moment the picture listens, and where the sound looks most.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_input_list=True,
        )

    @classmethod
    def execute(
        cls,
        model: list[Any],
        positive: list[list],
        latent: list[dict[str, Any]],
        images: list[Tensor],
        sigma: list[float],
        first_block: list[int],
        last_block: list[int],
        seed: list[int],
    ) -> io.NodeOutput:
        """Runs the network once over all clips and draws what it looked at, clip by clip."""
        lists = {"model": model, "positive": positive, "latent": latent, "sigma": sigma, "seed": seed}
        lists |= {"first_block": first_block, "last_block": last_block}
        one = {name: _only(name, values) for name, values in lists.items()}
        config, clip = speaking_config_of(one["model"], "Attention View"), one["latent"]
        video = video_of(clip, "Attention View")
        sound = clip["samples"].unbind()[1].shape[2] if getattr(clip["samples"], "is_nested", False) else 0
        if not sound:
            raise ValueError("Attention View: the LATENT has no sound: wire one from Joint Flow Sampler.")
        check_latent_shapes([tuple(part.shape) for part in clip["samples"].unbind()], config)
        if len(images) != len(video):
            raise ValueError(
                f"Attention View: got the pictures of {len(images)} clips, the LATENT holds {len(video)}: wire images "
                "of Decode AV, and into it the same latent."
            )
        blocks = range(one["first_block"], min(one["last_block"] + 1, config.num_layers))
        if not any(config.is_joint(index) for index in blocks):
            raise ValueError(
                f"Attention View: the streams do not meet in blocks {blocks.start} to {one['last_block']}: this model "
                f"has {config.num_layers} blocks, and they meet in {_joint_blocks(config)}."
            )
        rows, columns = config.patch_size[1:]
        grid = (video.shape[2], -(-video.shape[3] // rows), -(-video.shape[4] // columns))
        maps = [AttentionMaps(grid, sound, config.fusion) for _ in images]
        watch(one["model"], one["positive"], clip, maps, blocks, one["sigma"], one["seed"])
        if not maps[0].looks[0]:
            raise ValueError(
                "Attention View: the model never ran over the whole clip at once, as with context windows: wire the "
                "MODEL as it was before them."
            )
        looked = f"sigma {one['sigma']:g}, blocks {blocks.start} to {blocks.stop - 1}"
        shown = [_drawn(each, pictures, clip, config, looked) for each, pictures in zip(maps, images, strict=True)]
        say(cls, "\n".join(report for *_, report in shown))
        return io.NodeOutput(*(list(output) for output in zip(*shown, strict=True)))


def watch(
    model: Any,
    positive: list,
    latent: dict[str, Any],
    maps: Sequence[AttentionMaps],
    blocks: range,
    sigma: float,
    seed: int,
) -> None:
    """One pass over clips at a noise level, whose attention between the streams is added to each clip's `maps`."""
    watched = model.clone()
    options = watched.model_options["transformer_options"]
    inner = options.get(OVERRIDE)

    def look(
        function: Callable[..., Tensor], queries: Tensor, keys: Tensor, values: Tensor, heads: int, **more: Any
    ) -> Tensor:
        if more.get("transformer_options", {}).get("block_index") in blocks:
            for clip, each in enumerate(maps):
                each.add(queries[clip], keys[clip], heads)
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


def _only(name: str, values: list) -> Any:
    """The value of an input that comes as a list because the pictures of a batch do."""
    if len(values) != 1:
        raise ValueError(
            f"Attention View: got a list of {len(values)} for {name}, expected one: only images may be many."
        )
    return values[0]


def _drawn(
    maps: AttentionMaps, pictures: Tensor, latent: dict[str, Any], config: UniTalkingConfig, looked: str
) -> tuple[Tensor, Tensor, Any, str]:
    """The outputs for one clip."""
    where = maps.frames(config)
    cut = latent.get(LATENT_KEY, {}).get("cut", 0)
    shown = over(pictures[..., :3].cpu().float(), where, config.time_stride, cut)
    when, listens = NO_TIMING, "the picture is given and hears nothing"
    if maps.looks[1]:
        mean_s, apart_s = offset_s(maps.to_sound, config)
        when = timing(maps.to_sound, config)
        listens = f"the picture listens {apart_s:.2f} s from its own moment ({mean_s:+.2f} s on average)"
    report = f"{looked}\n{listens}\nthe sound looks most at {_place(where.mean(0))}"
    return shown, where / where.amax().clamp_min(1e-12), when, report


def _joint_blocks(config: Any) -> str:
    meeting = [index for index in range(config.num_layers) if config.is_joint(index)]
    return f"{meeting[0]} to {meeting[-1]}" if meeting else "none"


def _place(heat_map: Tensor) -> str:
    """Where the middle of the warmest tenth of a picture lies, in shares of its width and height."""
    height, width = heat_map.shape
    warm = (heat_map >= heat_map.flatten().quantile(0.9)).nonzero().float().mean(0)
    across, down = (float(warm[1]) + 0.5) / width, (float(warm[0]) + 0.5) / height
    return f"{across:.0%} from the left, {down:.0%} from the top"
