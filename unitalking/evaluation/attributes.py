"""What a drawn face looks like: hair, skin, glasses and so on, by a small classifier of pictures.

B pictures, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .sight import scaled
from .words import Errors

SIDE = 128
LOOKED_AT = 3
DROPOUT = 0.2


@dataclass(frozen=True)
class AttributeConfig:
    """A classifier of pictures.

    Attributes:
        widths: channels after each halving of 128 pixels.
        narrow: channels at every place that the last layers see.
        hidden: width of the layer that all attributes share.
        values: the values that each attribute may have.
    """

    widths: tuple[int, ...]
    narrow: int
    hidden: int
    values: Mapping[str, Sequence[str]]


class AttributeNetwork(nn.Module):
    """Scores of every value of every attribute; it knows where in the picture it looks."""

    def __init__(self, config: AttributeConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 3
        for width in config.widths:
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.SiLU()]
            before = width
        self.features = nn.Sequential(*layers, nn.Conv2d(before, config.narrow, 1), nn.SiLU())
        places = (SIDE // 2 ** len(config.widths)) ** 2
        self.shared = nn.Linear(config.narrow * places, config.hidden)
        self.heads = nn.ModuleList(nn.Linear(config.hidden, len(values)) for values in config.values.values())

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """(B, 3, 128, 128) in -1 .. 1 -> {attribute: (B, values)}."""
        hidden = functional.silu(self.shared(self.features(pictures).flatten(1)))
        hidden = functional.dropout(hidden, DROPOUT, self.training)
        return {name: head(hidden) for name, head in zip(self.config.values, self.heads, strict=True)}


@dataclass(frozen=True)
class AttributeJudge:
    """Names what is seen."""

    network: AttributeNetwork

    @torch.no_grad()
    def describe(self, frames: Tensor) -> dict[str, str]:
        """The attributes of a clip, by the mean over its first, middle and last frame; (F, H, W, 3) uint8."""
        places = torch.linspace(0, len(frames) - 1, LOOKED_AT).round().long()
        scores = self.network(scaled(frames[places], SIDE, SIDE))
        values = self.network.config.values
        return {name: values[name][int(each.log_softmax(dim=1).mean(dim=0).argmax())] for name, each in scores.items()}

    def errors(self, frames: Tensor, captioned: Mapping[str, str]) -> Errors | None:
        """Captioned attributes that are not seen; None where none is captioned that the judge knows."""
        seen = self.describe(frames)
        known = {name: value for name, value in captioned.items() if value in self.network.config.values.get(name, ())}
        if not known:
            return None
        return Errors(sum(seen[name] != value for name, value in known.items()), len(known))
