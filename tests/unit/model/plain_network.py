"""The network a second time, slowly: one sample, one token, one head at a time, in float64.

Written from the equations (reference of Wan2.2's block, UniTalking's joint attention and voice reference), not from the
package's code, and shares nothing with it: weights are read by their names in files, rotations are complex numbers,
every softmax is written out. It is what the fast network must equal.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Token = Tensor  # (D,)


@dataclass(frozen=True)
class PlainNumbers:
    """Sizes of the model, as far as they cannot be read from its weights."""

    heads: int
    layers: int
    text_len: int
    patch: int = 2
    theta: float = 10000.0
    eps: float = 1e-6
    audio_step: float = (24 / 4) / (44100 / 1024)  # video latents per second / audio latents per second


@dataclass(frozen=True)
class PlainStream:
    """One stream of one sample.

    Attributes:
        latent: (C, F, H, W) or (C, L).
        context: text rows (rows, text_dim).
        times: 1000 * sigma of every token.
        reference: audio latents (C, R), None: no voice.
    """

    latent: Tensor
    context: Tensor
    times: list[float]
    reference: Tensor | None = None


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return weights[f"{name}.weight"].flatten(1) @ x + weights[f"{name}.bias"]


def layer_norm(x: Token, eps: float) -> Token:
    mean = x.sum() / len(x)
    variance = ((x - mean) ** 2).sum() / len(x)
    return (x - mean) / (variance + eps) ** 0.5


def rms_norm(weights: Weights, name: str, x: Token, eps: float) -> Token:
    return x / ((x**2).sum() / len(x) + eps) ** 0.5 * weights[f"{name}.weight"]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def rotated(head: Tensor, position: tuple[float, float, float], theta: float) -> Tensor:
    """One head of one token: pair j of an axis of width w turns by position * theta ** (-2 j / w)."""
    spatial = 2 * (len(head) // 6)
    result, start = [], 0
    for axis, width in zip(position, (len(head) - 2 * spatial, spatial, spatial), strict=True):
        for pair in range(width // 2):
            number = complex(head[start + 2 * pair], head[start + 2 * pair + 1])
            turned = number * cmath.exp(1j * axis * theta ** (-2 * pair / width))
            result += [turned.real, turned.imag]
        start += width
    return torch.tensor(result, dtype=torch.float64)


def attend(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """softmax(q k / sqrt(Dh)) v of one head of one query."""
    scores = [float(query @ key) / math.sqrt(len(query)) for key in keys]
    powers = [math.exp(score - max(scores)) for score in scores]
    return sum(power / sum(powers) * value for power, value in zip(powers, values, strict=True))


def attend_all_heads(query: Token, keys: list[Token], values: list[Token], heads: int) -> Token:
    return torch.cat(
        [
            attend(query.chunk(heads)[h], [k.chunk(heads)[h] for k in keys], [v.chunk(heads)[h] for v in values])
            for h in range(heads)
        ]
    )


def rotate_heads(x: Token, position: tuple[float, float, float], numbers: PlainNumbers) -> Token:
    return torch.cat([rotated(head, position, numbers.theta) for head in x.chunk(numbers.heads)])


class Plain:
    """One stream's weights and the state it carries through the blocks."""

    def __init__(self, name: str, all_weights: Weights, numbers: PlainNumbers, given: PlainStream) -> None:
        prefix = f"{name}."
        self.numbers, self.given, self.is_video = numbers, given, name == "video"
        self.weights = {key.removeprefix(prefix): all_weights[key] for key in all_weights if key.startswith(prefix)}
        self.positions, self.tokens = self.embed_video() if self.is_video else self.embed_audio()
        self.levels = [self.level(time) for time in given.times]
        self.vectors = [linear(self.weights, "time_projection.1", silu(level)).chunk(6) for level in self.levels]
        padded = [*given.context, *[torch.zeros_like(given.context[0])] * (numbers.text_len - len(given.context))]
        self.text = [self.mlp("text_embedding", row, gelu) for row in padded]
        self.reference: list[Token] = []

    def mlp(self, name: str, x: Tensor, activation: object) -> Token:
        return linear(self.weights, f"{name}.2", activation(linear(self.weights, f"{name}.0", x)))

    def embed_video(self) -> tuple[list[tuple[float, float, float]], list[Token]]:
        _, frames, height, width = self.given.latent.shape
        patch, positions, tokens = self.numbers.patch, [], []
        for t in range(frames):
            for h in range(height // patch):
                for w in range(width // patch):
                    cells = self.given.latent[:, t, h * patch : (h + 1) * patch, w * patch : (w + 1) * patch]
                    positions.append((t, h, w))
                    tokens.append(linear(self.weights, "patch_embedding", cells.flatten()))
        return positions, tokens

    def embed_audio(self) -> tuple[list[tuple[float, float, float]], list[Token]]:
        count = self.given.latent.shape[1]
        positions = [(i * self.numbers.audio_step, 0, 0) for i in range(count)]
        return positions, [linear(self.weights, "patch_embedding", self.given.latent[:, i]) for i in range(count)]

    def level(self, time: float) -> Token:
        half = self.weights["time_embedding.0.weight"].shape[1] // 2
        angles = [time * 10000 ** (-i / half) for i in range(half)]
        wave = [math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles]
        return self.mlp("time_embedding", torch.tensor(wave, dtype=torch.float64), silu)

    def modulation(self, block: int, token: int) -> list[Token]:
        return list(self.weights[f"blocks.{block}.modulation"][0] + torch.stack(self.vectors[token]))

    def project(self, block: int) -> tuple[list[Token], list[Token], list[Token]]:
        name, eps = f"blocks.{block}.self_attn", self.numbers.eps
        queries, keys, values = [], [], []
        for token, x in enumerate(self.tokens):
            shift, scale = self.modulation(block, token)[:2]
            h = layer_norm(x, eps) * (1 + scale) + shift
            q = rms_norm(self.weights, f"{name}.norm_q", linear(self.weights, f"{name}.q", h), eps)
            k = rms_norm(self.weights, f"{name}.norm_k", linear(self.weights, f"{name}.k", h), eps)
            queries.append(rotate_heads(q, self.positions[token], self.numbers))
            keys.append(rotate_heads(k, self.positions[token], self.numbers))
            values.append(linear(self.weights, f"{name}.v", h))
        return queries, keys, values

    def cross(self, block: int, x: Token) -> Token:
        """Text, and the voice with its own keys and values, summed before the one output projection."""
        name, eps, heads = f"blocks.{block}.cross_attn", self.numbers.eps, self.numbers.heads
        norm3 = self.weights[f"blocks.{block}.norm3.weight"], self.weights[f"blocks.{block}.norm3.bias"]
        q = linear(self.weights, f"{name}.q", layer_norm(x, eps) * norm3[0] + norm3[1])
        q = rms_norm(self.weights, f"{name}.norm_q", q, eps)
        total = torch.zeros_like(x)
        for rows, suffix in ((self.text, ""), (self.reference, "_reference")):
            if not rows:
                continue
            keys = [
                rms_norm(self.weights, f"{name}.norm_k{suffix}", linear(self.weights, f"{name}.k{suffix}", row), eps)
                for row in rows
            ]
            values = [linear(self.weights, f"{name}.v{suffix}", row) for row in rows]
            total = total + attend_all_heads(q, keys, values, heads)
        return linear(self.weights, f"{name}.o", total)

    def finish(self, block: int, token: int, attended: Token) -> Token:
        gate, shift, scale, ffn_gate = self.modulation(block, token)[2:]
        x = self.tokens[token] + gate * linear(self.weights, f"blocks.{block}.self_attn.o", attended)
        x = x + self.cross(block, x)
        h = layer_norm(x, self.numbers.eps) * (1 + scale) + shift
        return x + ffn_gate * self.mlp(f"blocks.{block}.ffn", h, gelu)

    def velocity(self) -> Tensor:
        rows = []
        for x, level in zip(self.tokens, self.levels, strict=True):
            shift, scale = self.weights["head.modulation"][0] + level
            rows.append(linear(self.weights, "head.head", layer_norm(x, self.numbers.eps) * (1 + scale) + shift))
        out = torch.zeros_like(self.given.latent)
        for (t, h, w), row in zip(self.positions, rows, strict=True):
            if not self.is_video:
                out[:, round(t / self.numbers.audio_step)] = row
                continue
            numbers = iter(row.tolist())
            for ph in range(self.numbers.patch):
                for pw in range(self.numbers.patch):
                    for channel in range(len(out)):
                        out[channel, t, h * self.numbers.patch + ph, w * self.numbers.patch + pw] = next(numbers)
        return out


def plain_velocities(
    weights: Weights,
    numbers: PlainNumbers,
    video: PlainStream | None,
    audio: PlainStream | None,
    *,
    video_sees_audio: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """Velocities of one sample, in the shapes of the latents; all blocks joint, the voice in the audio stream.

    Args:
        weights: float64, names as in files.
    """
    given = {"video": video, "audio": audio}
    streams = {name: Plain(name, weights, numbers, each) for name, each in given.items() if each is not None}
    if audio is not None and audio.reference is not None:
        rows = audio.reference.T
        streams["audio"].reference = [linear(weights, "audio.patch_embedding", row) for row in rows]
    for block in range(numbers.layers):
        projected = {name: stream.project(block) for name, stream in streams.items()}
        after = {}
        for name, stream in streams.items():
            seen = [name] if name == "video" and not video_sees_audio else list(streams)
            keys = [key for each in seen for key in projected[each][1]]
            values = [value for each in seen for value in projected[each][2]]
            after[name] = [
                stream.finish(block, token, attend_all_heads(query, keys, values, numbers.heads))
                for token, query in enumerate(projected[name][0])
            ]
        for name, stream in streams.items():
            stream.tokens = after[name]
    return tuple(streams[name].velocity() if name in streams else None for name in ("video", "audio"))
