"""The clips as a whole: made from their number alone, within the bounds, split apart."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import torch

from unitalking.synthetic import SyntheticClips, SyntheticConfig
from unitalking.synthetic.sentences import split_of
from unitalking.synthetic.vocabulary import words


def test_a_clip_does_not_depend_on_the_order(espeak_installed: None) -> None:
    config = SyntheticConfig(clips=40, size=32)
    forward, backward = SyntheticClips(config), SyntheticClips(config)
    first = [forward.clip(index) for index in range(4)]
    second = [backward.clip(index) for index in (3, 2, 1, 0)][::-1]
    for one, other in zip(first, second, strict=True):
        for name, value in vars(one).items():
            assert torch.equal(value, getattr(other, name)) if torch.is_tensor(value) else value == getattr(other, name)


def test_another_seed_gives_other_clips(espeak_installed: None) -> None:
    first, second = (SyntheticClips(SyntheticConfig(clips=20, seed=seed)) for seed in (0, 1))
    same = sum(first.spec(index).speech == second.spec(index).speech for index in range(20))
    assert same < 3


def test_more_clips_of_a_seed_begin_with_the_same_ones(clips: SyntheticClips) -> None:
    more = SyntheticClips(SyntheticConfig(clips=len(clips) + 50, size=64))
    assert more.spec(7) == clips.spec(7)


@pytest.mark.parametrize(("shortest", "longest"), [(1.0, 4.1), (1.0, 1.6), (4.0, 5.1)])
def test_lengths_stay_within_the_bounds(espeak_installed: None, shortest: float, longest: float) -> None:
    few = SyntheticClips(SyntheticConfig(clips=16, shortest_s=shortest, longest_s=longest))
    lengths = []
    for index in range(16):
        spec = few.spec(index)
        assert spec.frames % 4 == 1
        lengths.append(spec.frames / 24)
        sound = few.speech(index)
        assert sound.end_s + 0.2 <= lengths[-1] + 1e-6
    assert min(lengths) >= shortest
    assert max(lengths) <= longest
    # Not all alike: they fill what they may.
    assert max(lengths) - min(lengths) > 0.4 * (longest - shortest)


def test_a_clip_has_all_that_training_takes(clips: SyntheticClips) -> None:
    clip, spec = clips.clip(5), clips.spec(5)
    assert clip.frames.shape == (spec.frames, 64, 64, 3)
    assert clip.frames.dtype == torch.uint8
    assert clip.openness.shape == (spec.frames,)
    assert (clip.openness >= 0).all()
    assert (clip.openness <= 1).all()
    assert torch.equal(clip.samples, clips.speech(5).samples)
    for name in ("speech", "scene", "sound", "speaker", "identity", "attributes"):
        assert getattr(clip, name) == getattr(spec, name)
    assert all((clip.speech, clip.scene, clip.sound, clip.speaker))


def test_the_first_frame_is_the_portrait_while_the_mouth_is_still_shut(clips: SyntheticClips) -> None:
    first = {index: clips.clip(index) for index in range(8)}
    calm = [index for index, clip in first.items() if clip.openness[0] < 0.01]
    assert len(calm) > 3
    for index in calm:
        assert (first[index].frames[0].int() - clips.portrait(index).int()).abs().float().mean() < 1.0


def test_the_splits_share_no_sentence_voice_variant_or_identity(
    clips: SyntheticClips, held_out_clips: SyntheticClips
) -> None:
    train, held_out = ([part.spec(index) for index in range(150)] for part in (clips, held_out_clips))
    assert {split_of(spec.speech) for spec in train} == {"train"}
    assert {split_of(spec.speech) for spec in held_out} == {"held_out"}
    assert not {spec.voice.variant for spec in train} & {spec.voice.variant for spec in held_out}
    assert not {spec.identity for spec in train} & {spec.identity for spec in held_out}
    assert not {spec.speaker for spec in train} & {spec.speaker for spec in held_out}


def test_unseen_words_can_be_asked_for(espeak_installed: None) -> None:
    unseen = set(words("unseen").all)
    few = SyntheticClips(SyntheticConfig(clips=10, split="held_out", vocabulary="unseen"))
    for index in range(10):
        assert set(re.findall(r"[\w']+", few.spec(index).speech)) <= unseen


def test_a_set_can_speak_several_vocabularies(espeak_installed: None) -> None:
    """About half of the clips say what an open vocabulary would, and the others words that nobody says."""
    mixed = SyntheticClips(SyntheticConfig(clips=40, vocabulary="open+made_up"))
    invented = set(words("made_up").all) - set(words("open").all)
    said = [set(re.findall(r"[\w']+", mixed.spec(index).speech.lower())) for index in range(40)]
    assert 10 <= sum(bool(one & invented) for one in said) <= 30


@pytest.mark.parametrize("index", [-1, 500])
def test_a_number_outside_the_set_is_refused(clips: SyntheticClips, index: int) -> None:
    with pytest.raises(IndexError, match="there are 500"):
        clips.spec(index)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "test"}, r"split: got 'test', expected one of train, held_out"),
        ({"vocabulary": "french"}, "vocabulary: got 'french'"),
        ({"vocabulary": "open+french"}, r"vocabulary: got 'open\+french'"),
        ({"vocabulary": "open+unseen"}, "only spoken in the split"),
        ({"vocabulary": "unseen"}, "only spoken in the split"),
        ({"size": 100}, "multiple of 32"),
        ({"size": 0}, "multiple of 32"),
        ({"clips": 0}, "clips: got 0"),
        ({"fps": 0}, "fps, sample_rate"),
        ({"shortest_s": 3.0, "longest_s": 2.0}, "shortest_s, longest_s: got 3.0 and 2.0"),
        ({"shortest_s": 0.2}, "at least 1 s"),
        ({"manners": -0.1}, "manners: got -0.1"),
    ],
)
def test_a_wrong_config_is_refused_with_the_reason(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticConfig(**{"clips": 10, **wrong})


def test_the_mouth_opens_with_the_vowels(clips: SyntheticClips) -> None:
    during, after = [], []
    for index in range(6):
        clip = clips.clip(index)
        for (start, symbol), (end, _) in pairwise(clip.phonemes):
            if symbol in ("A:", "0", "a", "aI", "E", "V") and end - start > 0.07:
                frame = round((start + 0.45 * (end - start)) * clips.config.fps)
                during.append(clip.openness[frame].item())
                after += clip.openness[frame + 4 : frame + 5].tolist()
    assert len(during) > 5
    assert sum(during) / len(during) > 0.45
    assert sum(during) / len(during) > sum(after) / len(after) + 0.15
