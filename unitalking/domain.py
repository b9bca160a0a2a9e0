"""What a small model knows, and how far a first picture or a text is from it. No files, no ComfyUI.

Faces lie in the middle of a portrait, what is behind them may be anything. So each latent cell of the middle, half as
high and wide as the picture, has a mean and a covariance over the training clips, and a picture's distance is

    sqrt(mean over these cells of (z - mean)^T precision (z - mean) / C)

about 1 for pictures of the kind that was measured. Models without these statistics know every picture.

Axes: N pictures, C latent channels, h and w cells of the middle. Ours, the paper has no such model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Added to a cell's covariance, as a share of the mean variance: a cell that is nearly constant in training does not
# cry out at rounding.
RIDGE = 0.01
# Of the pictures that the limit is measured on, all but these lie within it.
OUTSIDE = 0.005
LEAST_PICTURES = 64
NAMES = ("domain.mean", "domain.precision", "domain.limit")


@dataclass(frozen=True)
class Domain:
    """Statistics of first pictures.

    Attributes:
        mean: (C, h, w).
        precision: (h, w, C, C), inverse covariances.
        limit: the distance up to which a picture is one of them.
    """

    mean: Tensor
    precision: Tensor
    limit: float

    @classmethod
    def measured(cls, latents: Tensor) -> Domain:
        """From the latents of many first pictures, (N, C, 2h, 2w): half give the statistics, half the limit.

        Raises:
            ValueError: too few pictures to tell, or an odd number of cells.
        """
        if len(latents) < LEAST_PICTURES:
            raise ValueError(f"got {len(latents)} pictures to measure, expected at least {LEAST_PICTURES}.")
        if latents.shape[2] % 2 or latents.shape[3] % 2:
            raise ValueError(f"got pictures of {tuple(latents.shape[2:])} latent cells, expected even numbers.")
        told, judged = _middle(latents[0::2]).double(), latents[1::2]
        mean = told.mean(0)
        away = told - mean
        covariance = torch.einsum("nchw,ndhw->hwcd", away, away) / len(told)
        variance = covariance.diagonal(dim1=-2, dim2=-1).mean()
        precision = torch.linalg.inv(covariance + RIDGE * variance * torch.eye(latents.shape[1]).double())
        unlimited = cls(mean.float(), precision.float().contiguous(), float("inf"))
        return cls(unlimited.mean, unlimited.precision, float(unlimited.distance(judged).quantile(1 - OUTSIDE)))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], channels: int) -> Domain | None:
        """`domain.mean`, `domain.precision` and `domain.limit` of a file, None where it has none.

        Raises:
            ValueError: one is missing, not finite or of another shape.
        """
        missing = [name for name in NAMES if name not in tensors]
        if len(missing) == len(NAMES):
            return None
        if missing:
            raise ValueError(f"{', '.join(missing)}: missing beside the other domain tensors; the file is incomplete.")
        mean, precision, limit = (tensors[name].float() for name in NAMES)
        expected = (*mean.shape[1:], channels, channels)
        if mean.ndim != 3 or mean.shape[0] != channels or precision.shape != expected or limit.shape != (1,):
            shapes = ", ".join(str(tuple(value.shape)) for value in (mean, precision, limit))
            raise ValueError(
                f"domain: got shapes {shapes}, expected ({channels}, h, w), (h, w, {channels}, {channels}) and (1,)."
            )
        for name, value in zip(NAMES, (mean, precision, limit), strict=True):
            if not value.isfinite().all():
                raise ValueError(f"{name}: holds NaN or Inf; the file is damaged.")
        return cls(mean, precision, float(limit))

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of the pictures that can be told, in latent cells."""
        return 2 * self.mean.shape[1], 2 * self.mean.shape[2]

    def tensors(self) -> dict[str, Tensor]:
        """What `from_tensors` reads."""
        return dict(zip(NAMES, (self.mean, self.precision, torch.tensor([self.limit])), strict=True))

    def distance(self, latents: Tensor) -> Tensor:
        """How far pictures are, (N,), from their latents (N, C, 2h, 2w).

        Raises:
            ValueError: latents of another codec or size.
        """
        expected = (self.mean.shape[0], *self.cells)
        if latents.shape[1:] != expected:
            raise ValueError(f"latents: got {tuple(latents.shape)}, expected (N, {', '.join(map(str, expected))}).")
        away = _middle(latents).to(self.mean) - self.mean
        squared = torch.einsum("nchw,hwcd,ndhw->n", away, self.precision, away)
        return (squared / self.mean.numel()).clamp_min(0).sqrt()


def _middle(latents: Tensor) -> Tensor:
    """(N, C, 2h, 2w) -> (N, C, h, w)."""
    height, width = latents.shape[2:]
    return latents[:, :, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]


def unlearned(text: str, characters: str) -> str:
    """The characters of a text that are not in `characters` (small letters for both), each once, spaces aside.

    Models whose `characters` are "" have learned any.
    """
    if not characters:
        return ""
    return "".join(dict.fromkeys(each for each in text if not each.isspace() and each.lower() not in characters))
