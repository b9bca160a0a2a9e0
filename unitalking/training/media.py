"""Pictures and sound of sample clips into files that a person can look at."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..timeline import rational

CRF = "16"
SHEET_COLUMNS = 12


def as_pictures(frames: Tensor) -> np.ndarray:
    """Frames (3, F, H, W) in [-1, 1] as (F, H, W, 3) bytes."""
    scaled = ((frames.float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.permute(1, 2, 3, 0).to(torch.uint8).cpu().numpy()


def write_mp4(path: Path, pictures: np.ndarray | None, samples: Tensor | None, fps: float, sample_rate: int) -> None:
    """Writes H.264 and AAC.

    Args:
        path: where to.
        pictures: (F, H, W, 3) bytes with even sides, or None.
        samples: (S,) in [-1, 1], or None.
        fps: pictures per second.
        sample_rate: Hz.
    """
    with av.open(str(path), "w") as file:
        video = sound = None
        if pictures is not None:
            rate = rational(fps)
            video = file.add_stream("libx264", rate=Fraction(rate), options={"crf": CRF})
            video.height, video.width = pictures.shape[1:3]
            video.pix_fmt = "yuv420p"
        if samples is not None:
            sound = file.add_stream("aac", rate=sample_rate, layout="mono")
        for picture in () if pictures is None else pictures:
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        if sound is not None:
            _mux_sound(file, sound, samples, sample_rate)
        for stream in (video, sound):
            if stream is not None:
                file.mux(stream.encode(None))


def _mux_sound(file: av.container.OutputContainer, stream: av.AudioStream, samples: Tensor, rate: int) -> None:
    data = samples.detach().float().clamp(-1, 1).cpu().numpy()
    block = stream.codec_context.frame_size or 1024
    for start in range(0, len(data), block):
        frame = av.AudioFrame.from_ndarray(data[None, start : start + block], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        file.mux(stream.encode(frame))


def contact_sheet(rows: list[np.ndarray]) -> Image.Image:
    """Clips (F, H, W, 3) of one size below each other, frames of each evenly from first to last."""
    strips = []
    for pictures in rows:
        places = np.linspace(0, len(pictures) - 1, SHEET_COLUMNS).round().astype(int)
        strips.append(np.concatenate(list(pictures[places]), axis=1))
    return Image.fromarray(np.concatenate(strips, axis=0))
