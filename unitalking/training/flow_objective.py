"""Flow matching: what the network is trained for. B clips of a micro-batch, R runs of equal noise level.

    x = (1 - sigma) data + sigma noise
    loss = mean over generated tokens of (network(x, 1000 sigma) - (noise - data))^2

Source: UniTalking Sec. 3 (conditional flow matching, audio loss alone for audio-only tasks, audio + video for joint
ones); weights and regions are ours.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..codec.text_encoder import ByteTextEncoder
from ..flow import TIMESTEPS, velocity
from ..model.attention import AttentionFunction
from ..model.transformer import Tokens, UniTalking
from ..types import Conditions, NoiseLevels, StreamInput
from .attention import ATTENTIONS
from .flow_batches import FlowBatch, StreamBatch, TextBatch
from .hearing import HearingLosses
from .objective import Losses, Objective
from .settings import require

LOSSES = ("video", "audio", "voice", "phonemes")


@dataclass(frozen=True)
class Region:
    """A part of the picture that counts more, such as where mouths are: fractions of height and width."""

    top: float
    bottom: float
    left: float
    right: float
    weight: float

    def __post_init__(self) -> None:
        ordered = 0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1
        got = (self.top, self.bottom, self.left, self.right)
        require(ordered, "objective.region", got, "top < bottom and left < right in [0, 1]")
        require(self.weight > 0, "objective.region.weight", self.weight, "a number above 0")

    def weights(self, height: int, width: int) -> Tensor:
        """Weight of every latent cell, (height, width), with mean 1."""
        found = torch.ones(height, width)
        rows = slice(round(self.top * height), round(self.bottom * height))
        columns = slice(round(self.left * width), round(self.right * width))
        found[rows, columns] = self.weight
        return found / found.mean()


@dataclass(frozen=True)
class ObjectiveSettings:
    """How losses are weighed and computed.

    Attributes:
        video_weight, audio_weight: of the two streams' losses in the sum.
        voice_weight, phonemes_weight: of what the recipe's `hearing` says of the generated sound.
        region: a part of the picture that counts more; None: all alike.
        text_encoder_rate: learning rate of a bundle's text encoder, as a share of the others'; 0: it stays as it is.
        checkpointing: compute every block again in the backward pass instead of keeping what it needs.
        attention: "torch", PyTorch's fused one, or "plain", faster on a CPU for a few hundred tokens.
    """

    video_weight: float = 1.0
    audio_weight: float = 1.0
    voice_weight: float = 0.0
    phonemes_weight: float = 0.0
    region: Region | None = None
    text_encoder_rate: float = 1.0
    checkpointing: bool = False
    attention: str = "torch"

    def __post_init__(self) -> None:
        for name in (*(f"{part}_weight" for part in LOSSES), "text_encoder_rate"):
            require(getattr(self, name) >= 0, f"objective.{name}", getattr(self, name), "at least 0")
        require(self.attention in ATTENTIONS, "objective.attention", self.attention, " or ".join(ATTENTIONS))

    @property
    def weights(self) -> dict[str, float]:
        """Of the losses, by their names."""
        return {name: getattr(self, f"{name}_weight") for name in LOSSES}

    @property
    def listens(self) -> bool:
        """Whether what the sound is heard as counts."""
        return bool(self.voice_weight or self.phonemes_weight)


class BlockPair(nn.Module):
    """The blocks of both streams at one depth as one module, which is what FSDP gathers and frees."""

    def __init__(self, video: nn.Module, audio: nn.Module) -> None:
        super().__init__()
        self.video, self.audio = video, audio

    def forward(self, block: Callable[[Tokens], Tokens], tokens: Tokens) -> Tokens:
        return block(tokens)


class FlowObjective(Objective):
    """The network, and the text encoder where it trains along.

    Args:
        network: the two streams.
        text_encoder: of a bundle; None where text embeddings are cached.
        settings: weights of the losses.
        hearing: what the generated sound is heard as; None: nobody listens.
        pair_blocks: move the blocks of both streams into `pairs`, for FSDP; `model_state` undoes it in the result.
    """

    def __init__(
        self,
        network: UniTalking,
        text_encoder: ByteTextEncoder | None,
        settings: ObjectiveSettings,
        *,
        hearing: HearingLosses | None = None,
        pair_blocks: bool = False,
    ) -> None:
        super().__init__()
        if pair_blocks:
            self.pairs = nn.ModuleList(map(BlockPair, network.video.blocks, network.audio.blocks))
            for stream in (network.video, network.audio):
                blocks = tuple(stream.blocks)
                del stream.blocks
                stream.blocks = blocks  # the forward finds them, FSDP does not
        self.network, self.text_encoder, self.settings = network, text_encoder, settings
        self.hearing = hearing
        if text_encoder is not None and not settings.text_encoder_rate:
            text_encoder.requires_grad_(False)

    def rate(self, name: str) -> float:
        """What has learnt to pronounce moves slowly, or not at all."""
        return self.settings.text_encoder_rate if name.startswith("text_encoder.") else 1.0

    def forward(self, batch: FlowBatch, party: str = "model") -> Losses:
        """Losses of a batch, (B,): `total`, and its parts (`LOSSES`) before they are weighed."""
        predicted = self.predict(batch)
        parts = {}
        for name, stream, found in zip(("video", "audio"), (batch.video, batch.audio), predicted, strict=True):
            if stream is not None:
                parts[name] = self._stream_loss(stream, found)
        if self.hearing is not None and batch.audio is not None:
            parts |= self.hearing(batch.audio, predicted[1], batch.reference, batch.voice_present)
        weights = self.settings.weights
        return Losses(sum(weights[name] * part for name, part in parts.items()), parts)

    def predict(self, batch: FlowBatch) -> tuple[Tensor | None, Tensor | None]:
        """Velocities of both streams of a batch at its noise levels."""
        context = self._context(batch.text)
        conditions = self.network.encode_conditions(
            None if batch.video is None else context,
            None if batch.audio is None else context,
            batch.reference,
            batch.voice_present,
            keep_keys=False,
        )
        return self.network(
            self._input(batch.video, conditions[0], self.network.video_layout),
            self._input(batch.audio, conditions[1], self.network.audio_layout),
            video_sees_audio=batch.video_sees_audio,
            attention=self._attention,
            run_block=self._run_block,
        )

    def _context(self, text: TextBatch) -> Tensor:
        return text.context if self.text_encoder is None else self.text_encoder(text.ids, text.times, text.spoken)

    def _input(self, stream: StreamBatch | None, conditions: Conditions | None, layout: Callable) -> StreamInput | None:
        if stream is None:
            return None
        rope, extra = layout(stream.data)
        tokens_per_latent = rope.cos.shape[0] // stream.data.shape[2]
        lengths = tuple(length * tokens_per_latent for length in stream.lengths)
        return StreamInput(stream.noisy, NoiseLevels(TIMESTEPS * stream.levels, lengths), rope, conditions, extra)

    def _stream_loss(self, stream: StreamBatch, predicted: Tensor) -> Tensor:
        """Mean squared error over what is generated, (B,); 0 where all of it is held."""
        error = (predicted.to(stream.data) - velocity(stream.data, stream.noise)).square()
        if error.ndim == 5 and self.settings.region:
            error = error * self.settings.region.weights(*error.shape[3:]).to(error)
        of_latent = error.mean(dim=(1, *range(3, error.ndim)))  # (B, F) or (B, L)
        generated = stream.generated.to(error)
        return (of_latent * generated).sum(1) / generated.sum(1).clamp(min=1)

    @property
    def _attention(self) -> AttentionFunction:
        return ATTENTIONS[self.settings.attention]

    def _run_block(self, index: int, block: Callable[[Tokens], Tokens], tokens: Tokens) -> Tokens:
        if self.settings.checkpointing and torch.is_grad_enabled():
            block = functools.partial(checkpoint, block, use_reentrant=False)
        return self.pairs[index](block, tokens) if hasattr(self, "pairs") else block(tokens)


def model_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of an objective under the names that it has without pairs."""
    pair = re.compile(r"^pairs\.(\d+)\.(video|audio)\.")
    return {pair.sub(r"network.\2.blocks.\1.", name): value for name, value in state.items()}
