"""The codec as a whole: lengths, presets, chunked decoding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from unitalking.codec.audio_codec import (
    AUDIO_CODEC_16K,
    AUDIO_CODEC_44K,
    AUDIO_CODEC_TINY,
    AudioCodec,
    AudioCodecConfig,
)
from unitalking.codec.mel import MelConfig
from unitalking.codec.refinement import refine
from unitalking.codec.vocoder import VocoderConfig
from unitalking.mapping import from_mapping, to_mapping

# Short reach, and fast in float64; another hop and reach on the two sides of a chunk.
SMALL = AudioCodecConfig(
    MelConfig(8000, 96, 24, 10, 0.0, 4000.0, "ln"), 5, 4, VocoderConfig(10, (4, 6), (8, 10), 8, (3, 5), ((1, 3), (1,)))
)
SMALL_44K = replace(AUDIO_CODEC_44K, hidden_dim=8, vocoder=replace(AUDIO_CODEC_44K.vocoder, initial_channels=64))
PRESETS = {"44k": AUDIO_CODEC_44K, "16k": AUDIO_CODEC_16K, "tiny": AUDIO_CODEC_TINY}


def build(config: AudioCodecConfig, dtype: torch.dtype = torch.float64) -> AudioCodec:
    """A codec with every vocoder tensor drawn, so that no activation is at its resting value."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = AudioCodec(config).requires_grad_(False)
        for name, value in codec.vocoder.named_parameters():
            if name.endswith(("alpha", "beta")):
                value.normal_(std=0.3)
    return codec.to(dtype)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", [SMALL, SMALL_44K, AUDIO_CODEC_TINY], ids=["small", "44k", "16k"])
@pytest.mark.parametrize("extra", [0, 1, -1])
def test_lengths_are_exact_both_ways(config: AudioCodecConfig, extra: int) -> None:
    codec = build(config, torch.float32)
    samples = 4 * config.samples_per_latent + extra
    latents = codec.encode(0.3 * normal(2, samples))
    assert latents.shape == (2, config.latent_channels, samples // config.mel.hop // 2)
    assert codec.decode(latents).shape == (2, latents.shape[2] * config.samples_per_latent)


@pytest.mark.parametrize("samples", [1, 300, 1023])
def test_clip_too_short_for_a_latent_is_filled_with_silence(samples: int) -> None:
    codec = build(SMALL_44K)
    waveform = 0.3 * normal(1, samples)
    filled = torch.cat((waveform, torch.zeros(1, 1024 - samples, dtype=torch.float64)), dim=1)
    assert torch.equal(codec.encode(waveform), codec.encode(filled))
    assert codec.encode(waveform).shape[2] == 1


@pytest.mark.parametrize("shape", [(1, 0), (48000,), (1, 2, 48000)])
def test_empty_or_misshapen_waveform_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"waveform: got shape .* mono, not empty"):
        build(AUDIO_CODEC_TINY).encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 20, 0), (20, 4), (1, 40, 4)])
@pytest.mark.parametrize("call", [AudioCodec.decode, lambda codec, latents: codec.decode_chunked(latents, 8)])
def test_latents_of_another_codec_are_refused(call: object, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"audio latents: got shape .* expected \(clips, 20, latents\)"):
        call(build(AUDIO_CODEC_TINY), torch.zeros(shape))


def test_encoding_is_deterministic_and_is_the_posterior_mean() -> None:
    codec = build(AUDIO_CODEC_TINY)
    waveform = 0.3 * normal(1, 4096)
    mean, _ = codec.vae.encode(codec.mel(waveform))
    assert torch.equal(codec.encode(waveform), mean)
    assert torch.equal(codec.encode(waveform), codec.encode(waveform))


def test_decoding_is_the_vaes_mel_through_the_vocoder() -> None:
    codec = build(AUDIO_CODEC_TINY)
    latents = normal(1, 20, 5)
    torch.testing.assert_close(codec.decode(latents), codec.vocoder(codec.vae.decode(latents)))


def test_half_precision_inputs_are_computed_in_the_weights_precision() -> None:
    codec = build(AUDIO_CODEC_TINY, torch.float32)
    assert codec.encode(0.3 * normal(1, 4096).bfloat16()).dtype == torch.float32
    assert codec.encode(0.3 * normal(1, 4096)).dtype == torch.float32
    latents = normal(1, 20, 5).bfloat16()
    assert torch.equal(codec.decode(latents), codec.decode(latents.float()))


@pytest.mark.parametrize("chunk", [1, 7, 32, 400])
def test_chunked_decoding_equals_decoding_at_once(chunk: int) -> None:
    codec = build(SMALL)
    latents = normal(2, 5, 90)
    once = codec.decode(latents)
    assert once.std() > 0.01
    torch.testing.assert_close(codec.decode_chunked(latents, chunk), once, rtol=0, atol=1e-14)


