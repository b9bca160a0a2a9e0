"""Video files of any length, rate and codec, as somebody brings them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor

RATE, BLOCK = 16000, 1024
LOSSLESS = ("ffv1", "pcm_s16le")
_FORMATS = {"ffv1": "bgr0", "mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}


def clip_file(
    path: Path,
    pictures: Sequence[Tensor],
    fps: Fraction,
    sound: Tensor | None = None,
    codecs: tuple[str, str] = LOSSLESS,
) -> Path:
    """Writes pictures (F, H, W, 3) and mono sound (S,) at 16 kHz."""
    with av.open(str(path), "w") as file:
        video = file.add_stream(codecs[0], rate=fps)
        video.pix_fmt = _FORMATS.get(codecs[0], "yuv420p")
        video.height, video.width = pictures[0].shape[:2]
        audio = None if sound is None else file.add_stream(codecs[1], rate=RATE, layout="mono")
        packets = []
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray((picture * 255).round().byte().numpy(), format="rgb24")
            frame = frame.reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = index, 1 / fps
            packets += video.encode(frame)
        packets += video.encode()
        if audio is not None:
            samples = (sound.numpy() * 32767).round().astype(np.int16)[None]
            for start in range(0, samples.shape[1], BLOCK):
                block = np.ascontiguousarray(samples[:, start : start + BLOCK])
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
                packets += audio.encode(frame)
            packets += audio.encode()
        # As players need them: what is heard beside what is seen.
        file.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path
