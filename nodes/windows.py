"""Context windows of the host: which part of picture, sound and held tokens belongs to a window of a long clip."""

from __future__ import annotations

from typing import Any

import torch

from ..unitalking.config import UniTalkingConfig
from ..unitalking.tasks import HeldTokens


def held_in_window(held: HeldTokens, window: Any) -> HeldTokens:
    """What is held of the part of a clip that a window shows."""
    video = window.get_tensor(torch.tensor(held.video), dim=1)
    audio = torch.tensor(held.audio)
    if window.modality_windows:
        audio = window.get_window_for_modality(1).get_tensor(audio, dim=1)
    return HeldTokens(*(tuple(tuple(row) for row in table.tolist()) for table in (video, audio)))


def speakers_in_window(speakers: tuple[int, ...], window: Any) -> tuple[int, ...]:
    """Who speaks in the part of a clip that a window shows."""
    if not window.modality_windows:
        return speakers
    table = torch.tensor([speakers])
    return tuple(window.get_window_for_modality(1).get_tensor(table, dim=1)[0].tolist())


def audio_window(video: list[int], video_total: int, audio_total: int, config: UniTalkingConfig) -> list[int]:
    """Audio latents whose time falls on the given video latents, in order, without repeats."""
    scale = config.position_scale
    chosen: dict[int, None] = {}
    for index in video:
        end = audio_total if index + 1 == video_total else round((index + 1) / scale)
        chosen.update(dict.fromkeys(range(min(round(index / scale), audio_total - 1), min(end, audio_total))))
    return list(chosen)


def audio_start(window: Any, config: UniTalkingConfig) -> float:
    """When the sound of a context window begins, in video latents after its picture; 0 without a window.

    The host puts the latent before a window in front of its picture, where there is one, but not in front of the sound.
    """
    if window is None or not window.modality_windows:
        return 0.0
    anchor = getattr(window, "causal_anchor_index", None)
    first = window.index_list[0] if anchor is None else anchor
    return window.get_window_for_modality(1).index_list[0] * config.position_scale - first
