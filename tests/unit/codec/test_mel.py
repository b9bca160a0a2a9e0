"""Mel front end: sizes, filterbank, logarithm, limits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torchaudio.functional import melscale_fbanks

from unitalking.codec.mel import MEL_16K, MEL_44K, MelConfig, MelSpectrogram, mel_basis

PRESETS = pytest.mark.parametrize("config", [MEL_44K, MEL_16K], ids=["44k", "16k"])


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@PRESETS
@pytest.mark.parametrize("extra", [0, 1, -1])
def test_frames_are_whole_hops(config: MelConfig, extra: int) -> None:
    samples = 10 * config.hop + extra
    assert MelSpectrogram(config)(noise(2, samples)).shape == (2, config.n_mels, samples // config.hop)


@PRESETS
def test_shortest_waveform_has_a_frame_and_a_shorter_one_is_refused(config: MelConfig) -> None:
    mel = MelSpectrogram(config)
    assert mel(noise(1, config.min_samples)).shape[2] == config.min_samples // config.hop >= 1
    with pytest.raises(ValueError, match=f"{config.min_samples - 1} samples, expected at least {config.min_samples}"):
        mel(noise(1, config.min_samples - 1))


@PRESETS
def test_basis_is_torchaudios_slaney_basis(config: MelConfig) -> None:
    bins = config.n_fft // 2 + 1
    slaney = melscale_fbanks(bins, config.fmin, config.fmax, config.n_mels, config.sample_rate, "slaney", "slaney")
    basis = mel_basis(config)
    assert basis.dtype == torch.float64
    assert (basis - slaney.T.double()).norm() < 1e-5 * basis.norm()


@pytest.mark.parametrize("hz", [250.0, 997.0, 5000.0])
def test_tone_is_loudest_in_the_band_that_holds_it(hz: float) -> None:
    time = torch.arange(MEL_16K.sample_rate, dtype=torch.float64) / MEL_16K.sample_rate
    mel = MelSpectrogram(MEL_16K)(0.5 * torch.sin(2 * math.pi * hz * time)[None])
    area = mel_basis(MEL_16K).sum(dim=1)
    loudest = int((10 ** mel[0, :, 10:-10].mean(dim=1) / area).argmax())
    bins = torch.arange(513) * MEL_16K.sample_rate / MEL_16K.n_fft
    band = bins[mel_basis(MEL_16K)[loudest] > 0]
    assert band.min() - 16 <= hz <= band.max() + 16


def test_log_is_natural_at_44k_and_decimal_at_16k() -> None:
    waveform = noise(1, 8192)
    natural = MelSpectrogram(replace(MEL_16K, log="ln"))(waveform)
    torch.testing.assert_close(natural, MelSpectrogram(MEL_16K)(waveform) * math.log(10))
    assert (MEL_44K.log, MEL_16K.log) == ("ln", "log10")


@PRESETS
def test_one_frame_is_the_written_out_equation(config: MelConfig) -> None:
    waveform = 4 * noise(1, 6 * config.n_fft)
    start = 5 * config.hop - config.padding
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(config.n_fft, dtype=torch.float64) / config.n_fft)
    spectrum = torch.fft.rfft(waveform[0].clamp(-1, 1)[start : start + config.n_fft] * window)
    energies = mel_basis(config) @ (spectrum.abs().square() + 1e-9).sqrt()
    expected = energies.clamp_min(1e-5).log() / (1 if config.log == "ln" else math.log(10))
    torch.testing.assert_close(MelSpectrogram(config)(waveform)[0, :, 5], expected, rtol=0, atol=1e-12)


@PRESETS
def test_ends_are_mirrored_without_repeating_the_end_sample(config: MelConfig) -> None:
    waveform = 0.5 * noise(1, 4 * config.n_fft)
    before, after = waveform[:, 1 : config.n_fft + 1].flip(1), waveform[:, -config.n_fft - 1 : -1].flip(1)
    mel = MelSpectrogram(config)
    longer = mel(torch.cat((before, waveform, after), dim=1))
    added = config.n_fft // config.hop
    torch.testing.assert_close(mel(waveform), longer[:, :, added:-added], rtol=0, atol=1e-12)


@PRESETS
def test_digital_silence_is_finite_and_at_the_magnitude_floor(config: MelConfig) -> None:
    mel = MelSpectrogram(config)(torch.zeros(1, 8192, dtype=torch.float64))
    energies = (mel_basis(config).sum(dim=1) * math.sqrt(1e-9)).clamp_min(1e-5)
    expected = energies.log() if config.log == "ln" else energies.log10()
    torch.testing.assert_close(mel[0, :, 0], expected)


def test_half_precision_input_is_computed_in_fp32_and_float64_stays() -> None:
    mel = MelSpectrogram(MEL_16K)
    assert mel(noise(1, 4096).to(torch.bfloat16)).dtype == torch.float32
    exact = mel(noise(1, 4096))
    assert exact.dtype == torch.float64
    assert 1e-9 < (mel(noise(1, 4096).float()) - exact).abs().max() < 1e-3


def test_nan_passes_through() -> None:
    waveform = noise(1, 4096)
    waveform[0, 2000] = torch.nan
    assert MelSpectrogram(MEL_16K)(waveform).isnan().any()


def test_module_has_nothing_to_load() -> None:
    assert not MelSpectrogram(MEL_44K).state_dict()


@pytest.mark.parametrize("shape", [(4096,), (1, 2, 4096)])
def test_waveform_of_another_rank_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"waveform: got shape .* expected \(clips, samples\)"):
        MelSpectrogram(MEL_16K)(noise(*shape))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 0),
        ("hop", 256.0),
        ("n_mels", True),
        ("fmin", 9000.0),
        ("fmax", 8001.0),
        ("fmax", float("nan")),
        ("n_fft", 1023),
        ("n_fft", 128),
        ("log", "log2"),
    ],
)
def test_impossible_config_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"MelConfig\.{field}: got {value!r}, expected"):
        replace(MEL_16K, **{field: value})
