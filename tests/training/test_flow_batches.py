"""Batches: the same numbers on any number of processes, the tasks' shares, dropped conditions, whose voice."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("webdataset", reason="needs requirements-train.txt")

import tiny_data

from unitalking.checkpoint.random_model import TINY
from unitalking.codec.text_encoder import PAD_ID, expected_times, tokenize
from unitalking.latents import LatentStatistics
from unitalking.mapping import from_mapping
from unitalking.tasks import TASKS
from unitalking.training.draws import (
    ClockSettings,
    DropSettings,
    ReferenceSettings,
    SigmaSettings,
    SpanSettings,
    TaskMix,
    generator,
)
from unitalking.training.flow_batches import Draws, FlowBatch, FlowBatches
from unitalking.training.plan import Plan
from unitalking.training.settings import TrainingError
from unitalking.training.shards import Shards
from unitalking.voice import fill_reference

STATISTICS = (
    LatentStatistics(torch.full((TINY.in_dim,), 0.5), torch.full((TINY.in_dim,), 2.0)),
    LatentStatistics(torch.full((TINY.audio_channels,), -0.5), torch.full((TINY.audio_channels,), 0.5)),
)
PAPER = {"t2av": {"weight": 1.0}, "tv2a": {"weight": 1.0}, "ti2av": {"weight": 1.0}, "tr2av": {"weight": 1.0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make_dataset(tmp_path_factory.mktemp("data") / "set")


def source(folder: Path, tasks: dict[str, Any] | None = None, samples: int = 4, **draws: Any) -> FlowBatches:
    settings = Draws(
        tasks=from_mapping(TaskMix, tasks or PAPER),
        sigma=draws.get("sigma", SigmaSettings()),
        drop=draws.get("drop", DropSettings(0, 0, 0)),
        spans=SpanSettings(),
        references=draws.get("references", ReferenceSettings()),
        clock=draws.get("clock", ClockSettings()),
    )
    return FlowBatches(Shards(folder), TINY, STATISTICS, settings, samples, draws.get("seed", 0))


def leaves(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def equal(one: FlowBatch, other: FlowBatch) -> bool:
    first, second = leaves(one), leaves(other)
    if len(first) != len(second):
        return False
    pairs = zip(first, second, strict=True)
    # NaN where it is not known when a clip is spoken.
    same = (torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)) if isinstance(a, Tensor) else a == b for a, b in pairs)
    return all(same)


def test_a_batch_is_a_function_of_its_number(folder: Path) -> None:
    one, other = source(folder), source(folder)
    for index in (5, 0, 17):
        assert equal(one.batch(index, 0, 1), other.batch(index, 0, 1))
    assert not equal(one.batch(1, 0, 1), one.batch(2, 0, 1))
    assert not equal(one.batch(1, 0, 1), source(folder, seed=1).batch(1, 0, 1))
    assert equal(pickle.loads(pickle.dumps(one)).batch(3, 0, 1), other.batch(3, 0, 1))  # as a worker gets it


def test_processes_share_the_batch_of_one(folder: Path) -> None:
    batches = source(folder)
    for index in range(6):
        whole = batches.batch(index, 0, 1)
        halves = [batches.batch(index, rank, 2) for rank in range(2)]
        assert sum((half.keys for half in halves), ()) == whole.keys
        assert all(half.video_sees_audio == whole.video_sees_audio for half in halves)
        for name in ("video", "audio"):
            for field in ("data", "noise", "sigma"):
                parts = [getattr(getattr(half, name), field) for half in halves]
                assert torch.equal(torch.cat(parts), getattr(getattr(whole, name), field))
        assert torch.equal(torch.cat([half.voice_present for half in halves]), whole.voice_present)


def test_samples_and_steps_have_noise_of_their_own(folder: Path) -> None:
    batches = source(folder)
    noises = [row for index in (0, 1) for row in batches.batch(index, 0, 1).audio.noise]
    shortest = min(row.shape[-1] for row in noises)
    distinct = {tuple(row[:, :shortest].flatten().tolist()) for row in noises}
    assert len(distinct) == 8
    sigmas = {value for index in (0, 1) for value in batches.batch(index, 0, 1).video.sigma.tolist()}
    assert len(sigmas) == 8


def test_latents_are_normalised_by_the_models_statistics(folder: Path) -> None:
    batch = source(folder).batch(0, 0, 1)
    shards = Shards(folder)
    clip = shards.read(shards.keys.index(batch.keys[0]))
    assert torch.allclose(batch.video.data[0], (clip.video.float() - 0.5) / 2.0)
    assert torch.allclose(batch.audio.data[0], (clip.audio.float() + 0.5) / 0.5)


def test_clips_of_one_length_share_a_batch_and_an_epoch_repeats_none(folder: Path) -> None:
    batches = source(folder, samples=2)
    lengths = Shards(folder).table.audio_latents
    usable, plan = batches.plans[TASKS["t2av"].layout]
    epochs = []
    for epoch in range(3):
        rows = [usable[plan.clips(epoch * len(plan) + place)] for place in range(len(plan))]
        assert all(len(set(lengths[row])) == 1 for row in rows)
        used = np.concatenate(rows)
        assert len(set(used)) == len(used) == 10  # 6 clips and 5, in pairs
        epochs.append(tuple(used))
    assert len(set(epochs)) == 3


def test_too_few_clips_of_a_length_are_repeated() -> None:
    plan = Plan(np.array([[3], [5], [5]]), np.zeros(3), 4, seed=0)
    rows = [sorted(plan.clips(index).tolist()) for index in range(len(plan))]
    assert sorted(rows) == [[0, 0, 0, 0], [1, 1, 2, 2]]


def test_texts_of_a_batch_are_of_about_one_length() -> None:
    texts = np.random.default_rng(0).permutation(np.arange(480))
    plan = Plan(np.ones((480, 1)), texts, 6, seed=0)
    batches = [texts[plan.clips(index)] for index in range(len(plan))]
    assert sorted(np.concatenate(batches).tolist()) == list(range(480))
    spread = np.mean([np.ptp(batch) for batch in batches])
    assert spread < 0.25 * np.mean([np.ptp(batch) for batch in np.split(texts, 80)])
    # Chance is left: other batches in every epoch, and long texts are not all at one end.
    again = {tuple(sorted(plan.clips(index).tolist())) for index in range(80, 160)}
    assert not again & {tuple(sorted(plan.clips(index).tolist())) for index in range(80)}
    assert abs(np.corrcoef([batch.mean() for batch in batches], np.arange(80))[0, 1]) < 0.4


def test_tasks_come_in_rotation_with_their_weights() -> None:
    mix = from_mapping(TaskMix, {**PAPER, "ti2av": {"weight": 5.0}})
    first = [mix.tasks_of(index, 4, seed=0) for index in range(800)]
    layouts = [{task.layout for task in tasks} for tasks in first]
    assert all(len(found) == 1 for found in layouts)
    counts = Counter(task.name for tasks in first for task in tasks)
    assert counts["ti2av"] / 3200 == pytest.approx(5 / 8, abs=0.02)
    assert counts["tv2a"] / 3200 == pytest.approx(1 / 8, abs=0.002)  # alone in its layout: exact to a step
    gaps = np.diff([index for index, tasks in enumerate(first) if tasks[0].name == "tv2a"])
    assert gaps.max() <= 13


def test_a_batch_holds_what_its_tasks_hold(folder: Path) -> None:
    batches = source(folder, {"t2av": {"weight": 1.0}, "ti2av": {"weight": 1.0}, "a2v": {"weight": 1.0}}, samples=6)
    for index in range(4):
        batch = batches.batch(index, 0, 1)
        for row, name in enumerate(batch.tasks):
            frames, latents = batch.video.data.shape[2], batch.audio.data.shape[2]
            for stream, mask in (
                (batch.video, TASKS[name].video_mask(frames)),
                (batch.audio, TASKS[name].audio_mask(latents, TINY)),
            ):
                runs = [torch.full((n,), f) for n, f in zip(stream.lengths, stream.factor[row].tolist(), strict=True)]
                assert torch.equal(torch.cat(runs), mask.flatten())


def test_first_pictures_alone_are_cut_off_the_clips_and_share_batches(folder: Path) -> None:
    tasks = {"t2v": {"weight": 1.0, "latent_frames": 1}, "tts": {"weight": 1.0}}
    batches, shards = source(folder, tasks), Shards(folder)
    lengths, kinds = set(), Counter()
    for index in range(12):
        batch = batches.batch(index, 0, 1)
        kinds[batch.tasks[0]] += 1
        if batch.tasks[0] == "t2v":
            assert batch.audio is None
            clips = [shards.read(shards.keys.index(key)) for key in batch.keys]
            first = torch.stack([clip.video[:, :1] for clip in clips]).float()
            assert torch.equal(batch.video.data, STATISTICS[0].normalise(first))
            assert batch.video.noise.shape == first.shape
            scene = torch.tensor(tokenize("a face <S><E>", TINY.text_len)[0])
            assert all(torch.equal(row[row != PAD_ID], scene) for row in batch.text.ids)
            lengths.add(frozenset(clip.frames for clip in clips))
        else:
            assert batch.video is None
    assert kinds["t2v"] == kinds["tts"] == 6
    assert {17, 25} in lengths  # clips of different lengths in one batch


@pytest.mark.parametrize("task", ["t2av", "tts"])
def test_only_pictures_without_sound_may_be_cut(task: str) -> None:
    with pytest.raises(ValueError, match=rf"latent_frames: got \['{task}'\], expected for t2v only"):
        from_mapping(TaskMix, {task: {"weight": 1.0, "latent_frames": 1}})


def test_tasks_use_all_clips_that_have_what_they_need(tmp_path: Path) -> None:
    folder = tiny_data.make_dataset(tmp_path / "mixed", frames=(0, 17, 17, 0))
    batches = source(folder, {"t2av": {"weight": 1.0}, "tts": {"weight": 1.0}}, samples=2)
    used: dict[str, set[str]] = {"t2av": set(), "tts": set()}
    for index in range(24):
        batch = batches.batch(index, 0, 1)
        used[batch.tasks[0]] |= set(batch.keys)
    assert used == {"t2av": {"clip-001", "clip-002"}, "tts": {f"clip-00{number}" for number in range(4)}}


def test_speech_alone_needs_no_picture(tmp_path: Path) -> None:
    folder = tiny_data.make_dataset(tmp_path / "mixed", frames=(0, 17, 17, 0))
    batch = source(folder, {"tts": {"weight": 1.0}}).batch(0, 0, 1)
    assert batch.video is None
    assert batch.audio.data.shape[0] == 4
    only = source(folder, {"t2av": {"weight": 1.0}}, samples=2)
    assert {key for index in range(5) for key in only.batch(index, 0, 1).keys} == {"clip-001", "clip-002"}
    with pytest.raises(TrainingError, match="no clip that these tasks can use"):
        source(tiny_data.make_dataset(tmp_path / "sound", frames=(0, 0)), {"t2av": {"weight": 1.0}})


def test_the_voice_is_another_clip_of_the_same_speaker(folder: Path) -> None:
    batches = source(folder, {"tr2av": {"weight": 1.0}})
    shards = Shards(folder)
    clips = {key: shards.read(place) for place, key in enumerate(shards.keys)}
    seen = Counter()
    for index in range(12):
        batch = batches.batch(index, 0, 1)
        assert batch.voice_present.tolist() == [1.0] * 4
        for row, key in enumerate(batch.keys):
            matching = [
                other.key
                for other in clips.values()
                if torch.allclose(
                    fill_reference(STATISTICS[1].normalise(other.audio[None].float()), TINY.reference_tokens)[0],
                    batch.reference[row],
                )
            ]
            assert len(matching) == 1
            assert matching[0] != key
            assert clips[matching[0]].speaker == clips[key].speaker
            seen[matching[0]] += 1
    assert len(seen) > 6


def test_a_cut_voice_is_joined_from_stretches_of_its_recordings() -> None:
    # Every latent says whose it is and where it stood.
    recordings = [
        torch.stack((torch.full((length,), float(name)), torch.arange(float(length))))
        for name, length in ((1, 40), (2, 9))
    ]
    settings = ReferenceSettings(whole_share=0.25, pieces=3, shortest=12)
    lengths, whole, joined, other = set(), 0, 0, 0
    for index in range(400):
        cut = settings.cut(recordings, 48, generator(0, index, 0))
        lengths.add(cut.shape[1])
        whole += torch.equal(cut, recordings[0])
        steps = (cut[:, 1:] - cut[:, :-1]).T.tolist()
        breaks = [place for place, step in enumerate(steps, 1) if step != [0.0, 1.0]]
        joined += len(breaks) > 0
        other += bool((cut[0] == 2).any())
        assert len(breaks) <= 2
        stretches = [stop - start for start, stop in pairwise([0, *breaks, cut.shape[1]])]
        assert all(length >= 9 for length in stretches[:-1]), stretches
    assert max(lengths) <= 48 < 3 * 40
    assert len(lengths) > 25
    assert whole / 400 == pytest.approx(0.25, abs=0.06)
    assert joined > 100 < other


def test_uncut_voices_are_drawn_as_before_they_could_be_cut(folder: Path) -> None:
    tasks = {"tr2av": {"weight": 1.0}}
    whole, never = source(folder, tasks), source(folder, tasks, references=ReferenceSettings(whole_share=1, pieces=9))
    assert equal(whole.batch(3, 0, 1), never.batch(3, 0, 1))
    cut = source(folder, tasks, references=ReferenceSettings(whole_share=0, shortest=1)).batch(3, 0, 1)
    assert cut.keys == whole.batch(3, 0, 1).keys
    assert not torch.equal(cut.reference, whole.batch(3, 0, 1).reference)


@pytest.mark.parametrize("settings", [{"whole_share": 1.5}, {"pieces": 0}, {"shortest": 0}])
def test_impossible_cuts_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"references.{next(iter(settings))}"):
        ReferenceSettings(**settings)


def test_a_clock_that_is_off_shifts_and_stretches_the_speech() -> None:
    settings = ClockSettings(off_share=0.75, shift_s=0.2, stretch=0.1)
    told = np.array([settings.draw((0.5, 2.5), generator(0, index, 0)) for index in range(2000)])
    off = told[:, 0] != 0.5
    assert off.mean() == pytest.approx(0.75, abs=0.03)
    begins, lengths = told[off, 0], told[off, 1] - told[off, 0]
    for drawn, low, high in ((begins, 0.3, 0.7), (lengths, 1.8, 2.2)):
        assert low < drawn.min() < low + 0.02 * (high - low) < high - 0.02 * (high - low) < drawn.max() < high
    assert abs(np.corrcoef(begins, lengths)[0, 1]) < 0.1
    early = [settings.draw((0.05, 1.0), generator(0, index, 0))[0] for index in range(200)]
    assert min(early) == 0.0
    unknown = settings.draw((math.nan, math.nan), generator(0, 1, 0))
    assert all(map(math.isnan, unknown))


def test_the_clock_is_off_only_where_the_whole_picture_is_given(folder: Path) -> None:
    tasks = {name: {"weight": 1.0} for name in ("t2av", "tv2a", "ti2av")}
    exact, off = source(folder, tasks), source(folder, tasks, clock=ClockSettings(off_share=1))
    changed = Counter()
    for index in range(12):
        one, other = exact.batch(index, 0, 1), off.batch(index, 0, 1)
        known = one.text.spoken.isfinite().all(1)
        for row in known.nonzero().flatten().tolist():
            changed[other.tasks[row], not torch.equal(one.text.spoken[row], other.text.spoken[row])] += 1
        if "tv2a" not in other.tasks:
            assert equal(one, other)
        assert torch.equal(one.audio.noise, other.audio.noise)
    assert set(changed) == {("tv2a", True), ("t2av", False), ("ti2av", False)}


@pytest.mark.parametrize("settings", [{"off_share": -0.1}, {"shift_s": -1}, {"stretch": 1}])
def test_impossible_clocks_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"clock.{next(iter(settings))}"):
        ClockSettings(**settings)


@pytest.mark.parametrize(
    ("drop", "texts", "voices"),
    [((0.3, 0.0, 0.0), 0.7, 1.0), ((0.0, 0.4, 0.0), 1.0, 0.6), ((0.2, 0.2, 0.2), 0.6, 0.6)],
)
def test_conditions_are_dropped_as_often_as_said(drop: tuple[float, ...], texts: float, voices: float) -> None:
    settings = DropSettings(*drop)
    kept = [settings.draw(generator(0, index, 0)) for index in range(4000)]
    assert sum(each.text for each in kept) / 4000 == pytest.approx(texts, abs=0.03)
    assert sum(each.reference for each in kept) / 4000 == pytest.approx(voices, abs=0.03)
    both = sum(not each.text and not each.reference for each in kept) / 4000
    assert both == pytest.approx(drop[2], abs=0.03)


def test_dropped_text_is_the_empty_prompt_of_inference(folder: Path) -> None:
    dropped = source(folder, drop=DropSettings(1, 0, 0)).batch(0, 0, 1)
    ids, _ = tokenize("", TINY.text_len)
    assert dropped.text.ids.tolist() == [list(ids)] * 4
    assert dropped.text.times.tolist() == [pytest.approx(expected_times("", TINY.text_len))] * 4
    kept = source(folder).batch(0, 0, 1)
    assert kept.text.ids.shape == kept.text.times.shape
    shards = Shards(folder)
    for key, spoken in zip(kept.keys, kept.text.spoken, strict=True):
        recorded = shards.read(shards.keys.index(key)).spoken
        assert spoken.isnan().all() if recorded is None else spoken.tolist() == pytest.approx(recorded)
    assert 0 < int(kept.text.spoken.isnan().sum()) < kept.text.spoken.numel()
    row = kept.text.ids[0]
    prompt = shards.read(shards.keys.index(kept.keys[0])).prompt
    assert tuple(row[row != PAD_ID].tolist()) == tokenize(prompt, TINY.text_len)[0]
    nobody = source(folder, drop=DropSettings(0, 0, 1)).batch(0, 0, 1)
    assert nobody.voice_present.sum() == 0
    assert not nobody.reference.any()


def sigmas(**settings: Any) -> np.ndarray:
    drawn = SigmaSettings(**settings)
    return np.array([drawn.draw(generator(0, index, 0), sampling_shift=3.0) for index in range(4000)])


def test_sigmas_follow_their_distribution() -> None:
    flat = sigmas(shift=1.0)
    assert flat.min() > 0
    assert flat.max() <= 1
    assert np.quantile(flat[:, 0], [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    normal = sigmas(kind="logit_normal", mean=1.0, std=0.5, shift=1.0)[:, 0]
    assert np.log(normal / (1 - normal)).mean() == pytest.approx(1.0, abs=0.03)
    assert np.log(normal / (1 - normal)).std() == pytest.approx(0.5, abs=0.03)
    assert np.median(sigmas()[:, 0]) == pytest.approx(0.75, abs=0.02)  # the model's own shift of 3
    mixed = sigmas(kind="logit_normal", std=0.1, uniform_share=0.5, shift=1.0)[:, 0]
    assert (abs(mixed - 0.5) > 0.2).mean() == pytest.approx(0.5 * 0.6, abs=0.03)


def test_the_sound_has_its_own_sigma_where_it_should() -> None:
    same, own, leads = (sigmas(audio=kind, shift=1.0) for kind in ("same", "own", "leads"))
    assert np.array_equal(same[:, 0], same[:, 1])
    assert abs(np.corrcoef(own.T)[0, 1]) < 0.05
    assert (leads[:, 1] <= leads[:, 0]).all()
    assert (leads[:, 1] < leads[:, 0]).mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_infilling_never_holds_a_whole_clip(frames: int) -> None:
    spans = [SpanSettings().draw(generator(0, index, 0), frames) for index in range(300)]
    if frames == 1:
        assert spans == [()] * 300
        return
    assert all(0 <= start < stop <= frames and stop - start < frames for ((start, stop),) in spans)
    assert 0.4 < np.mean([span[0][0] == 0 for span in spans])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaskMix(), "no task with a weight"),
        (lambda: from_mapping(TaskMix, {"tts": {"weight": -1.0}}), "weight: got -1.0"),
        (lambda: from_mapping(TaskMix, {"lipsync": {"weight": 1.0}}), r"unknown key\(s\) lipsync"),
        (lambda: SigmaSettings(kind="cosine"), r"sigma.kind: got cosine"),
        (lambda: DropSettings(0.5, 0.4, 0.2), "sum to at most 1"),
        (lambda: SpanSettings(longest=1.0), r"spans.longest: got 1.0"),
    ],
)
def test_settings_that_cannot_work_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
