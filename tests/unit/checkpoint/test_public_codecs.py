"""Public audio codecs: every form gives the same weights, normalised once; what does not fit is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from codec_forms import (
    CONFIGS,
    VAE_FORMS,
    VOCODER_FORMS,
    Tensors,
    fused,
    merged,
    one_file,
    raw_vae,
    stored,
    weight_norm,
)

from unitalking.checkpoint.files import CheckpointError, load_strict
from unitalking.checkpoint.parts import build_part, part_config
from unitalking.checkpoint.public_codecs import VAE, VOCODER, Source, join_codec, recognise
from unitalking.codec.audio_vae import normalise_weights

RATES = pytest.mark.parametrize("rate", CONFIGS)
Change = Callable[[Tensors], Tensors]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    """Nothing here is trained."""
    with torch.no_grad():
        yield


@cache
def released(rate: str) -> tuple[Tensors, Tensors]:
    """The two files of a codec; not to be changed."""
    return raw_vae(CONFIGS[rate]), weight_norm(CONFIGS[rate])


def joined(vae: Tensors, vocoder: Tensors) -> Tensors:
    return join_codec(Source("vae file", vae), Source("vocoder file", vocoder))[1]


def assert_identical(tensors: Tensors, expected: Tensors) -> None:
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert tensors[key].dtype == torch.float32, key
        assert torch.equal(tensors[key], value), key


@RATES
def test_config_is_that_of_the_codec(rate: str) -> None:
    vae, vocoder = released(rate)
    config, _ = join_codec(Source("vae", vae), Source("vocoder", vocoder))
    codec = CONFIGS[rate]
    assert part_config(config, "audio_vae") == codec
    assert (config.sample_rate, config.hop, config.audio_channels) == (
        codec.sample_rate,
        codec.mel.hop,
        codec.latent_channels,
    )


@RATES
@pytest.mark.parametrize("form", VAE_FORMS)
def test_every_form_of_the_vae_gives_the_same_weights(rate: str, form: str) -> None:
    vae, vocoder = released(rate)
    assert_identical(joined(VAE_FORMS[form](vae), vocoder), joined(vae, vocoder))


@RATES
@pytest.mark.parametrize("form", VOCODER_FORMS)
def test_every_form_of_the_vocoder_gives_the_same_weights(rate: str, form: str) -> None:
    vae, vocoder = released(rate)
    assert_identical(joined(vae, VOCODER_FORMS[form](vocoder)), joined(vae, vocoder))


@RATES
def test_one_file_gives_the_same_weights_as_two(rate: str) -> None:
    vae, vocoder = released(rate)
    mel = CONFIGS[rate].mel
    for both in (
        one_file(vae, vocoder, mel),
        merged(vae, vocoder, mel),  # not baked, not fused
        {**vae, **vocoder},
        {key: value for key, value in one_file(vae, vocoder, mel).items() if not key.startswith("mel_")},
    ):
        assert_identical(joined(both, both), joined(vae, vocoder))


@pytest.mark.parametrize("form", ["raw", "raw float16", "raw bfloat16", "baked"])
def test_filters_are_normalised_exactly_once(form: str) -> None:
    vae, vocoder = released("44k")
    tensors = joined(VAE_FORMS[form](vae), vocoder)
    for key, value in vae.items():
        if value.ndim == 3 and key.endswith(".weight"):
            count = value[0].numel()
            rms = value.double().square().sum(dim=(1, 2), keepdim=True).div(count).sqrt()
            expected = value.double() / (rms + 1e-4) / math.sqrt(count)
        else:
            expected = value.double()
        # A second time would take off at least 1e-4 sqrt(N): 4e-4 here.
        torch.testing.assert_close(tensors[f"vae.{key}"].double(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normalised_weights_in_half_precision_are_taken_as_they_are(dtype: torch.dtype) -> None:
    vae, vocoder = released("16k")
    half = stored(dtype)(one_file(vae, vocoder, CONFIGS["16k"].mel))
    tensors = joined(half, half)
    for key, value in tensors.items():
        assert torch.equal(value, half[key].float()), key


@RATES
def test_weight_norm_is_torchs_own_over_the_first_axis(rate: str) -> None:
    vae, vocoder = released(rate)
    tensors = joined(vae, vocoder)
    for layer in ("conv_pre", "ups.0.0", "ups.5.0", "resblocks.17.convs2.2", "conv_post"):
        size, direction = vocoder[f"{layer}.weight_g"].double(), vocoder[f"{layer}.weight_v"].double()
        expected = torch._weight_norm(direction, size, 0)
        torch.testing.assert_close(tensors[f"vocoder.{layer}.weight"].double(), expected, rtol=1e-6, atol=1e-9)


@RATES
def test_v1_ends_in_tanh_and_v2_in_a_clamp(rate: str) -> None:
    vae, vocoder = released(rate)
    config, tensors = join_codec(Source("vae", vae), Source("vocoder", vocoder))
    codec = build_part(config, "audio_vae")
    load_strict(codec, tensors, "codec")
    mel = 2 * torch.randn(1, codec.config.mel.n_mels, 12, generator=torch.Generator().manual_seed(0))
    samples = codec.vocoder(mel)
    at_the_end = (samples.abs() == 1).double().mean()
    assert samples.abs().max() > 0.5
    assert (0.01 < at_the_end < 0.99) if rate == "44k" else at_the_end == 0
    assert ("vocoder.conv_post.bias" in tensors) is (rate == "16k")


# ---- recognising


def shapes(tensors: Tensors) -> dict[str, list[int]]:
    """As a safetensors header has them."""
    return {key: list(value.shape) for key, value in tensors.items()}


@RATES
def test_halves_are_told_by_names_and_shapes(rate: str) -> None:
    vae, vocoder = released(rate)
    mel = CONFIGS[rate].mel
    for form in VAE_FORMS.values():
        (half,) = recognise(shapes(form(vae))).values()
        assert (half.kind, half.mel) == (VAE, mel)
    for form in VOCODER_FORMS.values():
        (half,) = recognise(shapes(form(vocoder))).values()
        assert (half.kind, half.mel, half.final_bias) == (VOCODER, mel, rate == "16k")
    both = recognise(shapes(one_file(vae, vocoder, mel)))
    assert {kind: half.mel for kind, half in both.items()} == {VAE: mel, VOCODER: mel}


def test_other_kinds_of_files_hold_no_half() -> None:
    picture = {"decoder.mid.attn_1.qkv.weight": [96, 32, 1, 1], "encoder.conv_in.weight": [32, 3, 3, 3]}
    for other in ({}, picture, {"decoder.mid.attn_1.q.weight": [4, 4, 1, 1]}, {"conv_pre.weight": [4, 80, 7]}):
        assert recognise(other) == {}
    # One sign alone is a name that any file may have.
    assert recognise({"decoder.mid.attn_1.qkv.weight": [96, 32, 1]}) == {}


def bands(count: int) -> Change:
    """A vocoder that reads another number of mel bands."""
    return lambda given: {**given, "conv_pre.weight_v": torch.ones(64, count, 7)}


OTHER_VOCODERS: dict[str, tuple[str, Change, str]] = {
    "24 kHz": ("16k", bands(100), r"100 mel bands, 256 samples per frame\), version 1, which no MMAudio codec has"),
    "22 kHz": (
        "16k",
        lambda given: {key: value for key, value in given.items() if key != "conv_post.bias"},
        r"80 mel bands, 256 samples per frame\), version 2, which no .* Take MMAudio's best_netG",
    ),
    "half the hop": (
        "44k",
        lambda given: {**given, "ups.0.0.weight_v": torch.ones(64, 32, 8)},
        r"128 mel bands, 256 samples per frame\), version 2",
    ),
}


@pytest.mark.parametrize("name", OTHER_VOCODERS)
def test_a_vocoder_of_no_mmaudio_codec_is_refused(name: str) -> None:
    rate, change, message = OTHER_VOCODERS[name]
    vae, vocoder = released(rate)
    (half,) = recognise(shapes(change(vocoder))).values()
    assert half.mel is None
    with pytest.raises(CheckpointError, match=f"^vocoder file is a BigVGAN vocoder .{message}"):
        joined(vae, change(vocoder))


# ---- what does not fit


def without(key: str) -> Change:
    return lambda given: {name: value for name, value in given.items() if name != key}


def with_row(key: str, value: float) -> Change:
    def changed(given: Tensors) -> Tensors:
        weight = given[key].clone()
        weight[0] = value
        return {**given, key: weight}

    return changed


def half_baked(given: Tensors) -> Tensors:
    return {**normalise_weights(given), "decoder.conv_in.weight": given["decoder.conv_in.weight"]}


DAMAGED: dict[str, tuple[str, Change, str]] = {
    "vae tensor": (VAE, without("decoder.up.0.block.0.conv1.weight"), "vae file .*1 missing: decoder.up.0.block.0.c"),
    "statistics": (VAE, without("data_std"), "vae file .*1 missing: data_std"),
    "decoder": (VAE, without("decoder.conv_in.weight"), "vae file: decoder.conv_in.weight is missing"),
    "vocoder tensor": (VOCODER, without("resblocks.3.convs2.1.bias"), "vocoder file .*1 missing: resblocks.3.convs2"),
    "half a pair": (VOCODER, without("ups.1.0.weight_g"), "vocoder file: .*ups.1.0.weight_g is missing"),
    "alpha alone": (VOCODER, without("activation_post.act.beta"), "vocoder file .*1 missing: activation_post.act.beta"),
    "more": (VOCODER, lambda given: {**given, "mpd.convs.0": torch.ones(1)}, "vocoder file holds more than an audio"),
    "more of the vae": (VAE, lambda given: {**given, "encoder.x": torch.ones(1)}, "vae file .*1 unexpected: encoder.x"),
    "nan": (VAE, with_row("encoder.conv_in.weight", math.nan), "vae file: .*NaN or Inf; the file is damaged"),
    "half baked": (VAE, half_baked, "vae file: .*filters have norm 1, expected all"),
    "no vae": (VAE, lambda given: {"a": torch.ones(1)}, "vae file holds no .* expected an MMAudio audio VAE"),
    "no stages": (
        VOCODER,
        lambda given: {key: value for key, value in given.items() if not key.startswith("ups.")},
        "vocoder file is a BigVGAN vocoder .*1 samples per frame",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_half_is_refused_by_its_files_name(name: str) -> None:
    kind, change, message = DAMAGED[name]
    given = dict(zip((VAE, VOCODER), released("16k"), strict=True))
    given[kind] = change(given[kind])
    with pytest.raises(CheckpointError, match=f"^{message}"):
        joined(given[VAE], given[VOCODER])


def test_halves_of_two_codecs_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"vae file is .* for 16 kHz .*vocoder file is .* for 44.1 kHz .*not fit"):
        joined(released("16k")[0], released("44k")[1])


def test_a_front_end_of_another_size_is_refused() -> None:
    vae, vocoder = released("16k")
    both = one_file(vae, vocoder, CONFIGS["16k"].mel) | {"mel_converter.mel_basis": torch.zeros(80, 1025)}
    with pytest.raises(CheckpointError, match=r"mel_basis: got shape \(80, 1025\), expected \(80, 513\)"):
        joined(both, both)


def test_nothing_is_changed_in_place() -> None:
    vae, vocoder = released("16k")
    before = {key: value.clone() for key, value in (vae | fused(vocoder)).items()}
    given = vae, fused(vocoder)
    joined(*given)
    for key, value in (given[0] | given[1]).items():
        assert torch.equal(value, before[key]), key
