"""A set of clips as a folder of tar shards (webdataset's form), the same bytes with any number of workers.

A clip is three members of a shard: `NUMBER.mkv` (pictures, lossless H.264), `NUMBER.wav` (16 bit) and `NUMBER.json`
(texts, captions, times of phonemes and words, openness of the mouth per frame).
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import tarfile
import wave
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
import torch

from .clips import Clip, SyntheticClips, SyntheticConfig

SHARD_CLIPS = 256
# Raise this when the same config gives other clips than before.
VERSION = 1
_CONFIG = "config.json"


class DatasetError(Exception):
    """The folder holds something else than what is asked for."""


@dataclass(frozen=True)
class _Shard:
    """The clips from `first` on, `count` of them."""

    config: SyntheticConfig
    path: Path
    first: int
    count: int


def write_shards(
    folder: Path, config: SyntheticConfig, workers: int, shard_clips: int = SHARD_CLIPS
) -> Iterator[tuple[int, int]]:
    """Writes every shard that is not there yet; one that was written to its end is kept.

    Args:
        folder: made if missing.
        config: of the clips.
        workers: processes, at least 1.
        shard_clips: clips per shard.

    Yields:
        clips done and clips in all, after each shard.

    Raises:
        DatasetError: the folder holds the clips of another config.
        ValueError: `workers` or `shard_clips` below 1.
    """
    if workers < 1 or shard_clips < 1:
        raise ValueError(f"workers, shard_clips: got {workers} and {shard_clips}, expected at least 1.")
    _claim(folder, config, shard_clips)
    shards = [
        _Shard(config, folder / f"clips-{number:06d}.tar", first, min(shard_clips, config.clips - first))
        for number, first in enumerate(range(0, config.clips, shard_clips))
    ]
    missing = [shard for shard in shards if not shard.path.exists()]
    done = config.clips - sum(shard.count for shard in missing)
    yield done, config.clips
    with contextlib.ExitStack() as stack:
        if workers == 1:
            counts = map(_write_shard, missing)
        else:
            # Fresh processes: forking one that runs torch's threads may hang.
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers, torch.set_num_threads, (1,)))
            counts = pool.imap_unordered(_write_shard, missing)
        for count in counts:
            done += count
            yield done, config.clips


def encoded(clip: Clip, fps: int) -> dict[str, bytes]:
    """The files of a clip by their endings."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(clip.sample_rate)
        file.writeframes((clip.samples.numpy() * 32768).astype("<i2").tobytes())
    about = {
        "speech": clip.speech,
        "scene": clip.scene,
        "sound": clip.sound,
        "speaker": clip.speaker,
        "identity": clip.identity,
        "attributes": clip.attributes,
        "fps": fps,
        "frames": len(clip.frames),
        "sample_rate": clip.sample_rate,
        "start_s": round(clip.start_s, 5),
        "end_s": round(clip.end_s, 5),
        "mouth_box": clip.mouth_box,
        "phonemes": [(round(start, 5), symbol) for start, symbol in clip.phonemes],
        "words": [(round(start, 5), round(end, 5), word) for start, end, word in clip.words],
        "openness": [round(value, 4) for value in clip.openness.tolist()],
    }
    return {
        "json": json.dumps(about, ensure_ascii=False).encode(),
        "mkv": _lossless(clip.frames.numpy(), fps),
        "wav": sound.getvalue(),
    }


def _lossless(frames: np.ndarray, fps: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264rgb", rate=fps, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def _write_shard(shard: _Shard) -> int:
    clips = SyntheticClips(shard.config)
    unfinished = shard.path.with_suffix(".part")
    with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as file:
        for number in range(shard.first, shard.first + shard.count):
            for ending, data in encoded(clips.clip(number), shard.config.fps).items():
                member = tarfile.TarInfo(f"{number:08d}.{ending}")
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
    unfinished.replace(shard.path)
    return shard.count


def _claim(folder: Path, config: SyntheticConfig, shard_clips: int) -> None:
    """Writes down what the folder is, or finds it to be the same."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": VERSION, "shard_clips": shard_clips, **asdict(config)}, indent=2) + "\n"
    path = folder / _CONFIG
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise DatasetError(
            f"{folder} holds the clips of another config ({path}). Give another folder, or empty this one."
        )
    path.write_text(text, encoding="utf-8")
