"""Tasks: which streams there are, what of them is held clean, and whether the picture may see the sound.

A task is nothing but held tokens. What a host's noise masks say (`held_tokens`) and what training draws (`Task`) become
the same thing here, so that a model is trained on what it is asked for.

Axes: B clips, F video latent frames, L audio latents. Source: UniTalking Sec. 3 for T2AV, TI2AV, TV2A, TR2AV and TTS;
A2V and INFILL (continuation, in-context style) are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from . import timeline
from .config import UniTalkingConfig
from .types import NoiseLevels

Rows = tuple[tuple[float, ...], ...]
Spans = tuple[tuple[int, int], ...]

GENERATED, FIRST_FRAME, GIVEN, SPANS, ABSENT = "generated", "first_frame", "given", "spans", "absent"


class HeldTokens(NamedTuple):
    """How much of the run's noise level each token has, as plain numbers: equal values compare equal.

    A host batches two conditionings only when what they carry compares equal, so no tensors here.

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


def factor_runs(factors: Rows, tokens: int, batch: int) -> NoiseLevels:
    """Runs of equal factors of one stream, to be multiplied with 1000 * sigma.

    Args:
        factors: a row of `HeldTokens` per clip.
        tokens: of the whole stream; those of one latent share a factor.
        batch: clips times the conditionings that a host has batched.
    """
    table = torch.tensor(factors, dtype=torch.float32)
    return NoiseLevels.from_tokens(table.repeat(batch // table.shape[0], 1), tokens // table.shape[1])


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        video: what of the picture is held: GENERATED nothing, FIRST_FRAME, GIVEN all, SPANS; or ABSENT.
        audio: what of the sound: GENERATED, GIVEN, SPANS or ABSENT.
        has_reference: whether the task is about a voice reference.
    """

    name: str
    video: str = GENERATED
    audio: str = GENERATED
    has_reference: bool = False

    @property
    def layout(self) -> tuple[bool, bool, bool]:
        """Tasks of one layout can share a batch: is there a picture, a sound, does the picture see the sound."""
        return self.video != ABSENT, self.audio != ABSENT, self.video != GIVEN

    def video_mask(self, frames: int, spans: Spans = ()) -> Tensor:
        """What is generated of the picture, (1, 1, F, 1, 1): 1 generated, 0 held.

        Args:
            frames: F.
            spans: [start, stop) video latent frames that SPANS holds.
        """
        held = {FIRST_FRAME: ((0, 1),), GIVEN: ((0, frames),), SPANS: spans}.get(self.video, ())
        return _mask(frames, held)[None, None, :, None, None]

    def audio_mask(self, latents: int, config: UniTalkingConfig, spans: Spans = ()) -> Tensor:
        """What is generated of the sound, (1, 1, L): 1 generated, 0 held.

        Args:
            latents: L.
            config: for its rates.
            spans: as for the picture; SPANS holds the sound that they determine fully.
        """
        with_spans = tuple(sound_of_frames(start, stop, config) for start, stop in spans)
        held = {GIVEN: ((0, latents),), SPANS: with_spans}.get(self.audio, ())
        return _mask(latents, held)[None, None]


def sound_of_frames(start: int, stop: int, config: UniTalkingConfig) -> tuple[int, int]:
    """The audio latents [first, last) that video latent frames [start, stop) determine fully."""
    rates = (config.fps, config.sample_rate, config.samples_per_latent)
    first, last = (timeline.frames_of(frames, config.time_stride) for frames in (start, stop))
    return timeline.audio_latents(first, *rates), timeline.audio_latents_within(last, *rates)


TASKS = {
    task.name: task
    for task in (
        Task("t2av"),
        Task("ti2av", video=FIRST_FRAME),
        Task("tr2av", has_reference=True),
        Task("tv2a", video=GIVEN),
        Task("a2v", audio=GIVEN),
        Task("infill", video=SPANS, audio=SPANS),
        Task("tts", video=ABSENT),
        Task("t2v", audio=ABSENT),
    )
}


def _mask(length: int, held: Spans) -> Tensor:
    mask = torch.ones(length)
    for start, stop in held:
        mask[start:stop] = 0
    return mask


def _rows(table: Tensor) -> Rows:
    return tuple(tuple(row) for row in table.tolist())
