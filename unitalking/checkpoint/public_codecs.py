"""Audio codecs as published: MMAudio's VAE and a BigVGAN vocoder, in one file or two, told by content.

    VAE       raw (v1-16.pth, v1-44.pth and their safetensors), or normalised ("baked", in ComfyUI's one-file form)
    vocoder   weight norm as `weight_g` and `weight_v`, as `parametrizations.weight.original0` and `1`, or fused
    one file  `vae.*` and `vocoder.*`, with or without `mel_converter.*`, which is computed here and so not read

Names and shapes say which half a file holds and which sample rate it is for, and the norms of its filters whether the
VAE still has to be normalised; the file's name says nothing. This room opens no file.

Source: the released files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from torch import Tensor

from ..codec.audio_codec import AudioCodecConfig
from ..codec.audio_vae import AudioVAE, normalise_weights, weights_are_raw
from ..codec.mel import MEL_16K, MEL_44K, MelConfig
from ..codec.vocoder import Vocoder, VocoderConfig, fuse_weight_norm
from ..config import UniTalkingConfig
from ..mapping import to_mapping
from .files import CheckpointError, check_tensors

Value = TypeVar("Value")
Shapes = Mapping[str, Sequence[int]]

VAE, VOCODER = "vae", "vocoder"
KINDS = {VAE: "an MMAudio audio VAE", VOCODER: "a BigVGAN vocoder"}
MELS = {mel.n_mels: mel for mel in (MEL_16K, MEL_44K)}
# Who published which half, by mel bands: what to look for where one is missing.
PUBLISHED = {
    (VAE, 80): "MMAudio's v1-16",
    (VAE, 128): "MMAudio's v1-44",
    (VOCODER, 80): "MMAudio's best_netG",
    (VOCODER, 128): "NVIDIA's bigvgan_v2_44khz_128band_512x",
}

# First parts of the names of each half, without a prefix or under its own.
ROOTS = {
    VAE: ("encoder", "decoder", "data_mean", "data_std"),
    VOCODER: ("conv_pre", "ups", "resblocks", "activation_post", "conv_post"),
}
# A tensor that only this half has, and its first convolution, which has four axes in a picture's VAE.
SIGNS = {
    VAE: ("decoder.mid.attn_1.qkv.weight", "encoder.conv_in"),
    VOCODER: ("resblocks.0.activations.0.act.alpha", "conv_pre"),
}
COMPUTED = "mel_converter."
# Names of a convolution's weight: fused, and the direction of weight norm in either spelling.
WEIGHTS = (".weight", ".weight_v", ".parametrizations.weight.original1")


@dataclass(frozen=True)
class Half:
    """One half of a codec, as names and shapes tell it.

    Attributes:
        kind: `VAE` or `VOCODER`.
        mels: mel bands between the halves.
        hop: samples that a vocoder makes of a frame; 0 of a VAE, which does not say.
        final_bias: whether a vocoder's last convolution has a bias: v1 has one, v2 none.
    """

    kind: str
    mels: int
    hop: int = 0
    final_bias: bool = False

    @property
    def mel(self) -> MelConfig | None:
        """The front end that this half goes with, None where MMAudio has none such.

        A v2 vocoder of 80 bands is NVIDIA's for 22 kHz, which reads other mels; the one for 16 kHz is a v1.
        """
        mel = MELS.get(self.mels)
        if mel is None or self.kind == VAE:
            return mel
        return mel if self.hop == mel.hop and (self.final_bias or mel is not MEL_16K) else None

    def __str__(self) -> str:
        known = f"{self.mels} mel bands" + (f", {self.hop} samples per frame" if self.kind == VOCODER else "")
        rate = "" if self.mel is None else f" for {self.mel.sample_rate / 1000:g} kHz"
        return f"{KINDS[self.kind]}{rate} ({known})"


class Source(NamedTuple):
    """A file's name, for messages, and its tensors."""

    name: str
    tensors: Mapping[str, Tensor]


