"""The text encoder's pretraining: it learns to pronounce, padding changes nothing, and a network starts with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")
pytest.importorskip("espeakng_loader", reason="needs requirements-train.txt")

import tiny_data

from unitalking.codec.text_encoder import ByteTextEncoder, TextEncoderConfig
from unitalking.mapping import from_mapping, to_mapping
from unitalking.synthetic.vocabulary import words
from unitalking.training import flow_run
from unitalking.training.part_files import load_part, save_part
from unitalking.training.recipe import load_recipe
from unitalking.training.settings import TrainingError
from unitalking.training.text_encoder import (
    PART_FILE,
    SentenceBatches,
    Sentences,
    TextEncoderObjective,
    collate,
)

CONFIG = TextEncoderConfig(32, 2, 2, 64, 31.25)


def objective() -> TextEncoderObjective:
    torch.manual_seed(0)
    return TextEncoderObjective(CONFIG, time_weight=1.0)


def test_pronunciation_is_learnt() -> None:
    trained, said = objective(), Sentences({"open": 0.5, "made_up": 0.5}, "train", 0)
    batch = collate([said(number) for number in range(4)], CONFIG.max_bytes)
    optimiser = torch.optim.AdamW(trained.parameters(), lr=5e-3)
    assert trained.phoneme_error(batch) > 0.5
    for _ in range(150):
        optimiser.zero_grad()
        losses = trained(batch)
        losses.total.mean().backward()
        optimiser.step()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in trained.parameters())
    assert trained.phoneme_error(batch) < 0.1
    assert float(losses.parts["time"].detach().max()) < 0.05


def test_padding_changes_nothing() -> None:
    trained, said = objective(), Sentences({"open": 1.0}, "train", 0)
    sentences = sorted((said(number) for number in range(6)), key=lambda each: len(each.prompt))
    trained.requires_grad_(False)
    whole = trained(collate(sentences, CONFIG.max_bytes))
    for place, each in enumerate(sentences):
        alone = trained(collate([each], CONFIG.max_bytes))
        for name, values in whole.parts.items():
            assert float(values[place]) == pytest.approx(float(alone.parts[name][0]), rel=1e-4), name


def test_training_hears_no_word_that_it_is_judged_by() -> None:
    said = Sentences({"open": 0.5, "made_up": 0.5}, "train", 0)
    seen = {word for number in range(200) for word in words_of(said(number).prompt)}
    unseen = {word.lower() for word in words("unseen").all}
    assert not seen & unseen
    judged = Sentences({"unseen": 1.0}, "held_out", 0)
    assert {word for number in range(20) for word in words_of(judged(number).prompt)} <= unseen


def words_of(prompt: str) -> list[str]:
    text = prompt.replace("<S>", "").replace("<E>", "").lower()
    return [word.strip(".,!?") for word in text.split()]


def test_processes_share_a_batch_out_without_changing_it() -> None:
    batches = SentenceBatches(Sentences({"open": 1.0}, "train", 0), 50, 6, 3, CONFIG.max_bytes)
    whole = batches.batch(4, 0, 1)
    assert batches.batch(4, 0, 2).keys + batches.batch(4, 1, 2).keys == whole.keys
    assert batches.batch(5, 0, 1).keys != whole.keys


def test_two_steps_of_the_recipe_leave_an_encoder_that_a_network_starts_with(tmp_path: Path) -> None:
    small = ["text_encoder.dim=16", "text_encoder.layers=1", "text_encoder.heads=2", "text_encoder.max_bytes=64"]
    small += ["trainer.steps=2", "trainer.batch_size=2", "trainer.sample_every=2", "sample_sentences=2"]
    module, recipe = load_recipe("embedded_text_encoder", [f"folder={tmp_path / 'run'}", *small])
    path = module.run(recipe)
    assert path == tmp_path / "run" / PART_FILE
    config, tensors = load_part(path, "text_encoder", TextEncoderConfig)
    assert config == recipe.text_encoder
    assert '"phoneme_error_unseen"' in (tmp_path / "run" / "measurements.jsonl").read_text(encoding="utf-8")

    data = tiny_data.make_dataset(tmp_path / "data")
    sizes = to_mapping(replace(tiny_data.SMALL, text_encoder=to_mapping(config), text_dim=16))
    sizes = {name: value for name, value in sizes.items() if name not in ("video_vae", "audio_codec")}
    given = {"config": sizes, "text_encoder": str(path)}
    _, start = flow_run.build(recipe_with(data, tmp_path / "flow", given))
    assert all(torch.equal(value, tensors[name]) for name, value in start.text_encoder.state_dict().items())

    other = replace(config, layers=2)
    save_part(tmp_path / "other.safetensors", "text_encoder", other, ByteTextEncoder(other).state_dict(), 0)
    with pytest.raises(TrainingError, match=r"other.safetensors holds .*'layers': 2.*is .*'layers': 1"):
        flow_run.build(
            recipe_with(data, tmp_path / "b", {**given, "text_encoder": str(tmp_path / "other.safetensors")})
        )


def recipe_with(data: Path, folder: Path, model: dict) -> flow_run.Recipe:
    return from_mapping(flow_run.Recipe, tiny_data.recipe(data, folder, model=model))
