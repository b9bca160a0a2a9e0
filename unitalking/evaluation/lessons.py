"""Real synthetic speech for the judges to learn from, and the loop that trains them.

Speech is made once and kept as mel frames; every time it is heard it is distorted anew. A batch is a function of (seed,
step) alone. B clips, M mel bands, F mel frames.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..synthetic.clips import SyntheticClips
from ..synthetic.phonemes import phoneme_number
from ..synthetic.speech import Speech
from ..training.processes import fastest_precision
from .sound import FRAMES_PER_S, SAMPLE_RATE, distorted, features

log = logging.getLogger(__name__)

WARM_UP = 0.1
WEIGHT_DECAY = 0.02
CLIP_NORM = 1.0
LOG_EVERY = 50


@dataclass(frozen=True)
class Course:
    """How long and how fast a judge learns.

    Attributes:
        steps: optimiser steps.
        batch: clips per step.
        rate: largest learning rate; it rises for a tenth of the steps, then falls to 0 along a cosine.
        seed: of weights, order and distortions.
    """

    steps: int
    batch: int
    rate: float
    seed: int = 0


@dataclass(frozen=True)
class Recording:
    """One clip's sound as a judge learns from it.

    Attributes:
        mel: (M, F) features in fp16, undistorted.
        phonemes: numbers in order, pauses left out.
        frames: (F,) number of the phoneme in every mel frame, 0 in pauses.
        speaker: the voice's name.
        speech: the utterance itself, without its samples.
    """

    mel: Tensor
    phonemes: tuple[int, ...]
    frames: Tensor
    speaker: str
    speech: Speech


def record(clips: SyntheticClips, chosen: Iterable[int]) -> list[Recording]:
    """The chosen clips' sound."""
    found = []
    for index in chosen:
        speech = clips.speech(index)
        mel = features(speech.samples[None])[0]
        found.append(
            Recording(
                mel.to(torch.float16),
                tuple(spoken(speech)),
                frame_phonemes(speech, mel.shape[1]),
                clips.spec(index).speaker,
                speech.lasting(0),
            )
        )
    return found


def heard(recordings: Sequence[Recording], random: torch.Generator, warp: float) -> Tensor:
    """Distorted features of several clips, filled up with silence to the longest; (B, M, F)."""
    mel = nn.utils.rnn.pad_sequence([each.mel.T for each in recordings], batch_first=True).transpose(1, 2)
    return distorted(mel.float(), random, warp)


def choose(recordings: Sequence[Recording], course: Course, step: int) -> list[Recording]:
    """The clips of a step: every clip comes once before any comes again, each time in another order."""
    first = step * course.batch
    orders: dict[int, Tensor] = {}
    chosen = []
    for place in range(first, first + course.batch):
        epoch, index = divmod(place, len(recordings))
        if epoch not in orders:
            orders[epoch] = torch.randperm(len(recordings), generator=generator(course.seed, epoch, 1))
        chosen.append(recordings[int(orders[epoch][index])])
    return chosen


def spoken(speech: Speech) -> list[int]:
    """The numbers of a clip's phonemes in order."""
    numbers = (phoneme_number(symbol) for _, symbol in speech.phonemes)
    return [number for number in numbers if number is not None]


def frame_phonemes(speech: Speech, frames: int) -> Tensor:
    """The phoneme in every mel frame, 0 in pauses; (F,)."""
    labels = torch.zeros(frames, dtype=torch.long)
    starts = [start for start, _ in speech.phonemes] + [len(speech.samples) / SAMPLE_RATE]
    for (start, symbol), end in zip(speech.phonemes, starts[1:], strict=True):
        first, after = (max(0, math.ceil(moment * FRAMES_PER_S - 0.5)) for moment in (start, end))
        labels[first:after] = phoneme_number(symbol) or 0
    return labels


def generator(*numbers: int) -> torch.Generator:
    """Chance that depends on these numbers alone."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number + 0x7F4A7C15)) * 0xBF58476D1CE4E5B9 % 2**63
    return torch.Generator().manual_seed(state)


def autocast() -> torch.autocast:
    """bfloat16 where the processor multiplies it faster than float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=fastest_precision(cpu=True) == "bf16")


def learn(
    name: str,
    module: nn.Module,
    loss_of: Callable[[int], Tensor],
    course: Course,
    check: Callable[[], str] | None = None,
    check_every: int = 0,
) -> float:
    """Trains `module` by AdamW; `loss_of(step)` makes the batch of a step and returns its mean loss.

    Returns:
        seconds that it took.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=course.rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, course.rate, total_steps=course.steps, pct_start=WARM_UP)
    started, smooth = time.monotonic(), None
    module.train()
    for step in range(course.steps):
        loss = loss_of(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimiser.step()
        schedule.step()
        value = loss.item()
        smooth = value if smooth is None else 0.95 * smooth + 0.05 * value
        if step % LOG_EVERY == LOG_EVERY - 1 or step + 1 == course.steps:
            seconds = time.monotonic() - started
            log.info("%s %d/%d loss %.3f, %.2f s a step", name, step + 1, course.steps, smooth, seconds / (step + 1))
        if check is not None and check_every and step % check_every == check_every - 1:
            module.eval()
            log.info("%s %d: %s", name, step + 1, check())
            module.train()
    module.eval()
    return time.monotonic() - started
