"""Pictures for an MP4: RGB in [0, 1] to the YUV frames that players expect. Knows PyAV, not ComfyUI.

Axes: F frames, H and W pixels.
Source: ITU-R BT.709 (matrix and limited range); chroma lies on the left luma column, as H.264 assumes unless told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import numpy as np
import torch
from torch import Tensor

# Share of red, green and blue in the luma of BT.709; red-green-blue differences are scaled to -0.5..0.5.
_LUMA = (0.2126, 0.7152, 0.0722)
_BLUE_SCALE, _RED_SCALE = 2 * (1 - _LUMA[2]), 2 * (1 - _LUMA[0])
# Converted together: enough to be quick, at most 150 MB at 4K.
_FRAMES_AT_ONCE = 4


def batches(frames: Tensor | Iterable[Tensor]) -> Iterator[Tensor]:
    """Checked batches (F, H, W, 3) of at most a few frames, float32 on the CPU.

    Args:
        frames: (F, H, W, 3) in [0, 1], or an iterable of such batches of one size.

    Raises:
        ValueError: another shape, two sizes, or values that are NaN or infinite (naming the first frame).
    """
    size, done = None, 0
    for batch in [frames] if isinstance(frames, Tensor) else frames:
        if batch.ndim != 4 or batch.shape[-1] != 3 or 0 in batch.shape[1:]:
            raise ValueError(f"The pictures have shape {tuple(batch.shape)}; expected (frames, height, width, 3).")
        size = size or batch.shape[1:3]
        if batch.shape[1:3] != size:
            raise ValueError(
                f"The pictures change size from {size[1]} x {size[0]} to {batch.shape[2]} x {batch.shape[1]} at frame "
                f"{done}; a file has one size."
            )
        for part in batch.split(_FRAMES_AT_ONCE):
            part = part.detach().to("cpu", torch.float32)
            bad = ~torch.isfinite(part).flatten(1).all(dim=1)
            if bool(bad.any()):
                raise ValueError(
                    f"Frame {done + int(bad.nonzero()[0])} has values that are NaN or infinite: nothing was saved. The "
                    "model or the video VAE failed; a VAE in fp16 is a usual cause."
                )
            done += part.shape[0]
            yield part


def even(batch: Tensor) -> Tensor:
    """The pictures with their last column and row repeated once where width and height are odd."""
    height, width = batch.shape[1] % 2, batch.shape[2] % 2
    if not (height or width):
        return batch
    return torch.nn.functional.pad(batch.movedim(-1, 1), (0, width, 0, height), mode="replicate").movedim(1, -1)


def yuv_frames(batch: Tensor, pixel_format: str) -> list[av.VideoFrame]:
    """Video frames of `pixel_format` "yuv420p" (even sides) or "yuv444p10le", BT.709, limited range."""
    bits = 10 if pixel_format.endswith("10le") else 8
    red, green, blue = batch.clamp(0, 1).unbind(-1)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    chroma = torch.stack([(blue - luma) / _BLUE_SCALE, (red - luma) / _RED_SCALE], dim=1)  # (F, 2, H, W)
    if pixel_format == "yuv420p":
        chroma = _halved(chroma)
    step = 2 ** (bits - 8)
    dtype = torch.uint8 if bits == 8 else torch.int16
    luma = ((16 + 219 * luma) * step).round().to(dtype)
    chroma = ((128 + 224 * chroma) * step).round().to(dtype)
    return [_frame([y, *cbcr], pixel_format) for y, cbcr in zip(luma, chroma, strict=True)]


def _halved(chroma: Tensor) -> Tensor:
    """Chroma of every second column and row: three columns around the even one, and both rows, are averaged."""
    weights = torch.tensor([[1.0, 2.0, 1.0]] * 2)[None, None] / 8
    flat = torch.nn.functional.pad(chroma.flatten(0, 1)[:, None], (1, 0, 0, 0), mode="replicate")
    return torch.nn.functional.conv2d(flat, weights, stride=2).unflatten(0, chroma.shape[:2]).squeeze(2)


def _frame(planes: list[Tensor], pixel_format: str) -> av.VideoFrame:
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pixel_format)
    for plane, values in zip(frame.planes, planes, strict=True):
        array = values.numpy()
        rows = np.frombuffer(plane, dtype=array.dtype).reshape(plane.height, -1)
        rows[:, : array.shape[1]] = array
    return frame
