"""benchmarks/real_time.py reads a talk's parts off the events of its run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from graphs import Clip, texts

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

if TYPE_CHECKING:
    from comfyui import ComfyUI


def test_every_part_of_a_talk_is_counted_once(host: ComfyUI) -> None:
    from real_time import samplers

    clip = Clip(host)
    model, text, vae, audio_vae = (clip.model[slot] for slot in range(4))
    wires = {"model": model, "clip": text, "vae": vae, "audio_vae": audio_vae}
    talk = clip.add("UniTalkingLongTalk", **wires, speech="One. Two. Three.", preset="draft", longest_s=0.4)
    clip.add("PreviewAudio", audio=talk[1])
    result = clip.run()
    (said,) = texts(result, talk)
    assert said.splitlines() == ["3 clips", "One.", "Two.", "Three."]
    found = samplers(result, talk.id)
    assert len(found) == 3
    progress = [event.data["node"] for event in result.of_kind("progress")]
    assert len(set(progress)) > 3, "decoding has a progress bar, too"
    assert found == list(dict.fromkeys(node for node in progress if node in found))