@pytest.mark.parametrize("config", [SMALL_44K, AUDIO_CODEC_TINY], ids=["44k", "16k"])
def test_chunked_decoding_is_within_the_stated_tolerance_in_fp32(config: AudioCodecConfig) -> None:
    codec = build(config, torch.float32)
    latents = normal(1, config.latent_channels, 130)
    once = codec.decode(latents)
    difference = codec.decode_chunked(latents, 50) - once
    assert difference.norm() <= 1.2e-6 * once.norm()
    assert difference.abs().max() <= 1e-5


@pytest.mark.parametrize("config", [SMALL, SMALL_44K], ids=["small", "44k"])
def test_chunks_take_in_all_that_a_sample_depends_on_and_no_more_than_a_latent_besides(
    config: AudioCodecConfig,
) -> None:
    codec = build(config, torch.float32)
    first, after = codec._hidden_needed(0, 1)
    hidden = normal(6, 4 * config.hidden_dim, after - first + 2).float()
    for row, index in enumerate((0, 1, 2, -3, -2, -1)):
        hidden[row, :, index] = torch.nan
    samples = codec.vocoder(codec.vae.decode_local(hidden))
    probe = (1 - first) * config.samples_per_latent
    reached = samples[:, probe : probe + config.samples_per_latent].isnan().any(dim=1).tolist()
    assert (reached[0], reached[5]) == (False, False)
    assert (reached[2], reached[3]) == (True, True)


def test_chunks_report_their_progress_and_stop_when_told() -> None:
    codec = build(AUDIO_CODEC_TINY)
    seen = []

    def report(done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        codec.decode_chunked(normal(1, 20, 10), 3, report)
    assert seen == [(3, 10), (6, 10)]


def test_chunk_must_be_positive() -> None:
    with pytest.raises(ValueError, match="chunk: got 0, expected a positive integer"):
        build(AUDIO_CODEC_TINY).decode_chunked(normal(1, 20, 10), 0)


@pytest.mark.parametrize("call", [AudioCodec.decode, lambda codec, latents: codec.decode_chunked(latents, 3)])
def test_nan_in_the_latents_stays_visible(call: object) -> None:
    latents = normal(1, 20, 10)
    latents[0, 0, 9] = torch.nan
    assert call(build(AUDIO_CODEC_TINY), latents).isnan().any()


@pytest.mark.parametrize(("name", "rate", "step", "channels"), [
    ("44k", 44100, 1024, 40), ("16k", 16000, 512, 20), ("tiny", 16000, 512, 20)])  # fmt: skip
def test_presets_have_the_public_rates(name: str, rate: int, step: int, channels: int) -> None:
    config = PRESETS[name]
    assert (config.sample_rate, config.samples_per_latent, config.latent_channels) == (rate, step, channels)


def test_full_codec_has_the_published_number_of_parameters() -> None:
    codec = AudioCodec(AUDIO_CODEC_44K, device="meta")
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in codec.named_children()}
    assert count == {"mel": 0, "vae": 305_479_938 - 256, "vocoder": 122_152_752}


def test_tiny_codec_fits_a_bundle() -> None:
    assert sum(value.numel() for value in AudioCodec(AUDIO_CODEC_TINY, device="meta").state_dict().values()) < 750_000


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_config_survives_json(name: str) -> None:
    assert from_mapping(AudioCodecConfig, to_mapping(PRESETS[name])) == PRESETS[name]


def test_codec_built_on_meta_is_complete_once_its_weights_are_assigned() -> None:
    source = build(AUDIO_CODEC_TINY)
    target = AudioCodec(AUDIO_CODEC_TINY, device="meta", dtype=torch.float64)
    target.load_state_dict(source.state_dict(), strict=True, assign=True)
    waveform = 0.3 * normal(1, 4096)
    assert torch.equal(target.decode(target.encode(waveform)), source.decode(source.encode(waveform)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_channels": 0}, r"AudioCodecConfig\.latent_channels: got 0"),
        ({"hidden_dim": -1}, r"AudioCodecConfig\.hidden_dim: got -1"),
        ({"vocoder": AUDIO_CODEC_44K.vocoder}, r"VocoderConfig\.mels: got 128, expected 80"),
        (
            {"vocoder": replace(AUDIO_CODEC_TINY.vocoder, upsample_rates=(4, 4, 4, 2, 2, 2))},
            r"VocoderConfig\.upsample_rates: got .* product 512, expected product 256",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(AUDIO_CODEC_TINY, **change)


def test_a_codec_refines_what_its_config_says_in_chunks_too() -> None:
    plain = build(SMALL)
    codec = build(replace(SMALL, refine_steps=3))
    latents = normal(2, 5, 40)
    mel = plain.vae.decode(latents)
    expected = refine(plain.vocoder(mel), mel, SMALL.mel, 3)
    assert not torch.allclose(expected, plain.decode(latents), atol=1e-3)
    torch.testing.assert_close(codec.decode(latents), expected)
    torch.testing.assert_close(codec.decode_chunked(latents, 7), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("steps", [-1, 1.5, "3"])
def test_steps_are_a_whole_number(steps: object) -> None:
    with pytest.raises(ValueError, match=r"refine_steps: got .* expected 0 or a positive"):
        replace(SMALL, refine_steps=steps)
