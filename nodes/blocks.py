"""How the host has the network's blocks run: weights fetched ahead, patches, a block that the negative leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_prefetch
import torch
from torch import Tensor, nn

from ..unitalking.model.stream import Stream
from ..unitalking.model.transformer import Tokens

NEGATIVE_PASS = 1  # the host's number of it among the conditionings of a call


class BlockRunner:
    """Runs blocks for the host: fetches weights ahead, lets patches replace a block or change its result.

    Args:
        streams: those that run.
        transformer_options: of this call.
        device: where the network runs.
        skipped_block: that the negative leaves out; 0: none.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        transformer_options: dict[str, Any],
        device: torch.device,
        skipped_block: int,
    ) -> None:
        self.options, self.device, self.skipped_block = transformer_options, device, skipped_block
        self.pairs = [nn.ModuleList(blocks) for blocks in zip(*(stream.blocks for stream in streams), strict=True)]
        self.queue = comfy.model_prefetch.make_prefetch_queue(list(self.pairs), device, transformer_options)
        transformer_options["total_blocks"] = len(self.pairs)
        transformer_options["block_type"] = "double"

    def __call__(self, index: int, block: Callable[[Tokens], Tokens], tokens: Tokens) -> Tokens:
        comfy.model_prefetch.prefetch_queue_pop(self.queue, self.device, self.pairs[index])
        self.options["block_index"] = index
        if self.skipped_block and index == self.skipped_block:
            block = _without_negative(block, self.options.get("cond_or_uncond", ()))
        replace = self.options.get("patches_replace", {}).get("dit", {}).get(("double_block", index))
        if replace is None:
            tokens = block(tokens)
        else:
            arguments = {"img": tokens, "transformer_options": self.options}
            tokens = replace(arguments, {"original_block": lambda given: {"img": block(given["img"])}})["img"]
        for patch in self.options.get("patches", {}).get("double_block", []):
            given = {"img": tokens, "block_index": index, "transformer_options": self.options}
            tokens = patch(given)["img"]
        if index + 1 == len(self.pairs):
            comfy.model_prefetch.prefetch_queue_pop(self.queue, self.device, None)
        return tokens


def _without_negative(block: Callable[[Tokens], Tokens], passes: Sequence[int]) -> Callable[[Tokens], Tokens]:
    """A block that leaves the negative's part of the batch as it is; `passes` are the host's numbers of the parts."""

    def partly(tokens: Tokens) -> Tokens:
        if set(passes) == {NEGATIVE_PASS}:
            return tokens
        after = block(tokens)
        return after if NEGATIVE_PASS not in passes else tuple(map(mixed, tokens, after))

    def mixed(before: Tensor, after: Tensor) -> Tensor:
        parts = zip(passes, before.chunk(len(passes)), after.chunk(len(passes)), strict=True)
        return torch.cat([old if number == NEGATIVE_PASS else new for number, old, new in parts])

    return partly
