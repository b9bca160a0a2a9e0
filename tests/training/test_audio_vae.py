"""The audio VAE's training: it learns, every weight takes part, and what is baked is what was trained."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

from clips import Tones

from unitalking.codec.audio_vae import AudioVAE, weights_are_raw
from unitalking.codec.magnitude import UnitConv1d
from unitalking.codec.mel import MelConfig
from unitalking.training.audio_vae import PART_FILE, AudioVAEConfig, AudioVAELoss, AudioVAEObjective
from unitalking.training.part_files import load_part
from unitalking.training.recipe import load_recipe
from unitalking.training.settings import TrainingError
from unitalking.training.waves import KeptSpeech, WaveBatch, WaveBatches, WaveSettings

MEL = MelConfig(16000, 256, 64, 16, 0.0, 8000.0, "log10")
CONFIG = AudioVAEConfig(MEL, latent_channels=6, hidden_dim=4)
SETTINGS = WaveSettings(samples=(2048, 4096), silence_share=0.0)


def objective(seed: int = 0) -> AudioVAEObjective:
    torch.manual_seed(seed)
    made = AudioVAEObjective(CONFIG, AudioVAELoss())
    made.measure_statistics(Tones().speech(index).samples for index in range(6))
    return made


def batches(size: int = 4, settings: WaveSettings = SETTINGS) -> WaveBatches:
    return WaveBatches(Tones(), settings, size, seed=3, latent_channels=6, samples_per_latent=128)


def test_a_batch_is_overfitted_in_a_few_steps() -> None:
    trained, batch = objective(), batches().batch(0, 0, 1)
    optimiser = torch.optim.AdamW(trained.parameters(), lr=0.02)
    errors = []
    for _ in range(60):
        losses = trained(batch)
        optimiser.zero_grad()
        losses.total.mean().backward()
        optimiser.step()
        errors.append(float(losses.parts["mel_l1"].detach().mean()))
    assert errors[-1] < 0.5 * errors[0]


def test_a_fixed_posterior_leaves_the_encoders_own_out() -> None:
    loss = AudioVAELoss(l1=0.0, mse=0.0, kl=1.0, posterior_std=0.1)
    torch.manual_seed(0)
    trained, batch = AudioVAEObjective(CONFIG, loss), batches().batch(0, 0, 1)
    mean = trained.vae.encode(trained.mel(batch.waveform))[0]
    expected = 0.5 * (mean.square() + 0.01 - 1 - 2 * math.log(0.1)).mean((1, 2))
    assert torch.allclose(trained(batch).total, expected, rtol=1e-5)
    quiet, loud = (AudioVAEObjective(CONFIG, AudioVAELoss(posterior_std=std)) for std in (1e-6, 2.0))
    loud.load_state_dict(quiet.state_dict())
    decoded = quiet.vae.decode(quiet.vae.encode(quiet.mel(batch.waveform))[0])
    without_noise = (decoded - quiet.mel(batch.waveform)).abs().mean((1, 2)) / float(quiet.vae.data_std.mean())
    assert torch.allclose(quiet(batch).parts["mel_l1"], without_noise, rtol=1e-3)
    assert not torch.allclose(loud(batch).parts["mel_l1"], without_noise, rtol=1e-2)


def test_harmonics_are_differences_between_neighbouring_bands() -> None:
    torch.manual_seed(0)
    blurred = AudioVAEObjective(CONFIG, AudioVAELoss(harmonics=1.0, posterior_std=1e-6))
    batch = batches().batch(0, 0, 1)
    mel = blurred.mel(batch.waveform)
    error = (blurred.vae.decode(blurred.vae.encode(mel)[0]) - mel) / blurred.vae.data_std
    parts = blurred(batch).parts
    assert torch.allclose(parts["harmonics"], (error[:, 1:] - error[:, :-1]).abs().mean((1, 2)), rtol=1e-3)
    loss = blurred.loss
    total = parts["mel_l1"] + parts["mel_mse"] + parts["harmonics"] + loss.kl * parts["kl"]
    assert torch.allclose(blurred(batch).total, total)


@torch.no_grad()
def test_fresh_filters_look_at_one_frame_in_directions_of_their_own() -> None:
    for module in objective().vae.modules():
        if isinstance(module, UnitConv1d):
            outputs, inputs, taps = module.weight.shape
            centre = module.weight[:, :, taps // 2]
            assert module.weight.square().sum() == pytest.approx(float(centre.square().sum()))
            if outputs <= inputs:
                assert torch.allclose(centre @ centre.T, torch.eye(outputs), atol=0.01)


def test_the_gradient_reaches_every_weight() -> None:
    trained = objective()
    trained(batches().batch(0, 0, 1)).total.mean().backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in trained.parameters())


@torch.no_grad()
def test_the_baked_file_is_the_trained_model() -> None:
    trained = objective().double()
    for value in trained.parameters():  # as training leaves them: of any size
        value.mul_(3.7)
    exported = trained.export()
    assert not weights_are_raw(exported)
    baked = AudioVAE(16, 6, 4)
    baked.load_state_dict(exported)
    mel = trained.mel(batches().batch(0, 0, 1).waveform.double())
    wanted, got = trained.vae.encode(mel)[0], baked.double().encode(mel)[0]
    assert (wanted - got).abs().max() < 1e-6 * wanted.abs().max()
    wanted, got = trained.vae.decode(wanted), baked.decode(wanted)
    assert (wanted - got).abs().max() < 1e-6 * wanted.abs().max()


def test_filters_have_norm_one_in_every_forward() -> None:
    trained = objective()
    with torch.no_grad():
        trained.vae.encoder.conv_in.parametrizations.weight.original.mul_(5)
    norms = trained.vae.encoder.conv_in.weight.flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.ones(4), atol=1e-3)


def test_the_loss_has_its_three_terms() -> None:
    trained, batch = objective(), batches().batch(0, 0, 1)
    losses = trained(batch)
    parts = losses.parts
    assert torch.allclose(losses.total, parts["mel_l1"] + parts["mel_mse"] + 3e-4 * parts["kl"])
    mean, logvar = trained.vae.encode(trained.mel(batch.waveform))
    normal = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean((1, 2))
    assert torch.allclose(parts["kl"], kl, rtol=1e-4)


def test_statistics_are_those_of_the_mel_frames() -> None:
    trained = objective()
    mel = torch.cat([trained.mel(Tones().speech(index).samples[None])[0] for index in range(6)], 1)
    assert torch.allclose(trained.vae.data_mean[0, :, 0], mel.mean(1), atol=1e-4)
    assert torch.allclose(trained.vae.data_std[0, :, 0], mel.std(1), atol=1e-4)


def test_silence_gives_finite_losses_and_gradients() -> None:
    trained = objective()
    losses = trained(WaveBatch(("silence",), torch.zeros(1, 2048), torch.randn(1, 6, 16)))
    losses.total.mean().backward()
    assert losses.total.isfinite().all()
    assert all(value.grad.isfinite().all() for value in trained.parameters())


# ---- batches


def test_processes_share_a_batch_out_without_changing_it() -> None:
    whole = batches().batch(5, 0, 1)
    parts = [batches().batch(5, rank, 2) for rank in range(2)]
    assert torch.equal(whole.waveform, torch.cat([part.waveform for part in parts]))
    assert torch.equal(whole.noise, torch.cat([part.noise for part in parts]))
    assert whole.keys == parts[0].keys + parts[1].keys


def test_batches_differ_take_turns_in_length_and_have_matching_noise() -> None:
    first, second, third = (batches().batch(index, 0, 1) for index in range(3))
    assert first.waveform.shape == third.waveform.shape == (4, 2048)
    assert second.waveform.shape == (4, 4096)
    assert first.noise.shape == (4, 6, 16)
    assert not torch.equal(first.waveform, third.waveform)
    assert not torch.equal(first.noise, third.noise)


def test_levels_are_changed_within_their_range_and_some_samples_are_silent() -> None:
    settings = replace(SETTINGS, samples=(8192,), quietest_db=-20.0, loudest_db=-20.0, silence_share=0.5)
    waves = batches(64, settings).batch(0, 0, 1).waveform
    peaks = waves.abs().amax(1)
    loudest = max(float(Tones().speech(index).samples.abs().max()) for index in range(6))
    assert 16 <= int((peaks == 0).sum()) <= 48
    assert abs(float(peaks.max()) - 0.1 * loudest) < 1e-6


def test_a_length_must_be_a_whole_number_of_latents() -> None:
    with pytest.raises(ValueError, match="multiples of 128"):
        batches(settings=replace(SETTINGS, samples=(2000,)))


def test_kept_clips_are_the_clips() -> None:
    kept = KeptSpeech(Tones())
    for _ in range(2):
        assert torch.equal(kept.speech(2).samples, Tones().speech(2).samples)


# ---- the recipe of the pack

SMALL = (
    "data.clips=3",
    "vae.hidden_dim=4",
    "statistics_clips=2",
    "sample_clips=2",
    "waves.samples=[8192]",
    "trainer.batch_size=2",
    "trainer.steps=2",
    "trainer.sample_every=2",
)


def test_two_steps_of_the_recipe_leave_a_usable_file(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs requirements-train.txt")
    module, recipe = load_recipe("embedded_audio_vae", [f"folder={tmp_path}", *SMALL])
    path = module.run(recipe)
    assert path == tmp_path / PART_FILE
    config, tensors = load_part(path, "audio_vae", AudioVAEConfig)
    assert config == recipe.vae
    AudioVAE(80, config.latent_channels, 4).load_state_dict(tensors)
    assert (tmp_path / "samples" / "0000002.png").is_file()
    assert '"mel_l1"' in (tmp_path / "measurements.jsonl").read_text(encoding="utf-8")


def test_the_decoder_alone_goes_on_from_a_file(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs requirements-train.txt")
    module, first = load_recipe("embedded_audio_vae", [f"folder={tmp_path / 'first'}", *SMALL])
    before = load_part(module.run(first), "audio_vae", AudioVAEConfig)[1]
    more = [f"folder={tmp_path / 'second'}", *SMALL, f"start={tmp_path / 'first' / PART_FILE}", "trained=decoder"]
    after = load_part(module.run(load_recipe("embedded_audio_vae", more)[1]), "audio_vae", AudioVAEConfig)[1]
    changed = {name.partition(".")[0] for name in after if (after[name] - before[name]).abs().max() > 1e-6}
    assert changed == {"decoder"}


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="hidden_dims"):
        load_recipe("embedded_audio_vae", [f"folder={tmp_path}", "vae.hidden_dims=4"])
