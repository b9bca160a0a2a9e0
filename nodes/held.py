"""Noise masks -> what is held, token by token, and which task that makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Rows = tuple[tuple[float, ...], ...]


class HeldTokens(NamedTuple):
    """How much of the run's noise level each token has, as plain numbers: equal values compare equal.

    The host batches two conditionings only when what they carry compares equal, so no tensors here.

    Attributes:
        video: (B, F) factors, one per latent frame: 1 generated, 0 held clean.
        audio: (B, L) factors, one per audio latent.
    """

    video: Rows
    audio: Rows

    @property
    def video_sees_audio(self) -> bool:
        """False for TV2A alone: the whole picture is given and some of the sound is not."""
        video_held = bool(self.video) and all(value == 0 for row in self.video for value in row)
        audio_held = all(value == 0 for row in self.audio for value in row)
        return not video_held or audio_held


def held_tokens(masks: Sequence[Tensor]) -> HeldTokens:
    """Factors from the masks of a run.

    A video latent frame counts as held only if all of it is 0; elsewhere its factor is the largest value in it.

    Args:
        masks: video (B, C, F, H, W), and audio (B, C, L) where the latent has sound; 1 is generated.
    """
    video = masks[0].float().amax(dim=(1, 3, 4)).cpu()
    audio = masks[1].float().amax(dim=1).cpu() if len(masks) > 1 else torch.zeros(video.shape[0], 0)
    return HeldTokens(_rows(video), _rows(audio))


def _rows(table: Tensor) -> Rows:
    return tuple(tuple(row) for row in table.tolist())
