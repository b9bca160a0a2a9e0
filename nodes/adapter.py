"""UniTalking as a native MODEL: the host's calls on one side, the network's streams on the other.

The host packs picture and sound into one (B, 1, N) tensor for its samplers and unpacks it before the network. What
travels beside the latents does so as conditioning of fixed keys and shapes, so that guidance stays one batched call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import comfy.conds
import comfy.ldm.common_dit
import comfy.model_base
import comfy.ops
import comfy.patcher_extension
import comfy.utils
import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ..unitalking.config import UniTalkingConfig
from ..unitalking.model.modulation import ModulationTable
from ..unitalking.model.transformer import UniTalking
from ..unitalking.tasks import HeldTokens, factor_runs, held_tokens
from ..unitalking.types import Conditions, NoiseLevels, StreamInput
from ..unitalking.voice import fill_reference
from ..unitalking.voice_turns import runs_of, speakers_at
from .blocks import BlockRunner
from .constants import AUDIO_CONTEXT_KEY, TURNS_KEY, VOICE_KEY
from .given_picture import KeptPicture, patches_blocks, place_for, seen_bytes
from .inputs import fit_context
from .run import RUN_KEY, Run, room_for
from .windows import audio_start, audio_window, held_in_window, speakers_in_window


class HostModulationTable(ModulationTable, comfy.ops.CastWeightBiasOp):
    """A modulation offset that the host may offload, and whose LoRA it may add on the fly."""

    bias = None  # the host casts weight and bias of every such module

    def forward(self, level: Tensor) -> Tensor:
        """See `ModulationTable`."""
        if not (self.comfy_cast_weights or self.weight_function):
            return super().forward(level)
        dtype = torch.promote_types(level.dtype, torch.float32)
        weight, bias, stream = comfy.ops.cast_bias_weight(self, device=level.device, dtype=dtype, offloadable=True)
        offset = weight + level.to(dtype)
        comfy.ops.uncast_bias_weight(self, weight, bias, stream)
        return offset


class DiffusionModel(UniTalking):
    """The network behind the host's calling convention: lists of latents in, a list of velocities out."""

    def __init__(self, config: UniTalkingConfig, *, operations: Any, **factory: Any) -> None:
        host_operations = type("HostOperations", (operations,), {"ModulationTable": HostModulationTable})
        super().__init__(config, operations=host_operations, **factory)

    reserve_bytes: Callable[[Sequence[int]], float] = staticmethod(lambda shape: 0.0)

    def forward(
        self,
        latents: list[Tensor],
        timestep: Tensor,
        context: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **conditions: Any,
    ) -> list[Tensor] | Tensor:
        """Velocities of the latents, a list as the host's caches expect, or a tensor for a plain video latent.

        Args:
            latents: [video (B, C, F, H, W), audio (B, C, L)], or the video alone.
            timestep: 1000 * sigma, (B,).
            context: encoded text of the video stream, (B, text_len, text_dim).
            control: unused, the host always passes it.
            transformer_options: the host's options of this call.
            conditions: what `UniTalkingModel.extra_conds` made.
        """
        transformer_options = {} if transformer_options is None else transformer_options
        # EasyCache writes into what it is given, which in float32 is the sampler's own latent.
        latents = [part.clone() for part in latents]
        return comfy.patcher_extension.WrapperExecutor.new_class_executor(
            functools.partial(self._predict, conditions=conditions),
            self,
            comfy.patcher_extension.get_all_wrappers(
                comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, transformer_options
            ),
        ).execute(latents, timestep, context, transformer_options)

    def _predict(
        self,
        latents: list[Tensor],
        timestep: Tensor,
        context: Tensor,
        transformer_options: dict[str, Any],
        *,
        conditions: dict[str, Any],
    ) -> list[Tensor] | Tensor:
        plain = len(latents) == 1
        video, audio = (latents[0], None) if plain else latents
        shape = video.shape
        video = comfy.ldm.common_dit.pad_to_patch_size(video, self.config.patch_size) if video.shape[2] else None
        audio = audio if audio is not None and audio.shape[2] else None
        run = transformer_options.get(RUN_KEY) or Run()
        held = conditions.get("held")
        kept = self._conditions(run, video, audio, context, conditions, transformer_options)
        start = audio_start(transformer_options.get("context_window"), self.config)
        picture = self._stream(run, "video", video, timestep, held and held.video, kept[0])
        sees_audio = held is None or held.video_sees_audio
        seen = None
        if picture is not None and audio is not None and not sees_audio:
            seen = self._seen_picture(run, picture, transformer_options)
        picture = picture if seen is None else None
        sound = self._stream(run, "audio", audio, timestep, held and held.audio, kept[1], start)
        speakers = conditions.get("speakers")
        if sound is not None and run.has_voice and speakers:
            sound = replace(sound, turns=run.once(("turns", speakers), lambda: runs_of(speakers)))
        velocities = self._velocities(run, picture, sound, seen, transformer_options, video_sees_audio=sees_audio)
        if not sees_audio and sound is not None and run.guidance_lips != 1:
            _, alone = self._velocities(run, None, sound, None, transformer_options)
            velocities = velocities[0], alone + run.guidance_lips * (velocities[1] - alone)
        picture = latents[0].new_zeros(shape) if velocities[0] is None else velocities[0][..., : shape[3], : shape[4]]
        if plain:
            return picture
        return [picture, torch.zeros_like(latents[1]) if velocities[1] is None else velocities[1]]

    def _velocities(
        self,
        run: Run,
        picture: StreamInput | None,
        sound: StreamInput | None,
        seen: KeptPicture | None,
        transformer_options: dict[str, Any],
        *,
        video_sees_audio: bool = True,
    ) -> tuple[Tensor | None, Tensor | None]:
        """One pass of the network over the streams that there are, with the host's attention and patches."""
        running = [stream for stream, given in ((self.video, picture), (self.audio, sound)) if given is not None]
        device = (picture or sound).latent.device
        return super().forward(
            picture,
            sound,
            video_sees_audio=video_sees_audio,
            seen_picture=seen,
            attention=_attention(transformer_options),
            run_block=BlockRunner(running, transformer_options, device, run.skipped_block),
        )

    def _seen_picture(self, run: Run, picture: StreamInput, transformer_options: dict[str, Any]) -> KeptPicture | None:
        """What the sound sees of a given picture, kept for the run; None where the picture has to run along."""
        uuids = transformer_options.get("uuids")
        if uuids is None or patches_blocks(transformer_options):
            return None
        latent, window = picture.latent, transformer_options.get("context_window")
        shown = None if window is None else (getattr(window, "causal_anchor_index", None), *window.index_list)
        key = (*uuids, shown, tuple(latent.shape), latent.device, latent.dtype, run.hook_state())
        size = seen_bytes(self.config, latent.shape[0], picture.rope.cos.shape[0], latent.element_size())
        reserve = self.reserve_bytes([latent.shape[0], 1, latent[0].numel()])
        place = run.once(("place", *key), lambda: place_for(size, latent.device, reserve, run.keep_picture))
        if place is None:
            return None

        def compute() -> KeptPicture:
            runner = BlockRunner((self.video, self.audio), transformer_options, latent.device, run.skipped_block)
            seen = self.see_picture(picture, attention=_attention(transformer_options), run_block=runner)
            return KeptPicture(seen, place, latent.device)

        return run.once(("picture", *key), compute)

    def _conditions(
        self,
        run: Run,
        video: Tensor | None,
        audio: Tensor | None,
        context: Tensor,
        conditions: dict[str, Any],
        transformer_options: dict[str, Any],
    ) -> tuple[Conditions | None, Conditions | None]:
        """Projected text and voice of this batch of conditionings, kept for the run."""
        voice = (conditions.get("reference"), conditions.get("voice_present")) if run.has_voice else (None, None)
        contexts = (None if video is None else context, None if audio is None else conditions["audio_context"])
        like = audio if video is None else video

        def compute(keep_keys: bool) -> tuple[Conditions | None, Conditions | None]:
            return self.encode_conditions(*contexts, *voice, keep_keys=keep_keys)

        uuids = transformer_options.get("uuids")
        if uuids is None:
            return compute(False)
        reserve = self.reserve_bytes(
            [like.shape[0], 1, sum(part.numel() for part in (video, audio) if part is not None)]
        )
        keep_keys = run.once(("keep", *uuids), lambda: room_for(self._key_bytes(contexts, voice), like.device, reserve))
        key = ("conditions", *uuids, like.shape[0], like.device, like.dtype, run.hook_state())
        return run.once(key, lambda: compute(keep_keys))

    def _key_bytes(self, contexts: Sequence[Tensor | None], voice: Sequence[Tensor | None]) -> int:
        rows = sum(context.shape[0] * self.config.text_len for context in contexts if context is not None)
        if voice[0] is not None:
            rows += voice[0].shape[0] * voice[0].shape[2] * len(self.config.reference_streams)
        element = next(context for context in contexts if context is not None).element_size()
        return 2 * rows * self.config.dim * self.config.num_layers * element

    def _stream(
        self,
        run: Run,
        name: str,
        latent: Tensor | None,
        timestep: Tensor,
        factors: tuple[tuple[float, ...], ...] | None,
        conditions: Conditions | None,
        start: float = 0.0,
    ) -> StreamInput | None:
        if latent is None:
            return None
        layout = self.video_layout if name == "video" else functools.partial(self.audio_layout, start=start)
        key = (name, tuple(latent.shape[2:]), start, latent.device, latent.dtype)
        rope, extra = run.once(("layout", *key, run.hook_state()), lambda: layout(latent))
        tokens = rope.cos.shape[0]
        if not factors:
            return StreamInput(latent, NoiseLevels.uniform(timestep, tokens), rope, conditions, extra)
        runs = run.once(
            ("held", *key, factors, latent.shape[0]),
            lambda: factor_runs(factors, tokens, latent.shape[0]),
        )
        factor = run.once(("factor", *key, factors, latent.shape[0]), lambda: runs.timestep.to(timestep))
        return StreamInput(latent, NoiseLevels(factor * timestep[:, None], runs.lengths), rope, conditions, extra)