def recognise(shapes: Shapes) -> dict[str, Half]:
    """Which halves of a codec a file holds, by kind, from its names and shapes alone; none of another kind of file."""
    found = {}
    for kind, (sign, first) in SIGNS.items():
        part = _part(shapes, kind)
        shape = _weight_shape(part, first)
        if sign not in part or len(shape) != 3:
            continue
        if kind == VAE:
            found[kind] = Half(kind, shape[1])
        else:
            rates = [stage[2] // 2 for stage in _stages(part)]
            found[kind] = Half(kind, shape[1], math.prod(rates), "conv_post.bias" in part)
    return found


def join_codec(vae: Source, vocoder: Source) -> tuple[UniTalkingConfig, dict[str, Tensor]]:
    """The codec that two halves make: a config that describes it, and the tensors of the part `audio_vae`.

    Both may be the same file. The VAE's filters are normalised if they are raw, and the vocoder's weight norm is
    multiplied out, in float32, whatever the file's precision.

    Raises:
        CheckpointError: a file without its half, tensors missing, too many or misshapen, or halves that do not fit.
    """
    halves = [_half(source, kind) for source, kind in ((vae, VAE), (vocoder, VOCODER))]
    mel = halves[0].mel
    if mel is not halves[1].mel:
        raise CheckpointError(f"{vae.name} is {halves[0]} and {vocoder.name} is {halves[1]}: these do not fit.")
    for source in (vae, vocoder):
        _check_rest(source, mel)
    try:
        vae_tensors = _float(_part(vae.tensors, VAE))
        if weights_are_raw(vae_tensors):
            vae_tensors = normalise_weights(vae_tensors)
        latent_channels = _shape(vae_tensors, "decoder.conv_in.weight")[1]
        hidden_dim = _shape(vae_tensors, "encoder.conv_in.weight")[0]
        expected = AudioVAE(mel.n_mels, latent_channels, hidden_dim, device="meta")
        check_tensors(vae_tensors, {key: value.shape for key, value in expected.state_dict().items()}, vae.name)
    except ValueError as error:
        raise _named(error, vae.name) from error
    try:
        vocoder_tensors = fuse_weight_norm(_float(_part(vocoder.tensors, VOCODER)))
        config = AudioCodecConfig(mel, latent_channels, hidden_dim, _vocoder_config(vocoder_tensors))
        expected = Vocoder(config.vocoder, device="meta")
        check_tensors(vocoder_tensors, {key: value.shape for key, value in expected.state_dict().items()}, vocoder.name)
    except ValueError as error:
        raise _named(error, vocoder.name) from error
    tensors = {f"{VAE}.{key}": value for key, value in vae_tensors.items()}
    tensors |= {f"{VOCODER}.{key}": value for key, value in vocoder_tensors.items()}
    return _described(config), tensors


def _half(source: Source, kind: str) -> Half:
    half = recognise({name: value.shape for name, value in source.tensors.items()}).get(kind)
    if half is None:
        raise CheckpointError(f"{source.name} holds no whole codec half: expected {KINDS[kind]}; fetch it again.")
    if half.mel is None:
        raise CheckpointError(unusable(source.name, half))
    return half


def unusable(name: str, half: Half) -> str:
    """Why a half is of no use here: no MMAudio codec has such a one."""
    known = " or ".join(f"{PUBLISHED[half.kind, mels]} ({mels} mel bands)" for mels in MELS)
    return f"{name} is {half}{_version(half)}, which no MMAudio codec has. Take {known}."


def _version(half: Half) -> str:
    if half.kind == VAE:
        return ""
    return ", version 1" if half.final_bias else ", version 2"


def _part(tensors: Mapping[str, Value], kind: str) -> dict[str, Value]:
    """A half's entries under the names of the released files, whether it lies under its prefix or bare."""
    prefix = f"{kind}."
    if any(name.startswith(prefix) for name in tensors):
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return {name: value for name, value in tensors.items() if name.split(".")[0] in ROOTS[kind]}


def _check_rest(source: Source, mel: MelConfig) -> None:
    """Nothing but halves in the file, and a stored mel front end, if any, of the size that is computed instead."""
    known = {root for roots in ROOTS.values() for root in roots} | {VAE, VOCODER}
    rest = [name for name in source.tensors if name.split(".")[0] not in known and not name.startswith(COMPUTED)]
    if rest:
        raise CheckpointError(f"{source.name} holds more than an audio codec: {len(rest)} tensors such as {rest[0]}.")
    basis, expected = source.tensors.get(f"{COMPUTED}mel_basis"), (mel.n_mels, mel.n_fft // 2 + 1)
    if basis is not None and tuple(basis.shape) != expected:
        raise CheckpointError(
            f"{source.name}: {COMPUTED}mel_basis: got shape {tuple(basis.shape)}, expected {expected}: this codec "
            "was made for other mels."
        )


def _float(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.float() for key, value in tensors.items()}


def _weight_shape(shapes: Shapes, layer: str) -> Sequence[int]:
    """The shape of a layer's weight, in any spelling; () where there is none."""
    return next((shapes[layer + end] for end in WEIGHTS if layer + end in shapes), ())


def _stages(shapes: Shapes) -> list[Sequence[int]]:
    """The shapes of the transposed convolutions, (C_in, C_out, kernel), stage by stage."""
    found: list[Sequence[int]] = []
    while len(shape := _weight_shape(shapes, f"ups.{len(found)}.0")) == 3:
        found.append(shape)
    return found


def _vocoder_config(tensors: Mapping[str, Tensor]) -> VocoderConfig:
    """The config of a generator from its fused weights; kernels are twice their rates in all public ones."""
    shapes = {name: value.shape for name, value in tensors.items()}
    kernels = tuple(shape[2] for shape in _stages(shapes))
    blocks = {name.split(".")[1] for name in shapes if name.startswith("resblocks.")}
    resblock_kernels = tuple(
        _shape(tensors, f"resblocks.{index}.convs1.0.weight")[2] for index in range(len(blocks) // len(kernels))
    )
    final_bias = "conv_post.bias" in shapes
    channels, mels, _ = _shape(tensors, "conv_pre.weight")
    return VocoderConfig(
        mels=mels,
        upsample_rates=tuple(kernel // 2 for kernel in kernels),
        upsample_kernel_sizes=kernels,
        initial_channels=channels,
        resblock_kernel_sizes=resblock_kernels,
        resblock_dilations=((1, 3, 5),) * len(resblock_kernels),
        final="tanh" if final_bias else "clamp",
        final_bias=final_bias,
    )


def _shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    if key not in tensors or tensors[key].ndim != 3:
        raise ValueError(f"{key} is missing or has not three axes: the file is incomplete, fetch it again.")
    return tuple(tensors[key].shape)


def _named(error: ValueError, name: str) -> CheckpointError:
    return error if isinstance(error, CheckpointError) else CheckpointError(f"{name}: {error}")


def _described(codec: AudioCodecConfig) -> UniTalkingConfig:
    """A config that says what the codec is, as the config in a codec file of ours does."""
    return UniTalkingConfig(
        name="audio codec",
        audio_channels=codec.latent_channels,
        sample_rate=codec.sample_rate,
        hop=codec.mel.hop,
        audio_codec=to_mapping(codec),
    )
