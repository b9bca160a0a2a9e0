"""Classifier-free guidance over text and voice, each stream with its own strength.

    v = v_none + g (v_text - v_none) + g_voice (v_text_voice - v_text)
      = (1 - g) v_none + (g - g_voice) v_text + g_voice v_text_voice

`g` differs for picture and sound, `g_voice` does not, unless it is linked: then it equals g in each stream, the middle
pass has no weight anywhere and two passes are enough. Without a voice the last term is absent.

Source: design (UniTalking Sec. 3 names text, image and audio conditions; the split is ours).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

PASSES = ("none", "text", "text_voice")


@dataclass(frozen=True)
class Guidance:
    """Guidance strengths; 1 is no guidance.

    Attributes:
        video: strength for the picture.
        audio: strength for the sound.
        voice: strength of the voice in both streams; None: linked to the text's, stream by stream.
        from_sigma, to_sigma: noise levels between which there is guidance, from 1 down to 0; outside of them there is
            none, and one pass is enough. Source: Kynkaanniemi et al. (2024); that both streams share it is ours.
        lips: how strictly the sound keeps to a given picture, at every noise level; 1: no second pass without it. Ours.
    """

    video: float
    audio: float
    voice: float | None = None
    from_sigma: float = 1.0
    to_sigma: float = 0.0
    lips: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.to_sigma <= self.from_sigma <= 1:
            raise ValueError(
                f"guidance_from, guidance_to: got {self.from_sigma:g} and {self.to_sigma:g}, expected noise levels "
                "between 1 and 0, the first at least the second."
            )

    @property
    def is_everywhere(self) -> bool:
        """Whether it is the same at all noise levels."""
        return (self.from_sigma, self.to_sigma) == (1.0, 0.0)

    def at(self, sigma: float) -> Guidance:
        """What is left of it at a noise level: all, or none."""
        if self.to_sigma <= sigma <= self.from_sigma:
            return self
        return Guidance(1.0, 1.0)

    def of(self, stream: str) -> float:
        """The text strength of `stream`, "video" or "audio"."""
        return {"video": self.video, "audio": self.audio}[stream]


def pass_weights(guidance: Guidance, stream: str, *, has_voice: bool) -> dict[str, float]:
    """Weights of the passes in one stream: `none`, `text` and `text_voice`; they sum to 1.

    Args:
        guidance: strengths.
        stream: "video" or "audio".
        has_voice: whether the run has a voice reference.
    """
    scale = guidance.of(stream)
    if not has_voice:
        return {"none": 1 - scale, "text": scale, "text_voice": 0.0}
    voice = scale if guidance.voice is None else guidance.voice
    return {"none": 1 - scale, "text": scale - voice, "text_voice": voice}


def needed_passes(guidance: Guidance, streams: tuple[str, ...], *, has_voice: bool) -> tuple[str, ...]:
    """The passes that have weight in at least one of `streams`, in the order none, text, text_voice."""
    weights = [pass_weights(guidance, stream, has_voice=has_voice) for stream in streams]
    return tuple(name for name in PASSES if any(weight[name] != 0 for weight in weights))


def combine(velocities: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The guided velocity (or denoised latent: the rule is linear and its weights sum to 1) of one stream.

    Args:
        velocities: pass name -> (B, ...); passes without weight may be missing.
        weights: from `pass_weights`.

    Raises:
        ValueError: a pass with weight is missing.
    """
    needed = [name for name in PASSES if weights[name] != 0]
    missing = [name for name in needed if name not in velocities]
    if missing:
        raise ValueError(f"guidance: the pass(es) {', '.join(missing)} have weight but were not computed.")
    total = weights[needed[0]] * velocities[needed[0]]
    for name in needed[1:]:
        total = total + weights[name] * velocities[name]
    return total
