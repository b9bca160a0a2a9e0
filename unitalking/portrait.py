"""Pictures of any size and shape made into frames of a clip. No files, no ComfyUI.

Axes: B pictures, H and W pixels, C channels.
Source: the centre crop is the one of Wan2.2's image-to-video sampling (reference.md A1); pad, stretch and the handling
of transparency are ours, the paper does not say.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

FitMode = Literal["crop", "pad", "stretch"]
FIT_MODES: tuple[FitMode, ...] = ("crop", "pad", "stretch")

# Behind transparent pixels: neutral grey is the middle of the VAE's range, so that neither a dark nor a bright rim
# appears around a cut-out person.
_BEHIND_ALPHA = 0.5
# Enlarged more than this, a face has visibly less detail than the clip could show.
_BLURRED_ENLARGEMENT = 2.0
# A change of aspect smaller than this is not seen in a face.
_UNSEEN_STRETCH = 0.01


def fit_portrait(image: Tensor, width: int, height: int, mode: FitMode) -> tuple[Tensor, tuple[str, ...]]:
    """One picture of exactly width x height pixels.

    Args:
        image: (B, H, W, C) in [0, 1] with C = 1 (grey), 3 (RGB) or 4 (RGB and alpha); the first picture is used.
        width: of the result, pixels.
        height: of the result, pixels.
        mode: "crop" fills the frame and cuts what is over, equally on both sides; "pad" shows all of the picture and
            fills the rest with the mean colour of its rim; "stretch" fills the frame with all of it, distorted.

    Returns:
        The picture (1, height, width, 3) in [0, 1], float32 (float64 stays float64), and what was done to it, one
        sentence each; a picture that fits already comes back unchanged, with no sentence.

    Raises:
        TypeError: `image` is not a floating point tensor.
        ValueError: wrong rank or channels, no pixels, NaN or infinite values, or an unknown mode.
    """
    fitted, notes = fit_pictures(image[:1], width, height, mode)
    if image.shape[0] > 1:
        notes = (f"The batch has {image.shape[0]} pictures; only the first is used.", *notes)
    return fitted, notes


def fit_pictures(images: Tensor, width: int, height: int, mode: FitMode) -> tuple[Tensor, tuple[str, ...]]:
    """All pictures of a batch as `fit_portrait` does it, (B, height, width, 3)."""
    _check(images, width, height, mode)
    notes: list[str] = []
    pictures = images.movedim(-1, 1)  # (B, C, H, W)
    pictures = pictures if pictures.dtype == torch.float64 else pictures.float()
    pictures = _opaque(_in_range(pictures, notes), notes)
    fit = {"crop": _crop, "pad": _pad, "stretch": _stretch}[mode]
    return fit(pictures, width, height, notes).movedim(1, -1).contiguous(), tuple(notes)


def _check(image: Tensor, width: int, height: int, mode: str) -> None:
    if not image.is_floating_point():
        raise TypeError(f"The picture has dtype {image.dtype}; expected floating point values from 0 to 1.")
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"The picture has shape {tuple(image.shape)}; expected (batch, height, width, channels) with 1, 3 or 4 "
            "channels: wire an IMAGE."
        )
    if image.numel() == 0:
        raise ValueError(f"The picture is empty (shape {tuple(image.shape)}): wire an IMAGE with at least one pixel.")
    bad = int((~torch.isfinite(image)).sum())
    if bad:
        raise ValueError(
            f"The picture has {bad} values that are NaN or infinite, of {image.numel()}: the node that made it "
            "failed; look there first (a VAE in fp16 is a usual cause)."
        )
    if width < 1 or height < 1:
        raise ValueError(f"The portrait's size is {width} x {height}; expected at least 1 x 1 pixels.")
    if mode not in FIT_MODES:
        raise ValueError(f"fit is {mode!r}; expected one of {', '.join(FIT_MODES)}.")


def _in_range(picture: Tensor, notes: list[str]) -> Tensor:
    low, high = float(picture.min()), float(picture.max())
    if low < 0 or high > 1:
        notes.append(f"Values from {low:.3g} to {high:.3g} were limited to 0..1.")
        return picture.clamp(0, 1)
    return picture


def _opaque(picture: Tensor, notes: list[str]) -> Tensor:
    if picture.shape[1] == 1:
        return picture.expand(-1, 3, -1, -1)
    if picture.shape[1] == 3:
        return picture
    color, alpha = picture[:, :3], picture[:, 3:]
    if bool((alpha < 1).any()):
        notes.append("Transparent parts were replaced by neutral grey.")
    return color * alpha + _BEHIND_ALPHA * (1 - alpha)


def _crop(picture: Tensor, width: int, height: int, notes: list[str]) -> Tensor:
    scale = max(width / picture.shape[3], height / picture.shape[2])
    resized = _resize(
        picture, max(width, round(picture.shape[3] * scale)), max(height, round(picture.shape[2] * scale))
    )
    _note_enlargement(picture, scale, notes)
    left, top = (resized.shape[3] - width) // 2, (resized.shape[2] - height) // 2
    for cut, sides in ((left, "left and right"), (top, "top and bottom")):
        if round(cut / scale):
            notes.append(f"Cropped {round(cut / scale)} px {sides}.")
    return resized[:, :, top : top + height, left : left + width]


def _pad(picture: Tensor, width: int, height: int, notes: list[str]) -> Tensor:
    scale = min(width / picture.shape[3], height / picture.shape[2])
    fitted_width = min(width, max(1, round(picture.shape[3] * scale)))
    fitted_height = min(height, max(1, round(picture.shape[2] * scale)))
    _note_enlargement(picture, scale, notes)
    resized = _resize(picture, fitted_width, fitted_height)
    if (fitted_width, fitted_height) == (width, height):
        return resized
    rim = torch.cat([picture[:, :, [0, -1], :].flatten(2), picture[:, :, :, [0, -1]].flatten(2)], dim=2)
    padded = rim.mean(dim=2)[:, :, None, None].repeat(1, 1, height, width)
    left, top = (width - fitted_width) // 2, (height - fitted_height) // 2
    padded[:, :, top : top + fitted_height, left : left + fitted_width] = resized
    for added, sides in ((width - fitted_width, "left and right"), (height - fitted_height, "top and bottom")):
        if added:
            notes.append(f"Padded {added} px in all {sides}, in the mean colour of the picture's rim.")
    return padded


def _stretch(picture: Tensor, width: int, height: int, notes: list[str]) -> Tensor:
    wide, high = width / picture.shape[3], height / picture.shape[2]
    _note_enlargement(picture, max(wide, high), notes)
    if abs(wide / high - 1) > _UNSEEN_STRETCH:
        notes.append(f"Stretched: {wide / high:.2f} times as wide, for its height, as it was.")
    return _resize(picture, width, height)


def _note_enlargement(picture: Tensor, scale: float, notes: list[str]) -> None:
    if scale > _BLURRED_ENLARGEMENT:
        size = f"{picture.shape[3]} x {picture.shape[2]} px"
        notes.append(f"The picture has only {size} and was enlarged {scale:.1f} times: expect a blurred face.")


def _resize(picture: Tensor, width: int, height: int) -> Tensor:
    if picture.shape[2:] == (height, width):
        return picture
    resized = torch.nn.functional.interpolate(
        picture, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0, 1)  # a cubic overshoots at hard edges
