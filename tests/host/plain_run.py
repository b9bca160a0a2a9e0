"""The computation to compare the host's sampling with: the pack's own flow, guidance and network, without the host."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from lab import Lab
from torch import Tensor


class Condition(NamedTuple):
    """What one pass is conditioned on.

    Attributes:
        picture, sound: encoded text of each stream, (1, rows, text_dim).
        voice: VOICE latents in VAE space, (1, C, n), or None.
    """

    picture: Tensor
    sound: Tensor
    voice: Tensor | None = None


def condition(conditioning: list, *, voice: bool = True) -> Condition:
    """What the host's conditioning of Text Prompt says; with `voice` off without its voice."""
    context, more = conditioning[0]
    given = more.get("unitalking_voice") if voice else None
    return Condition(context, more["unitalking_audio_context"], given)


class PlainRun:
    """The lab's model as a plain network, and Euler's method over it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.statistics = lab.model.model.latent_format
        self.flow, self.guidance = lab.pack("unitalking.flow"), lab.pack("unitalking.guidance")
        self.types, self.voice = lab.pack("unitalking.types"), lab.pack("unitalking.voice")
        self.network = lab.pack("unitalking.model.transformer").UniTalking(lab.config, dtype=torch.float32)
        self.network.load_state_dict(lab.model.model.diffusion_model.state_dict())

    def euler(
        self,
        passes: Mapping[str, Condition],
        strengths: tuple[float, ...],
        noise: Any,
        sigmas: Tensor,
        unguided: Container[int] = (),
    ) -> list[Tensor]:
        """Both streams of an empty clip in VAE space, one network call per pass and step.

        Args:
            passes: pass name (none, text, text_voice) -> what it is conditioned on.
            strengths: guidance of picture, sound and optionally voice.
            noise: NOISE.
            sigmas: schedule, (n + 1,).
            unguided: numbers of the steps that have everything but guidance.
        """
        guidance = self.guidance.Guidance(*strengths)
        guided_weights = {
            stream: self.guidance.pass_weights(guidance, stream, has_voice="text_voice" in passes)
            for stream in ("video", "audio")
        }
        whole = "text_voice" if "text_voice" in passes else "text"
        alone = {name: float(name == whole) for name in self.guidance.PASSES}
        plain_weights = {stream: alone for stream in guided_weights}
        drawn = noise.generate_noise(self.lab.latent()).unbind()
        state = [self.flow.interpolate(torch.zeros_like(part), part, sigmas[0]) for part in drawn]
        for step, (now, after) in enumerate(itertools.pairwise(sigmas)):
            weights = plain_weights if step in unguided else guided_weights
            velocities = {name: self.velocity(state, now, cond) for name, cond in passes.items()}
            for index, stream in enumerate(weights):
                guided = self.guidance.combine({name: v[index] for name, v in velocities.items()}, weights[stream])
                state[index] = state[index] + (after - now) * guided
        return [self.statistics.video.restore(state[0]), self.statistics.audio.restore(state[1])]

    def velocity(
        self,
        state: Sequence[Tensor | None],
        sigma: Tensor | float,
        cond: Condition,
        *,
        factors: Sequence[Tensor] | None = None,
        video_sees_audio: bool = True,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocities of normalised latents (B, C, F, H, W) and (B, C, L).

        Args:
            state: both latents, None for an absent stream.
            sigma: noise level.
            cond: what the pass is conditioned on.
            factors: share of the noise level that each token has, (B, Tv) and (B, Ta); all of it if None.
            video_sees_audio: off for TV2A.
        """
        batch = next(part.shape[0] for part in state if part is not None)
        contexts = [
            None if part is None else text.expand(batch, -1, -1)
            for part, text in zip(state, (cond.picture, cond.sound), strict=True)
        ]
        conditions = self.network.encode_conditions(*contexts, self._reference(cond, batch))
        inputs: list[Any] = []
        layouts = (self.network.video_layout, self.network.audio_layout)
        for index, (part, layout, given) in enumerate(zip(state, layouts, conditions, strict=True)):
            if part is None:
                inputs.append(None)
                continue
            rope, extra = layout(part)
            factor = torch.ones(batch, rope.cos.shape[0]) if factors is None else factors[index]
            levels = self.types.NoiseLevels.from_tokens(1000 * sigma * factor)
            inputs.append(self.types.StreamInput(part, levels, rope, given, extra))
        return self.network(*inputs, video_sees_audio=video_sees_audio)

    def _reference(self, cond: Condition, batch: int) -> Tensor | None:
        if cond.voice is None:
            return None
        normalised = self.statistics.audio.normalise(cond.voice)
        return self.voice.fill_reference(normalised, self.lab.config.reference_tokens).expand(batch, -1, -1)
