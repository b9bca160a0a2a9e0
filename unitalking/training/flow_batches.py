"""Batches for flow matching: cached clips, with all that is drawn for them.

Axes: B clips of this process, C channels, F latent frames, h w latent cells, L audio latents, R runs of equal factor,
N bytes of text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..codec.text_encoder import PAD_ID, expected_times, tokenize
from ..config import UniTalkingConfig
from ..flow import interpolate
from ..latents import LatentStatistics
from ..prompt import silent_prompt
from ..tasks import GIVEN, TASKS, Rows, Task, factor_runs, held_tokens
from ..voice import fill_reference
from .draws import (
    ClockSettings,
    DropSettings,
    Layout,
    ReferenceSettings,
    SigmaSettings,
    SpanSettings,
    TaskMix,
    generator,
    uniform,
)
from .plan import Plan
from .settings import TrainingError
from .shards import CachedClip, Shards


class StreamBatch(NamedTuple):
    """One stream of a batch.

    Attributes:
        data: clean latent, normalised: video (B, C, F, h, w), audio (B, C, L).
        noise: standard normal, shape of `data`.
        sigma: (B,).
        factor: share of sigma that each run of latents has, (B, R): 1 generated, 0 held.
        lengths: latent frames, or audio latents, of each run.
    """

    data: Tensor
    noise: Tensor
    sigma: Tensor
    factor: Tensor
    lengths: tuple[int, ...]

    @property
    def levels(self) -> Tensor:
        """Noise level of each run, (B, R)."""
        return self.factor * self.sigma[:, None]

    @property
    def noisy(self) -> Tensor:
        """What the network is given, shape of `data`."""
        return interpolate(self.data, self.noise, self.per_latent(self.levels))

    @property
    def generated(self) -> Tensor:
        """Whether a latent is generated, (B, F or L)."""
        return self.per_latent(self.factor != 0).flatten(1)

    def per_latent(self, of_runs: Tensor) -> Tensor:
        """A value of each run (B, R) for each latent, shaped to multiply `data`: (B, 1, F or L, ...)."""
        parts = of_runs.split(1, dim=1)
        entries = torch.cat([part.expand(-1, length) for part, length in zip(parts, self.lengths, strict=True)], dim=1)
        return entries.reshape(entries.shape[0], 1, -1, *[1] * (self.data.ndim - 3))


class TextBatch(NamedTuple):
    """What is said and seen: bytes, their expected times (B, N), and when the speech of the recording begins and ends
    (B, 2) for the text encoder of a bundle, or the cached output of another (B, rows, text_dim)."""

    ids: Tensor | None = None
    times: Tensor | None = None
    spoken: Tensor | None = None
    context: Tensor | None = None


class FlowBatch(NamedTuple):
    """What `FlowObjective` takes.

    Attributes:
        keys: names of the clips.
        tasks: names of their tasks.
        video, audio: the streams; None where the tasks have none.
        video_sees_audio: off for TV2A.
        text: of every clip, that of the empty prompt where it is dropped.
        reference: voice, normalised and filled, (B, C, reference_tokens); None: the model takes none.
        voice_present: 1 or 0, (B,).
    """

    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    video: StreamBatch | None
    audio: StreamBatch | None
    video_sees_audio: bool
    text: TextBatch
    reference: Tensor | None
    voice_present: Tensor | None


@dataclass(frozen=True)
class Draws:
    """Everything that is drawn for a batch."""

    tasks: TaskMix
    sigma: SigmaSettings
    drop: DropSettings
    spans: SpanSettings
    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)


class _Sample(NamedTuple):
    clip: CachedClip
    task: Task
    masks: tuple[Tensor, Tensor]
    data: tuple[Tensor | None, Tensor | None]
    noise: tuple[Tensor | None, Tensor | None]
    sigma: tuple[float, float]
    prompt: str
    spoken: tuple[float, float]
    reference: Tensor | None


class FlowBatches:
    """Batches of a cached data set (`objective.Batches`).

    Args:
        shards: the data set.
        config: of the model that is trained.
        statistics: of its video and audio latents.
        draws: tasks and distributions.
        samples: of a micro-batch over all processes.
        seed: of the run.

    Raises:
        TrainingError: data of other latents than the model's, or none that the tasks can use.
    """

    def __init__(
        self,
        shards: Shards,
        config: UniTalkingConfig,
        statistics: tuple[LatentStatistics, LatentStatistics],
        draws: Draws,
        samples: int,
        seed: int,
    ) -> None:
        self.shards, self.config, self.statistics = shards, config, statistics
        self.draws, self.samples, self.seed = draws, samples, seed
        table = shards.table
        self._check_texts()
        self.plans = {TASKS[name].layout: self._plan(TASKS[name].layout) for name in draws.tasks.active()}
        self.of_speaker = _by_speaker(table.speaker, table.audio_latents > 0)

    def batch(self, index: int, rank: int, ranks: int) -> FlowBatch:
        """The share of process `rank` of `ranks` in micro-batch `index`."""
        tasks = self.draws.tasks.tasks_of(index, self.samples, self.seed)
        usable, plan = self.plans[tasks[0].layout]
        positions = usable[plan.clips(index)]
        mine = range(rank * self.samples // ranks, (rank + 1) * self.samples // ranks)
        samples = [self._sample(index, place, int(positions[place]), tasks[place]) for place in mine]
        has_picture, has_sound, _ = tasks[0].layout
        factors = held_tokens([torch.cat([sample.masks[stream] for sample in samples]) for stream in (0, 1)])
        return FlowBatch(
            keys=tuple(sample.clip.key for sample in samples),
            tasks=tuple(sample.task.name for sample in samples),
            video=self._stream(0, samples, factors.video) if has_picture else None,
            audio=self._stream(1, samples, factors.audio) if has_sound else None,
            video_sees_audio=factors.video_sees_audio,
            text=self._text(samples),
            **self._voice(samples),
        )

    def _sample(self, index: int, place: int, position: int, task: Task) -> _Sample:
        random = generator(self.seed, index, place)
        draws, clip = self.draws, self.shards.read(position)
        sigma = draws.sigma.draw(random, self.config.sampling.sigma_shift)
        kept = draws.drop.draw(random)
        wants_voice = draws.tasks.gives_reference(task, random)
        reference = self._reference(clip, position, random)
        shown = getattr(draws.tasks, task.name).latent_frames or None
        video = None if clip.video is None else clip.video[:, :shown]
        data = [part if used else None for part, used in zip((video, clip.audio), task.layout[:2], strict=True)]
        frames, latents = (0 if part is None else part.shape[1] for part in data)
        spans = draws.spans.draw(random, frames)
        noise = tuple(None if part is None else torch.randn(part.shape, generator=random) for part in data)
        spoken = clip.spoken or (math.nan, math.nan)
        return _Sample(
            clip=clip,
            task=task,
            masks=(task.video_mask(frames, spans), task.audio_mask(latents, self.config, spans)),
            data=tuple(data),
            noise=noise,
            sigma=sigma,
            prompt=self._prompt(clip, shown) if kept.text else "",
            spoken=draws.clock.draw(spoken, random) if task.video == GIVEN else spoken,
            reference=reference if wants_voice and kept.reference else None,
        )

    def _prompt(self, clip: CachedClip, shown: int | None) -> str:
        """What is said and seen; of a cut clip only what is seen, where texts are encoded here."""
        cut = shown is not None and self.config.text_encoder is not None
        return silent_prompt(clip.scene, self.config.prompt_style) if cut else clip.prompt

    def _reference(self, clip: CachedClip, position: int, random: torch.Generator) -> Tensor | None:
        """Latents of the same voice: of recordings that come with the clip, else of another clip of the speaker."""
        if not self.config.reference_tokens:
            return None
        place = uniform(random)
        recordings = clip.references
        if not recordings:
            others = self.of_speaker.get(int(self.shards.table.speaker[position]), np.zeros(0, dtype=int))
            others = others[others != position]
            if not len(others):
                return None
            recordings, place = (self.shards.read(int(others[int(place * len(others))])).audio,), 0.0
        first = int(place * len(recordings))
        return self.draws.references.cut(recordings[first:] + recordings[:first], self.config.reference_tokens, random)

    def _stream(self, stream: int, samples: Sequence[_Sample], factors: Rows) -> StreamBatch:
        data = torch.stack([sample.data[stream] for sample in samples]).float()
        runs = factor_runs(factors, len(factors[0]), len(samples))
        return StreamBatch(
            data=self.statistics[stream].normalise(data),
            noise=torch.stack([sample.noise[stream] for sample in samples]),
            sigma=torch.tensor([sample.sigma[stream] for sample in samples]),
            factor=runs.timestep,
            lengths=runs.lengths,
        )

    def _text(self, samples: Sequence[_Sample]) -> TextBatch:
        encoder = self.config.text_encoder
        if encoder is None:
            empty = self.shards.empty_context
            rows = [sample.clip.context if sample.prompt else empty for sample in samples]
            return TextBatch(context=pad_sequence([row.float() for row in rows], batch_first=True))
        longest = min(encoder["max_bytes"], self.config.text_len)
        ids = [torch.tensor(tokenize(sample.prompt, longest)[0]) for sample in samples]
        times = [torch.tensor(expected_times(sample.prompt, longest)) for sample in samples]
        return TextBatch(
            ids=pad_sequence(ids, batch_first=True, padding_value=PAD_ID),
            times=pad_sequence(times, batch_first=True),
            spoken=torch.tensor([sample.spoken for sample in samples]),
        )

    def _voice(self, samples: Sequence[_Sample]) -> dict[str, Tensor | None]:
        tokens = self.config.reference_tokens
        if not tokens:
            return {"reference": None, "voice_present": None}
        nobody = torch.zeros(self.config.audio_channels, tokens)
        normalise = self.statistics[1].normalise
        rows = [
            nobody if voice is None else fill_reference(normalise(voice[None].float()), tokens)[0]
            for voice in (sample.reference for sample in samples)
        ]
        present = torch.tensor([float(sample.reference is not None) for sample in samples])
        return {"reference": torch.stack(rows), "voice_present": present}

    def _check_texts(self) -> None:
        """Refuses a data set without what the model reads.

        Raises:
            TrainingError: no text embeddings, and no text encoder.
        """
        if self.config.text_encoder is None and self.shards.info.text_encoder is None:
            raise TrainingError(
                f"{self.shards.folder} has no cached text embeddings and the model no text encoder of its own: make "
                "the data set with --text-encoder."
            )

    def _plan(self, layout: Layout) -> tuple[np.ndarray, Plan]:
        """The clips that have what tasks of this layout need, and their order: of one size and length together.

        Raises:
            TrainingError: there is none.
        """
        has_picture, has_sound, _ = layout
        table, shown = self.shards.table, 0 if has_sound else self.draws.tasks.t2v.latent_frames
        frames = table.latent_frames.clip(max=shown) if shown else table.latent_frames
        columns = [frames, table.height, table.width] if has_picture else []
        columns += [table.audio_latents] if has_sound else []
        sizes = np.stack(columns, axis=1)
        usable = np.flatnonzero((sizes > 0).all(axis=1))
        texts = table.members[:, 1, 1]  # bytes of the texts
        return usable, Plan(sizes[usable], texts[usable], self.samples, self.seed)


def _by_speaker(speakers: np.ndarray, has_sound: np.ndarray) -> dict[int, np.ndarray]:
    """Clips with sound of every known speaker."""
    order = np.argsort(speakers, kind="stable")
    order = order[has_sound[order] & (speakers[order] >= 0)]
    names, starts = np.unique(speakers[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True)) if len(names) else {}
