"""Public codec files, rewritten into every form, against the original MMAudio and BigVGAN code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from codec_forms import VAE_FORMS, VOCODER_FORMS, Tensors, one_file

from unitalking.checkpoint.files import load_strict
from unitalking.checkpoint.parts import build_part
from unitalking.checkpoint.public_codecs import Source, join_codec
from unitalking.codec.audio_codec import AudioCodec
from unitalking.codec.mel import MEL_16K, MEL_44K

LIMIT = 3e-6  # rel_l2 in fp32

VOCODERS = {"44k": "bigvgan_v2_44k", "16k": "bigvgan_v1_16k"}
RATES = pytest.mark.parametrize("rate", VOCODERS)

pytestmark = pytest.mark.golden


def released(golden: Any, rate: str) -> tuple[Tensors, Tensors]:
    """The VAE and the vocoder of the golden files: raw, and with `weight_g` and `weight_v`."""
    return golden.open(f"vae_{rate}").weights(), golden.open(VOCODERS[rate]).weights()


def loaded(vae: Tensors, vocoder: Tensors) -> AudioCodec:
    """The codec as a model gets it."""
    config, tensors = join_codec(Source("vae", vae), Source("vocoder", vocoder))
    codec = build_part(config, "audio_vae")
    load_strict(codec, tensors, "codec")
    return codec.requires_grad_(False)


@RATES
@pytest.mark.parametrize("form", VAE_FORMS)
def test_vae(golden: Any, rate: str, form: str) -> None:
    vae, vocoder = released(golden, rate)
    file = golden.open(f"vae_{rate}")
    # The files' mel statistics are no half-precision numbers: rounding them alone would move the latents.
    statistics = {key: vae[key] for key in ("data_mean", "data_std")}
    codec = loaded(VAE_FORMS[form](vae) | statistics, vocoder)
    mean, logvar = codec.vae.encode(file.tensor("in.mel")[None])
    outputs = {
        "out.mean": mean[0],
        "out.logvar": logvar[0],
        "out.decode_mean": codec.vae.decode(mean)[0],
        "out.decode_z": codec.vae.decode(file.tensor("in.z")[None])[0],
    }
    outputs |= {key: codec.vae.state_dict()[key.removeprefix("ref.normed.")] for key in file.keys("ref.normed.")}
    assert sorted(outputs) == sorted(file.keys("out.") + file.keys("ref.")), "computed and stored results"
    for key, value in outputs.items():
        file.assert_close(key, value, LIMIT)


@RATES
@pytest.mark.parametrize("form", VOCODER_FORMS)
def test_vocoder(golden: Any, rate: str, form: str) -> None:
    vae, vocoder = released(golden, rate)
    file = golden.open(VOCODERS[rate])
    audio = loaded(vae, VOCODER_FORMS[form](vocoder)).vocoder(file.tensor("in.mel")[None])
    file.assert_close("out.audio", audio, LIMIT)
    # The v2 file has samples beyond the range, so that a clamp and tanh differ.
    assert bool((audio.abs() == 1).any()) is (rate == "44k")


@RATES
@pytest.mark.parametrize("files", ["two", "one"])
def test_chain(golden: Any, rate: str, files: str) -> None:
    vae, vocoder = released(golden, rate)
    if files == "one":
        vae = vocoder = one_file(vae, vocoder, {"44k": MEL_44K, "16k": MEL_16K}[rate])
    codec, file = loaded(vae, vocoder), golden.open(f"chain_{rate}")
    latents = codec.encode(golden.open(f"mel_{rate}").tensor("in.waveform")[None])
    file.assert_close("out.latent", latents[0], LIMIT)
    file.assert_close("out.mel_decoded", codec.vae.decode(latents)[0], LIMIT)
    file.assert_close("out.audio", codec.decode(latents), LIMIT)


@RATES
def test_normalising_twice_would_be_seen(golden: Any, rate: str) -> None:
    vae, vocoder = released(golden, rate)
    file, codec = golden.open(f"vae_{rate}"), loaded(vae, vocoder)
    for key, value in codec.vae.named_parameters():
        if key.endswith(".weight"):
            value /= 1 + 1e-4 * value[0].numel() ** 0.5
    mean, _ = codec.vae.encode(file.tensor("in.mel")[None])
    with pytest.raises(AssertionError, match="rel_l2"):
        file.assert_close("out.mean", mean[0], LIMIT)


@RATES
def test_golden_weights_survive_the_forms_storage(golden: Any, rate: str) -> None:
    for weights in released(golden, rate):
        for key, value in weights.items():
            if not key.endswith((".filter", "data_mean", "data_std")):
                assert torch.equal(value.bfloat16().float(), value), key
