"""Joint attention: one softmax, symmetric in its streams, and the mask that needs no matrix."""

from __future__ import annotations

import pytest
import torch
from builders import normal
from torch import Tensor

from unitalking.model.attention import Projected, joint_attention, torch_attention

HEADS = 3


def stream(length: int, seed: int) -> Projected:
    return Projected(*(normal(2, length, 12, seed=seed + part) for part in range(3)))


def softmax_attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Attention written out, with a visible matrix of weights."""
    outs = []
    for q, k, v in zip(queries.chunk(heads, -1), keys.chunk(heads, -1), values.chunk(heads, -1), strict=True):
        outs.append(torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1) @ v)
    return torch.cat(outs, dim=-1)


def test_torch_attention_is_softmax_attention_head_by_head() -> None:
    a, b = stream(5, 0), stream(7, 10)
    result = torch_attention(a.queries, b.keys, b.values, HEADS)
    torch.testing.assert_close(result, softmax_attention(a.queries, b.keys, b.values, HEADS))


def test_joint_attention_is_one_softmax_over_both_streams() -> None:
    video, audio = stream(5, 0), stream(4, 10)
    results = joint_attention(video, audio, HEADS, torch_attention, video_sees_audio=True)
    keys, values = torch.cat([video.keys, audio.keys], 1), torch.cat([video.values, audio.values], 1)
    for part, result in zip((video, audio), results, strict=True):
        torch.testing.assert_close(result, softmax_attention(part.queries, keys, values, HEADS))


def test_swapping_the_streams_swaps_the_results() -> None:
    video, audio = stream(5, 0), stream(4, 10)
    there = joint_attention(video, audio, HEADS, torch_attention, video_sees_audio=True)
    back = joint_attention(audio, video, HEADS, torch_attention, video_sees_audio=True)
    torch.testing.assert_close(there[0], back[1])
    torch.testing.assert_close(there[1], back[0])


def test_video_that_must_not_see_audio_is_attention_with_those_keys_masked() -> None:
    video, audio = stream(5, 0), stream(4, 10)
    result, _ = joint_attention(video, audio, HEADS, torch_attention, video_sees_audio=False)
    silent = audio._replace(keys=torch.full_like(audio.keys, torch.nan))
    torch.testing.assert_close(result, softmax_attention(video.queries, video.keys, video.values, HEADS))
    assert torch.equal(result, joint_attention(video, silent, HEADS, torch_attention, video_sees_audio=False)[0])


def test_audio_sees_video_whether_or_not_video_sees_audio() -> None:
    video, audio = stream(5, 0), stream(4, 10)
    seen, unseen = (
        joint_attention(video, audio, HEADS, torch_attention, video_sees_audio=sees)[1] for sees in (True, False)
    )
    torch.testing.assert_close(seen, unseen)


@pytest.mark.parametrize(("sees", "calls"), [(True, [(9, 9)]), (False, [(5, 5), (4, 9)])])
def test_no_more_attention_is_computed_than_needed(sees: bool, calls: list[tuple[int, int]]) -> None:
    made = []

    def counting(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        made.append((queries.shape[1], keys.shape[1]))
        return torch_attention(queries, keys, values, heads)

    joint_attention(stream(5, 0), stream(4, 10), HEADS, counting, video_sees_audio=sees)
    assert made == calls
