"""What is drawn for a sample: its task, noise levels and dropped conditions. Pure functions of a generator.

Source: the paper names the tasks and guidance over text, image and audio conditions; distributions and rates are ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from torch import Tensor

from ..flow import shift_sigma
from ..tasks import TASKS, Task
from .settings import require

Layout = tuple[bool, bool, bool]
GOLDEN = 0.6180339887498949
AUDIO_SIGMA = ("same", "own", "leads")
SIGMA_KINDS = ("uniform", "logit_normal")


def generator(seed: int, index: int, sample: int) -> torch.Generator:
    """Random numbers of one sample: a function of the run's seed, the batch and the place in the whole batch."""
    digest = hashlib.blake2b(f"{seed}/{index}/{sample}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def uniform(random: torch.Generator) -> float:
    """One number in [0, 1)."""
    return float(torch.rand((), generator=random, dtype=torch.float64))


@dataclass(frozen=True)
class TaskShare:
    """How often a task is trained.

    Attributes:
        weight: relative to the other tasks'.
        reference: how often its samples are given a voice; None: always where the task is about one, else never.
        latent_frames: only the first so many of a clip's, 1 for its first picture; 0: all. For pictures alone (t2v).
    """

    weight: float = 0.0
    reference: float | None = None
    latent_frames: int = 0

    def __post_init__(self) -> None:
        require(self.weight >= 0, "tasks: weight", self.weight, "at least 0")
        given = 0.0 if self.reference is None else self.reference
        require(0 <= given <= 1, "tasks: reference", self.reference, "a share of the samples, 0 to 1")
        require(self.latent_frames >= 0, "tasks: latent_frames", self.latent_frames, "at least 0")


@dataclass(frozen=True)
class TaskMix:
    """The tasks of a stage. The paper's second stage has t2av, tv2a, ti2av and tr2av in rotation, its first tts."""

    t2av: TaskShare = field(default_factory=TaskShare)
    ti2av: TaskShare = field(default_factory=TaskShare)
    tr2av: TaskShare = field(default_factory=TaskShare)
    tv2a: TaskShare = field(default_factory=TaskShare)
    a2v: TaskShare = field(default_factory=TaskShare)
    infill: TaskShare = field(default_factory=TaskShare)
    tts: TaskShare = field(default_factory=TaskShare)
    t2v: TaskShare = field(default_factory=TaskShare)

    def __post_init__(self) -> None:
        require(bool(self.active()), "tasks", "no task with a weight", "at least one")
        cut = [each.name for each in fields(self) if getattr(self, each.name).latent_frames and each.name != "t2v"]
        require(not cut, "tasks: latent_frames", cut, "for t2v only: the sound of a first picture is none")

    def active(self) -> dict[str, TaskShare]:
        """The tasks that are trained."""
        shares = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: share for name, share in shares.items() if share.weight > 0}

    def tasks_of(self, index: int, sizes: int, seed: int) -> list[Task]:
        """The tasks of the samples of micro-batch `index`.

        Whether there is a picture, a sound and a mask must be the same in a batch: it comes in rotation, at the golden
        ratio, which keeps every stretch of steps close to the weights. Tasks that agree in that are drawn per sample.
        """
        shares = self.active()
        first = _pick({name: share.weight for name, share in shares.items()}, (0.5 + index * GOLDEN) % 1.0)
        layout = TASKS[first].layout
        mixable = {name: share.weight for name, share in shares.items() if TASKS[name].layout == layout}
        draws = (uniform(generator(seed, index, -1 - sample)) for sample in range(sizes))
        return [TASKS[_pick(mixable, draw)] for draw in draws]

    def gives_reference(self, task: Task, random: torch.Generator) -> bool:
        """Whether a sample of `task` is given a voice."""
        share = getattr(self, task.name).reference
        return uniform(random) < (float(task.has_reference) if share is None else share)


@dataclass(frozen=True)
class SigmaSettings:
    """How noise levels are drawn. Ours, the paper does not say.

    Attributes:
        kind: "uniform", or "logit_normal": the logistic function of a normal number.
        mean, std: of that normal number.
        uniform_share: how often a sample of "logit_normal" is drawn uniformly, so that the ends are seen.
        shift: applied to every sigma, as in sampling; 0: the model's own sampling shift.
        audio: the sound's sigma: "same" as the picture's, its "own" draw, or "leads": for `leading_share` of the
            samples a uniform fraction of the picture's, so that the picture learns to follow a cleaner sound.
    """

    kind: str = "uniform"
    mean: float = 0.0
    std: float = 1.0
    uniform_share: float = 0.0
    shift: float = 0.0
    audio: str = "same"
    leading_share: float = 0.3

    def __post_init__(self) -> None:
        require(self.kind in SIGMA_KINDS, "sigma.kind", self.kind, " or ".join(SIGMA_KINDS))
        require(self.audio in AUDIO_SIGMA, "sigma.audio", self.audio, " or ".join(AUDIO_SIGMA))
        require(self.std > 0, "sigma.std", self.std, "a number above 0")
        require(self.shift >= 0, "sigma.shift", self.shift, "at least 0")
        for name in ("uniform_share", "leading_share"):
            require(0 <= getattr(self, name) <= 1, f"sigma.{name}", getattr(self, name), "a share of the samples")

    def draw(self, random: torch.Generator, sampling_shift: float) -> tuple[float, float]:
        """Sigma of the picture and of the sound of one sample, in (0, 1]."""
        shift = self.shift or sampling_shift
        video, own = (self._one(random, shift) for _ in range(2))
        share, fraction = uniform(random), uniform(random)
        if self.audio == "own":
            return video, own
        leads = self.audio == "leads" and share < self.leading_share
        return video, video * fraction if leads else video

    def _one(self, random: torch.Generator, shift: float) -> float:
        flat = 1.0 - torch.rand((), generator=random, dtype=torch.float64)
        normal = torch.randn((), generator=random, dtype=torch.float64)
        is_flat = self.kind == "uniform" or uniform(random) < self.uniform_share
        return float(shift_sigma(flat if is_flat else torch.sigmoid(self.mean + self.std * normal), shift))


