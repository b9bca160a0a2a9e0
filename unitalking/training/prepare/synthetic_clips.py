"""The synthetic data as a source of clips: `synthetic:clips=1000,seed=0,split=train`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ...config import UniTalkingConfig
from ...mapping import from_mapping
from ...synthetic import SyntheticClips, SyntheticConfig
from ..dataset import DataError
from ..draws import generator, uniform
from .clips import RawClip, ReadSettings, fit_clip, reference_waveform, whole_clip
from .sources import SYNTHETIC, ClipSource, Row

# With a portrait nobody has to describe the face. To speech alone it says nothing, and the longest text of a batch
# decides what its texts cost: 48 clips of speech took 6.7 s a step where every seventh had a scene.
SCENE_LEFT_OUT = {False: 0.3, True: 1.0}
SOUND_LEFT_OUT = 0.4


@lru_cache(maxsize=1)
def open_synthetic(source: str) -> SyntheticClips:
    """The data set of `synthetic:NAME=VALUE,...`, the fields of `SyntheticConfig`.

    Raises:
        DataError: a setting that it does not have.
    """
    settings: dict[str, Any] = {}
    for part in filter(None, source.removeprefix(SYNTHETIC).split(",")):
        name, _, value = part.partition("=")
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value.strip()
    try:
        return SyntheticClips(from_mapping(SyntheticConfig, settings, source))
    except (ValueError, TypeError) as error:
        raise DataError(str(error)) from error


class SyntheticReader:
    """Makes the clips of the synthetic data for a model with these rates."""

    def __init__(self, source: str, config: UniTalkingConfig, settings: ReadSettings) -> None:
        self.clips, self.config, self.settings = open_synthetic(source), config, settings
        made = self.clips.config
        if (made.fps, made.sample_rate) != (config.fps, config.sample_rate):
            raise DataError(
                f"{source}: makes {made.fps} pictures and {made.sample_rate} samples per second, the model takes "
                f"{config.fps} and {config.sample_rate}: add fps={config.fps},sample_rate={config.sample_rate}."
            )
        if not settings.audio_only and (made.size, made.size) not in settings.sizes:
            raise DataError(
                f"{source}: makes pictures of {made.size}x{made.size}: give --size {made.size}x{made.size}."
            )

    def read(self, source: ClipSource) -> Iterator[RawClip]:
        """Clip number `source.synthetic`."""
        number = source.synthetic
        spec = self.clips.spec(number)
        references = tuple(
            reference_waveform(self.clips.reference(number, k)[None], self.config.sample_rate, self.config)
            for k in range(self.settings.references)
        )
        frames = None
        if self.settings.audio_only:
            made = self.clips.speech(number)
        else:
            made = self.clips.clip(number)
            frames = made.frames[: whole_clip(len(made.frames), self.config.time_stride)]
        scene, sound = given_texts(self.clips.config.seed, number, spec.scene, spec.sound, self.settings.audio_only)
        row = Row(speech=spec.speech, scene=scene, sound=sound, speaker=spec.speaker)
        spoken = (made.start_s, made.end_s)
        clip = RawClip(source.key, source.name, frames, made.samples, references, row, spoken)
        yield fit_clip(clip, self.config, self.settings)


def given_texts(seed: int, number: int, scene: str, sound: str, audio_only: bool) -> tuple[str, str]:
    """Scene and sound of clip `number`, each left out of a share of the clips, as people leave them out of prompts."""
    random = generator(seed, number, 0)
    scene = "" if uniform(random) < SCENE_LEFT_OUT[audio_only] else scene
    return scene, "" if uniform(random) < SOUND_LEFT_OUT else sound
