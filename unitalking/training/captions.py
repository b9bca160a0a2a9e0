"""Captions of people and what they say, to be read off a text encoder's context.

Bytes hide what a caption means: a picture stream that looks at what an encoder made of them for pronouncing finds no
colours there in hours. An encoder that has to name hair, clothes and room from a caption says them where attention can
find them. B captions, N bytes, D width, A attributes. Ours, the paper's text encoder is UMT5-xxl.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ..codec.text_encoder import PAD_ID, expected_times, tokenize
from ..prompt import silent_prompt
from ..synthetic.captions import VALUES, attributes, scene_caption
from ..synthetic.draws import draw
from ..synthetic.look import identity_of, look_of

UNSAID = -100


class Caption(NamedTuple):
    """A prompt, and the number of the value that it says of each of `VALUES`; `UNSAID` where it says nothing."""

    prompt: str
    values: tuple[int, ...]


class CaptionBatch(NamedTuple):
    """Captions.

    Attributes:
        ids: (B, N), `PAD_ID` where a prompt is shorter.
        times: (B, N) seconds; 0, for nothing of it is spoken.
        values: (B, A).
    """

    ids: Tensor
    times: Tensor
    values: Tensor


def caption(seed: int, split: str, number: int) -> Caption:
    """Caption `number` of a split's people."""
    random = draw("captioned", seed, split, number)
    look = look_of(identity_of(random.getrandbits(40), split, random.choice(("man", "woman"))))
    purpose = ("captioned", seed, split, number)
    said = attributes(look, *purpose)
    values = (VALUES[name].index(said[name]) if name in said else UNSAID for name in VALUES)
    return Caption(silent_prompt(scene_caption(said, *purpose)), tuple(values))


def collate_captions(captions: list[Caption], max_bytes: int) -> CaptionBatch:
    """Captions of any lengths as one batch."""
    ids = [torch.tensor(tokenize(each.prompt, max_bytes)[0]) for each in captions]
    times = [torch.tensor(expected_times(each.prompt, max_bytes)) for each in captions]
    return CaptionBatch(
        pad_sequence(ids, batch_first=True, padding_value=PAD_ID),
        pad_sequence(times, batch_first=True),
        torch.tensor([each.values for each in captions]),
    )


class CaptionReader(nn.Module):
    """Names every attribute from the bytes that a query of its own attends to, as a picture's tokens will."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(VALUES), dim) / dim**0.5)
        self.keys = nn.Linear(dim, dim)
        self.names = nn.ModuleList(nn.Linear(dim, len(values)) for values in VALUES.values())

    def forward(self, context: Tensor, ids: Tensor) -> list[Tensor]:
        """Scores of the values of each attribute, (B, values); context (B, N, D), ids (B, N)."""
        keys = functional.rms_norm(self.keys(context), context.shape[-1:])
        scores = torch.einsum("ad,bnd->ban", self.queries, keys)
        scores = scores.masked_fill((ids == PAD_ID)[:, None], torch.finfo(scores.dtype).min)
        read = scores.softmax(-1) @ context  # (B, A, D)
        return [name(read[:, number]).float() for number, name in enumerate(self.names)]

    def loss(self, context: Tensor, batch: CaptionBatch) -> Tensor:
        """Mean cross-entropy of what each caption says, (B,)."""
        scores = self(context, batch.ids)
        wrong = [
            functional.cross_entropy(score, batch.values[:, number], ignore_index=UNSAID, reduction="none")
            for number, score in enumerate(scores)
        ]
        return torch.stack(wrong, 1).sum(1) / (batch.values != UNSAID).sum(1)

    def right(self, context: Tensor, batch: CaptionBatch) -> float:
        """Share of what the captions say that is named right."""
        named = torch.stack([score.argmax(1) for score in self(context, batch.ids)], 1)
        said = batch.values != UNSAID
        return float((named == batch.values)[said].float().mean())
