"""The video VAE's training: it learns, every weight takes part, the file holds what was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

from clips import Tones

from unitalking.codec.video_vae import VideoVAE, VideoVAEConfig
from unitalking.training.frames import FrameBatches, FrameSettings, KeptPictures, mouth_mask
from unitalking.training.optimiser import build_optimisers
from unitalking.training.part_files import load_part
from unitalking.training.recipe import load_recipe
from unitalking.training.settings import OptimiserSettings, TrainingError
from unitalking.training.video_vae import PART_FILE, VideoVAELoss, VideoVAEObjective, pictures, psnr

CONFIG = VideoVAEConfig(6, (4, 6, 8), 1)
SETTINGS = FrameSettings(frames=(9,), flip_share=0.0)


def objective(loss: VideoVAELoss | None = None) -> VideoVAEObjective:
    torch.manual_seed(0)
    return VideoVAEObjective(CONFIG, loss or VideoVAELoss())


def batches(size: int = 4, settings: FrameSettings = SETTINGS) -> FrameBatches:
    return FrameBatches(KeptPictures(Tones(), settings.kept), settings, size, seed=3, latent_channels=6)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_batch_is_overfitted_in_a_few_steps(kind: str) -> None:
    trained, batch = objective(), batches().batch(0, 0, 1)
    optimisers = build_optimisers(trained, "model", OptimiserSettings(kind=kind, lr=1e-2, matrix_lr=0.05))
    assert len(optimisers) == (1 if kind == "adamw" else 2)
    errors = []
    for _ in range(60):
        losses = trained(batch)
        for optimiser in optimisers:
            optimiser.zero_grad()
        losses.total.mean().backward()
        for optimiser in optimisers:
            optimiser.step()
        errors.append(float(losses.parts["l1"].detach().mean()))
    assert errors[-1] < 0.5 * errors[0]


def test_muon_moves_all_filters_but_the_first_and_last() -> None:
    trained = objective()
    matrices = [name for name, value in trained.named_parameters() if trained.is_matrix(name, value)]
    assert len(matrices) == 2 * (3 * 2 + 3 + 2)  # both halves: two in each block, the time mixes, the changes of size
    assert not [name for name in matrices if "conv_in" in name or "conv_out" in name]


def test_the_gradient_reaches_every_weight() -> None:
    trained = objective()
    trained(batches().batch(0, 0, 1)).total.mean().backward()
    for name, value in trained.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


@torch.no_grad()
def test_the_file_holds_the_trained_model() -> None:
    fresh = VideoVAE(CONFIG)
    trained = VideoVAEObjective(CONFIG, VideoVAELoss(), fresh.state_dict())
    for name, value in trained.export().items():
        assert torch.equal(value, fresh.state_dict()[name]), name
    for value in trained.parameters():
        value.add_(0.05 * torch.randn_like(value))
    fresh.load_state_dict(trained.export())
    frames = pictures(batches().batch(0, 0, 1).frames)
    wanted = trained.vae.encode(frames)
    assert torch.allclose(wanted, fresh.encode(frames), atol=1e-5)
    assert torch.allclose(trained.vae.decode(wanted), fresh.decode(wanted), atol=1e-5)


def test_the_loss_has_its_five_terms() -> None:
    weights = VideoVAELoss(l1=1.0, mse=2.0, gradient=0.5, mouth=0.25, kl=1e-3)
    trained, batch = objective(weights), batches().batch(0, 0, 1)
    losses = trained(batch)
    parts = losses.parts
    total = parts["l1"] + 2 * parts["mse"] + 0.5 * parts["gradient"] + 0.25 * parts["mouth"] + 1e-3 * parts["kl"]
    assert torch.allclose(losses.total, total)
    frames = pictures(batch.frames)
    mean, logvar = trained.vae.encode_distribution(frames)
    normal = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).flatten(1).mean(1)
    assert torch.allclose(parts["kl"], kl, rtol=1e-4)
    error = trained.vae.decode(mean + (0.5 * logvar).exp() * batch.noise) - frames
    assert torch.allclose(parts["mouth"], error[..., 16:28, 6:22].abs().flatten(1).mean(1), rtol=1e-4)
    assert torch.allclose(parts["l1"], error.abs().flatten(1).mean(1), rtol=1e-4)
    steps = (error[..., 1:] - error[..., :-1]).abs().flatten(1).mean(1)
    steps = steps + (error[..., 1:, :] - error[..., :-1, :]).abs().flatten(1).mean(1)
    assert torch.allclose(parts["gradient"], steps, rtol=1e-4)


def test_noise_is_added_to_the_latents() -> None:
    trained, batch = objective(), batches().batch(0, 0, 1)
    other = batch._replace(noise=batch.noise + 1)
    assert not torch.allclose(trained(batch).parts["l1"], trained(other).parts["l1"], rtol=1e-4)


def test_latents_start_almost_without_noise() -> None:
    trained, batch = objective(), batches().batch(0, 0, 1)
    mean, logvar = trained.vae.encode_distribution(pictures(batch.frames))
    assert -7 < float(logvar.detach().mean()) < -5
    assert mean.detach().abs().mean() < 1


def test_psnr_in_decibels_and_at_a_place() -> None:
    frames = torch.zeros(1, 3, 1, 32, 32)
    decoded = frames.clone()
    decoded[..., :16] = 0.2  # 0.1 of the full range, in half of the picture
    left = torch.zeros(1, 1, 1, 32, 32)
    left[..., :16] = 1
    assert abs(float(psnr(decoded, frames, left)) - 20) < 1e-3
    assert abs(float(psnr(decoded, frames)) - 23.0103) < 1e-3


# ---- batches


def test_processes_share_a_batch_out_without_changing_it() -> None:
    settings = replace(SETTINGS, flip_share=0.5)
    whole = batches(settings=settings).batch(5, 0, 1)
    parts = [batches(settings=settings).batch(5, rank, 2) for rank in range(2)]
    for name in ("frames", "mouth", "noise"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    assert whole.keys == parts[0].keys + parts[1].keys


def test_stretches_are_those_of_the_clip_in_turn_of_length() -> None:
    settings = replace(SETTINGS, frames=(5, 9))
    short, long = (batches(settings=settings).batch(index, 0, 1) for index in range(2))
    assert short.frames.shape == (4, 3, 5, 32, 32)
    assert long.frames.shape == (4, 3, 9, 32, 32)
    assert short.noise.shape == (4, 6, 2, 2, 2)
    assert long.noise.shape == (4, 6, 3, 2, 2)
    for key, frames in zip(long.keys, long.frames, strict=True):
        whole = Tones().clip(int(key)).frames.permute(3, 0, 1, 2)
        assert any(torch.equal(frames, whole[:, start : start + 9]) for start in range(5))


def test_a_mirrored_clip_has_its_mouth_mirrored() -> None:
    plain = batches().batch(0, 0, 1)
    mirrored = batches(settings=replace(SETTINGS, flip_share=1.0)).batch(0, 0, 1)
    assert torch.equal(plain.frames.flip(-1), mirrored.frames)
    assert torch.equal(plain.mouth.flip(-1), mirrored.mouth)
    assert not torch.equal(plain.mouth, mirrored.mouth)
    frames = torch.zeros(1, 32, 32, 3)
    assert torch.equal(mouth_mask(frames, (0, 4, 8, 12)).flip(-1), mouth_mask(frames, (24, 4, 32, 12)))


def test_kept_clips_are_the_middle_of_the_clips_and_short_ones_end_with_a_still() -> None:
    frames, box = KeptPictures(Tones(frames=13), kept=9).clip(2)
    assert torch.equal(frames, Tones(frames=13).clip(2).frames[2:11])
    assert box == (6, 16, 22, 28)
    short = FrameBatches(KeptPictures(Tones(frames=6), 0), SETTINGS, 2, 3, 6).batch(0, 0, 1).frames
    assert torch.equal(short[:, :, 5:6].expand(-1, -1, 4, -1, -1), short[:, :, 5:])


def test_lengths_must_be_those_of_latents() -> None:
    with pytest.raises(ValueError, match="4 n"):
        FrameSettings(frames=(8,))


# ---- the recipe of the pack


def test_two_steps_of_the_recipe_leave_a_usable_file_to_go_on_from(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs requirements-train.txt")
    small = (
        "data.clips=2",
        "data.size=32",
        "sample_clips=2",
        "vae.widths=[4, 6, 8]",
        "vae.blocks=1",
        "trainer.batch_size=2",
        "trainer.steps=2",
        "trainer.sample_every=2",
    )
    module, recipe = load_recipe("embedded_video_vae", [f"folder={tmp_path / 'first'}", *small])
    path = module.run(recipe)
    assert path == tmp_path / "first" / PART_FILE
    config, tensors = load_part(path, "video_vae", VideoVAEConfig)
    assert config == recipe.vae
    VideoVAE(config).load_state_dict(tensors)
    assert (tmp_path / "first" / "samples" / "0000002.png").is_file()
    again = load_recipe("embedded_video_vae", [f"folder={tmp_path / 'second'}", f"start={path}", *small])[1]
    exported = module.build(again).inner.export()
    assert all(torch.equal(exported[name], tensors[name]) for name in tensors)
    again = replace(again, trained="decoder", folder=str(tmp_path / "third"))
    after = load_part(module.run(again), "video_vae", VideoVAEConfig)[1]
    assert {name.partition(".")[0] for name in after if not torch.equal(after[name], tensors[name])} == {"decoder"}


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="mouths"):
        load_recipe("embedded_video_vae", [f"folder={tmp_path}", "loss.mouths=1"])