def _attention(transformer_options: dict[str, Any]) -> Callable[[Tensor, Tensor, Tensor, int], Tensor]:
    """The host's attention of choice with its options of this call."""

    def attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        return optimized_attention(queries, keys, values, heads=heads, transformer_options=transformer_options)

    return attention


class UniTalkingModel(comfy.model_base.BaseModel):
    """The host's view of a UniTalking model; `unitalking` is its config, which survives clones and LoRA, and `codec_id`
    says which sound it speaks in."""

    def __init__(self, model_config: Any, config: UniTalkingConfig, device: torch.device | None = None) -> None:
        super().__init__(model_config, comfy.model_base.ModelType.FLOW, device=device, unet_model=DiffusionModel)
        self.unitalking, self.codec_id = config, model_config.codec_id
        self.diffusion_model.reserve_bytes = self.memory_required

    def extra_conds(self, **given: Any) -> dict[str, Any]:
        """Any conditioning -> the same keys and shapes, so that the host batches positive and negative.

        Raises:
            ValueError: a text encoder or a voice of another model.
        """
        config = self.unitalking
        shapes = given["latent_shapes"]
        context = fit_context(given.get("cross_attn"), config, "positive or negative")
        audio_context = given.get(AUDIO_CONTEXT_KEY)
        audio_context = context if audio_context is None else fit_context(audio_context, config, "sound")
        conds = {
            "c_crossattn": comfy.conds.CONDRegular(context),
            "audio_context": comfy.conds.CONDRegular(audio_context.to(context)),
            "latent_shapes": comfy.conds.CONDConstant(shapes),
            "held": comfy.conds.CONDConstant(_held(given.get("denoise_mask"), shapes)),
        }
        if config.reference_tokens:
            voice, starts_s = given.get(VOICE_KEY), given.get(TURNS_KEY, (0.0,))
            voices = voice if isinstance(voice, tuple) else len(starts_s) * (voice,)
            reference = torch.cat([self._reference(each) for each in voices], dim=2)
            conds["reference"] = comfy.conds.CONDRegular(reference.to(context.device))
            conds["voice_present"] = comfy.conds.CONDRegular(torch.full((1,), float(voice is not None)).to(context))
            conds["speakers"] = comfy.conds.CONDConstant(self._speakers(starts_s, shapes))
        return conds

    def _speakers(self, starts_s: tuple[float, ...], shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
        """The number of the voice that every audio latent hears; None where one voice speaks all through."""
        config = self.unitalking
        if len(starts_s) == 1 or len(shapes) < 2:
            return None
        if "video" in config.reference_streams:
            raise ValueError("This model shows the voice to its picture stream, too: it takes one voice for a clip.")
        return speakers_at(starts_s, shapes[1][2], config)

    def _reference(self, voice: Tensor | None) -> Tensor:
        """Normalised voice latents filled to reference_tokens, zeros without a voice, (1, C, reference_tokens)."""
        config = self.unitalking
        if voice is None:
            return torch.zeros(1, config.audio_channels, config.reference_tokens)
        if voice.ndim != 3 or voice.shape[1] != config.audio_channels:
            raise ValueError(
                f"The voice has latents of shape {tuple(voice.shape)}, this model takes (1, "
                f"{config.audio_channels}, n): encode the clip with this model's own audio VAE."
            )
        return fill_reference(self.latent_format.audio.normalise(voice.float()), config.reference_tokens)

    def scale_latent_inpaint(self, sigma: Tensor, noise: Tensor, latent_image: Tensor, **kwargs: Any) -> Tensor:
        """Held tokens stay clean at every noise level."""
        return latent_image

    def map_context_window_to_modalities(
        self, primary_indices: list[int], latent_shapes: list[Sequence[int]], dim: int
    ) -> list[list[int]]:
        """Audio latents that sound while the given video latents are seen, by absolute time."""
        if len(latent_shapes) < 2:
            return [primary_indices]
        config = self.unitalking
        return [primary_indices, audio_window(primary_indices, latent_shapes[0][2], latent_shapes[1][2], config)]

    def resize_cond_for_context_window(
        self, cond_key: str, cond_value: Any, window: Any, x_in: Tensor, device: torch.device, **kwargs: Any
    ) -> Any:
        """What is held, cut to the window; all other conditioning of ours is about the whole clip and stays."""
        if cond_key == "held" and cond_value.cond is not None:
            return comfy.conds.CONDConstant(held_in_window(cond_value.cond, window))
        if cond_key == "speakers" and cond_value.cond is not None:
            return comfy.conds.CONDConstant(speakers_in_window(cond_value.cond, window))
        if cond_key in ("held", "c_crossattn", "audio_context", "reference", "voice_present", "speakers"):
            return cond_value
        return None


def _held(mask: Tensor | None, shapes: Sequence[Sequence[int]]) -> HeldTokens | None:
    return None if mask is None else held_tokens(comfy.utils.unpack_latents(mask, shapes))
