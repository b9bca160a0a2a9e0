"""Sample clips during a run: first clips of the data set, spoken and drawn anew by the model as it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
from torch import Tensor, nn

from ..checkpoint.parts import build_part
from ..config import UniTalkingConfig
from ..guidance import Guidance
from ..tasks import TASKS
from ..timeline import samples_kept
from .draws import DropSettings, SigmaSettings, SpanSettings, TaskMix, TaskShare
from .flow_batches import Draws, FlowBatch, FlowBatches
from .generate import generate
from .media import as_pictures, contact_sheet, write_mp4
from .settings import require
from .shards import Shards
from .start import Start

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreviewSettings:
    """Sample clips; how often is `trainer.sample_every`.

    Attributes:
        clips: how many.
        task: of `tasks`: what is given of the clip.
        steps: of the solver.
        guidance: of picture, sound and voice.
        seed: of the noise and of the choice of clips.
    """

    clips: int = 4
    task: str = "ti2av"
    steps: int = 16
    guidance: float = 2.5
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.clips >= 1, "previews.clips", self.clips, "at least 1")
        require(self.steps >= 1, "previews.steps", self.steps, "at least 1")
        require(self.task in TASKS, "previews.task", self.task, ", ".join(TASKS))


class Previews:
    """Writes `samples/step-N/`: an MP4 of every clip with its prompt, and a contact sheet, generated above real.

    Without codecs in the model the latents are written instead.
    """

    def __init__(self, settings: PreviewSettings, folder: Path, start: Start, shards: Shards) -> None:
        self.settings, self.folder, self.config = settings, folder, start.config
        self.statistics = start.statistics
        self.parts = {part: _build(start.config, part, weights) for part, weights in start.codecs.items()}
        nothing_dropped = DropSettings(0, 0, 0)
        share = {settings.task: TaskShare(1.0, 1.0)}
        draws = Draws(TaskMix(**share), SigmaSettings(), nothing_dropped, SpanSettings())
        self.batches = FlowBatches(shards, start.config, start.statistics, draws, settings.clips, settings.seed)
        without_text = Draws(TaskMix(**share), SigmaSettings(), DropSettings(1, 0, 0), SpanSettings())
        self.empty = FlowBatches(shards, start.config, start.statistics, without_text, settings.clips, settings.seed)
        self.shards = shards

    def __call__(self, step: int, trainer: object) -> None:
        """Makes the clips of a step."""
        from accelerate.utils import send_to_device

        device = trainer.accelerator.device
        batch = send_to_device(self.batches.batch(0, 0, 1), device)
        empty = send_to_device(self.empty.batch(0, 0, 1).text, device)
        strength = self.settings.guidance
        with trainer.accelerator.autocast():
            made = generate(
                trainer.inner,
                batch,
                empty,
                Guidance(strength, strength),
                self.settings.steps,
                self.config.sampling.sigma_shift,
            )
        if trainer.accelerator.is_main_process:
            self._write(self.folder / f"step-{step:08d}", batch, made)

    def _write(self, folder: Path, batch: FlowBatch, made: tuple[Tensor | None, Tensor | None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        prompts = [self.shards.read(self.shards.keys.index(key)).prompt for key in batch.keys]
        (folder / "prompts.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
        restored = [
            None if part is None else statistics.restore(part.cpu())
            for part, statistics in zip(made, self.statistics, strict=True)
        ]
        if not self.parts:
            tensors = {name: part for name, part in zip(("video", "audio"), restored, strict=True) if part is not None}
            safetensors.torch.save_file(tensors, folder / "latents.safetensors")
            return
        pictures, sounds = self._pictures(restored[0]), self._sounds(restored[1])
        for place in range(len(batch.keys)):
            frames = None if pictures is None else pictures[place]
            sound = None if sounds is None else sounds[place]
            if frames is not None and sound is not None:
                sound = sound[: samples_kept(len(frames), self.config.fps, self.config.sample_rate)]
            path = folder / f"{place}.mp4"
            write_mp4(path, frames, sound, self.config.fps, self.config.sample_rate)
        if pictures is not None:
            real = self._pictures(self.statistics[0].restore(batch.video.data.cpu()))
            rows = [clip for pair in zip(pictures, real, strict=True) for clip in pair]
            contact_sheet(rows).save(folder / "sheet.png")
        log.info("wrote sample clips to %s", folder)

    def _pictures(self, latents: Tensor | None) -> list[np.ndarray] | None:
        if latents is None or "video_vae" not in self.parts:
            return None
        return [as_pictures(frames) for frames in self.parts["video_vae"].decode(latents)]

    def _sounds(self, latents: Tensor | None) -> Tensor | None:
        return None if latents is None or "audio_vae" not in self.parts else self.parts["audio_vae"].decode(latents)


def _build(config: UniTalkingConfig, part: str, weights: dict[str, Tensor]) -> nn.Module:
    module = build_part(config, part)
    module.load_state_dict({name: value.float() for name, value in weights.items()})
    return module.eval().requires_grad_(False)
