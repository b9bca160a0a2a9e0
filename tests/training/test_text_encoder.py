"""The text encoder's pretraining: it learns to pronounce, padding changes nothing, and a network starts with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")
pytest.importorskip("espeakng_loader", reason="needs requirements-train.txt")

import tiny_data

from unitalking.codec.text_encoder import END_ID, PAD_ID, ByteTextEncoder, TextEncoderConfig
from unitalking.mapping import from_mapping, to_mapping
from unitalking.synthetic.captions import VALUES
from unitalking.synthetic.vocabulary import words
from unitalking.training import flow_run
from unitalking.training.captions import UNSAID, caption, collate_captions
from unitalking.training.part_files import load_part, save_part
from unitalking.training.pronounced import Pronounced, SentenceBatches, Sentences, collate
from unitalking.training.recipe import load_recipe
from unitalking.training.settings import TrainingError
from unitalking.training.text_encoder import BLANK, FRAMES_PER_BYTE, PART_FILE, TextEncoderObjective, byte_times

CONFIG = TextEncoderConfig(32, 2, 2, 64, 31.25)


def objective() -> TextEncoderObjective:
    torch.manual_seed(0)
    return TextEncoderObjective(ByteTextEncoder(CONFIG), {"clock": 10.0})


def test_pronunciation_is_learnt() -> None:
    trained, said = objective(), Sentences({"open": 0.5, "made_up": 0.5}, "train", 0)
    batch = collate([said(number) for number in range(4)], CONFIG.max_bytes)
    optimiser = torch.optim.AdamW(trained.parameters(), lr=5e-3)
    assert trained.phoneme_error(batch) > 0.5
    assert trained.caption_error(batch) > 0.5
    for _ in range(300):
        optimiser.zero_grad()
        losses = trained(batch)
        losses.total.mean().backward()
        optimiser.step()
    heads = {name: value for name, value in trained.named_parameters() if not name.startswith("captions.names.")}
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in heads.values())
    assert trained.phoneme_error(batch) < 0.1
    assert float(losses.parts["time"].detach().max()) < 0.05
    assert trained.clock_error(batch) < 0.03
    assert trained.caption_error(batch) < 0.1


def test_bytes_are_spoken_when_their_phonemes_are() -> None:
    """A path of known phonemes: "ab" as two of them, the second where the third byte begins."""
    prompt = "<S>abc<E>"
    said = Pronounced(prompt, (5, 7), (0.3, 0.9), 1.2, caption(0, "train", 0))
    batch = collate([said], CONFIG.max_bytes)
    path = torch.full((FRAMES_PER_BYTE * batch.ids.shape[1],), BLANK)
    first = len("<S>")
    path[FRAMES_PER_BYTE * first + 1] = 5  # the middle of a's three frames
    path[FRAMES_PER_BYTE * (first + 2) + 1] = 7
    chances = torch.nn.functional.one_hot(path, 50).float() * 20
    found = byte_times(batch, chances.log_softmax(1)[None])[0]
    assert found[first : first + 3].tolist() == pytest.approx([0.3, 0.6, 0.9])
    assert float(found[-1]) == pytest.approx(1.2)
    assert not found[:first].any()


def test_padding_changes_nothing() -> None:
    trained, said = objective(), Sentences({"open": 1.0}, "train", 0)
    sentences = sorted((said(number) for number in range(6)), key=lambda each: len(each.prompt))
    trained.requires_grad_(False)
    whole = trained(collate(sentences, CONFIG.max_bytes))
    for place, each in enumerate(sentences):
        alone = trained(collate([each], CONFIG.max_bytes))
        for name, values in whole.parts.items():
            assert float(values[place]) == pytest.approx(float(alone.parts[name][0]), rel=1e-4), name


def test_a_caption_is_numbered_by_what_it_says() -> None:
    for number in range(30):
        prompt, values = caption(0, "train", number)
        said = {name: VALUES[name][value] for (name, value) in zip(VALUES, values, strict=True) if value != UNSAID}
        colours = ("hair_color", "skin", "shirt", "background")
        assert all(said[name] in prompt for name in colours if said.get("scene") != "hills" and name in said)
        assert ("wearing" in prompt or "portrait" not in prompt) or "shirt" not in said
        assert prompt.endswith("<S><E>")  # nothing of it is spoken
        assert said["gender"] in prompt
    assert caption(0, "train", 3) != caption(0, "held_out", 3) != caption(1, "held_out", 3)
    batch = collate_captions([caption(0, "train", number) for number in range(3)], 200)
    assert not batch.times[batch.ids != END_ID].any()


def test_a_caption_is_read_from_its_own_bytes_alone() -> None:
    """Padding is not looked at, and what a caption does not say costs nothing."""
    reader = objective().captions.requires_grad_(False)
    batch = collate_captions([caption(0, "train", number) for number in range(2)], CONFIG.max_bytes)
    context = torch.randn(2, batch.ids.shape[1], CONFIG.dim)
    padded = batch._replace(ids=torch.nn.functional.pad(batch.ids, (0, 5), value=PAD_ID))
    longer = torch.nn.functional.pad(context, (0, 0, 0, 5), value=9.0)
    assert torch.allclose(reader.loss(context, batch), reader.loss(longer, padded), rtol=1e-5)
    scores = reader(context, batch.ids)
    only = torch.full_like(batch.values, UNSAID)
    only[:, 4] = batch.values[:, 4].clamp(min=0)
    wanted = torch.nn.functional.cross_entropy(scores[4], only[:, 4], reduction="none")
    assert torch.allclose(reader.loss(context, batch._replace(values=only)), wanted)


def test_what_a_network_reads_already_is_kept() -> None:
    torch.manual_seed(0)
    trained = TextEncoderObjective(ByteTextEncoder(CONFIG), {"keep": 4.0})
    said = Sentences({"open": 1.0}, "train", 0)
    batch = collate([said(number) for number in range(2)], CONFIG.max_bytes)
    assert not trained(batch).parts["keep"].any()
    moved = TextEncoderObjective(trained.encoder, {"keep": 4.0})
    with torch.no_grad():
        moved.encoder.heard.bias += 0.5
    losses = moved(batch)
    variance = trained.kept(batch.ids, batch.times)[(batch.times > 0) & (batch.ids != END_ID)].var()
    assert torch.allclose(losses.parts["keep"], torch.full((2,), 0.25) / variance, rtol=1e-4)
    others = sum(moved.weights.get(name, 1.0) * part for name, part in losses.parts.items() if name != "keep")
    assert torch.allclose(losses.total, others + 4 * losses.parts["keep"])
    assert not any(value.requires_grad for value in moved.kept.parameters())


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
    assert '"caption_error"' in (tmp_path / "run" / "measurements.jsonl").read_text(encoding="utf-8")
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