@dataclass(frozen=True)
class DropSettings:
    """How often conditions are left out, so that guidance has what it needs: shares of the samples, disjoint.

    Attributes:
        text: the text alone.
        reference: the voice alone.
        both: text and voice.
    """

    text: float = 0.05
    reference: float = 0.1
    both: float = 0.05

    def __post_init__(self) -> None:
        shares = (self.text, self.reference, self.both)
        fits = all(share >= 0 for share in shares) and sum(shares) <= 1
        require(fits, "drop: text, reference, both", shares, "shares of the samples that sum to at most 1")

    def draw(self, random: torch.Generator) -> Kept:
        """What of one sample's conditions is kept."""
        place = uniform(random)
        no_text = place < self.text + self.both
        no_reference = self.text <= place < self.text + self.both + self.reference
        return Kept(text=not no_text, reference=not no_reference)


class Kept(NamedTuple):
    """Whether a sample keeps its text and its voice."""

    text: bool
    reference: bool


@dataclass(frozen=True)
class SpanSettings:
    """What masked infilling holds clean.

    Attributes:
        longest: of a held stretch, as a share of the clip's latent frames.
        prefix_share: how often it is the clip's start (continuation) rather than anywhere.
    """

    longest: float = 0.6
    prefix_share: float = 0.5

    def __post_init__(self) -> None:
        require(0 < self.longest < 1, "spans.longest", self.longest, "a share of the clip between 0 and 1")
        require(0 <= self.prefix_share <= 1, "spans.prefix_share", self.prefix_share, "a share of the samples")

    def draw(self, random: torch.Generator, frames: int) -> tuple[tuple[int, int], ...]:
        """One held stretch of a clip of `frames` latent frames, none of one frame."""
        if frames < 2:
            return ()
        most = max(1, min(frames - 1, int(self.longest * frames)))
        length = 1 + int(uniform(random) * most)
        is_prefix, place = uniform(random) < self.prefix_share, uniform(random)
        start = 0 if is_prefix else int(place * (frames - length + 1))
        return ((start, start + length),)


@dataclass(frozen=True)
class ReferenceSettings:
    """How a voice reference is cut up, so that its words are no use and its voice is. Ours, the paper does not say.

    Attributes:
        whole_share: how often it is given as it is, as in inference.
        pieces: otherwise it is joined from up to so many stretches, of any of the voice's recordings.
        shortest: of a stretch, in audio latents.
    """

    whole_share: float = 1.0
    pieces: int = 3
    shortest: int = 16

    def __post_init__(self) -> None:
        require(0 <= self.whole_share <= 1, "references.whole_share", self.whole_share, "a share of the samples")
        require(self.pieces >= 1, "references.pieces", self.pieces, "at least 1")
        require(self.shortest >= 1, "references.shortest", self.shortest, "at least 1")

    def cut(self, recordings: Sequence[Tensor], room: int, random: torch.Generator) -> Tensor:
        """A reference of at most `room` latents from recordings of a voice, each (C, n); the first is the whole one."""
        if self.whole_share == 1 or uniform(random) < self.whole_share:
            return recordings[0]
        stretches = [self._stretch(recordings, random) for _ in range(1 + int(uniform(random) * self.pieces))]
        return torch.cat(stretches, dim=1)[:, :room]

    def _stretch(self, recordings: Sequence[Tensor], random: torch.Generator) -> Tensor:
        recording = recordings[int(uniform(random) * len(recordings))]
        latents = recording.shape[1]
        least = min(self.shortest, latents)
        length = least + int(uniform(random) * (latents - least + 1))
        start = int(uniform(random) * (latents - length + 1))
        return recording[:, start : start + length]


@dataclass(frozen=True)
class ClockSettings:
    """How far the text's clock is off where the whole picture is given. Ours, the paper does not say.

    A recording tells when its speech begins and ends. Who dubs a film can only guess, so that a network which was
    always told exactly follows the guess, not the lips.

    Attributes:
        off_share: how often the clock is off.
        shift_s: of the whole speech, at most, in seconds.
        stretch: of its length, at most, as a share of it.
    """

    off_share: float = 0.0
    shift_s: float = 0.25
    stretch: float = 0.15

    def __post_init__(self) -> None:
        require(0 <= self.off_share <= 1, "clock.off_share", self.off_share, "a share of the samples")
        require(self.shift_s >= 0, "clock.shift_s", self.shift_s, "at least 0 seconds")
        require(0 <= self.stretch < 1, "clock.stretch", self.stretch, "a share of the speech, below 1")

    def draw(self, spoken: tuple[float, float], random: torch.Generator) -> tuple[float, float]:
        """When the speech is told to begin and end, in seconds; it begins no earlier than at 0."""
        place, shift, stretch = (uniform(random) for _ in range(3))
        if place >= self.off_share:
            return spoken
        begin, end = spoken
        begins = max(begin + self.shift_s * (2 * shift - 1), 0.0)
        return begins, begins + (end - begin) * (1 + self.stretch * (2 * stretch - 1))


def _pick(weights: dict[str, float], place: float) -> str:
    """The name whose stretch of the weights holds `place` in [0, 1)."""
    left = place * sum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return next(reversed(weights))
