"""What embedded_model.py asks the shipped workflows for: workflow, changes, and what a case is not judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Prompt = dict[str, Any]

LOADER, TEXT, VOICE = "UniTalkingModelLoader", "UniTalkingTextPrompt", "UniTalkingEncodeVoiceReference"
EMPTY, PORTRAIT, SAMPLER = "UniTalkingEmptyLatent", "UniTalkingPortrait", "UniTalkingJointSampler"
DECODE, SAVE = "UniTalkingDecode", "UniTalkingSaveMP4"


@dataclass(frozen=True)
class Given:
    """A real clip of which a case takes a part.

    Attributes:
        upload: puts the file of the clip that ends in this (".mp4", ".wav") into the input folder; its name there.
        frames: of the clip.
    """

    upload: Callable[[str], str]
    frames: int


@dataclass(frozen=True)
class Case:
    """One way of asking for clips.

    Attributes:
        name: of the case, its folder and its row.
        shows: what it is, in a line.
        workflow: file of workflows/, run with default widgets; only words, scene, files and seed are filled in.
        vocabulary: of the held-out sentences; see `SyntheticConfig`.
        widgets: (class, input, value) that this case sets.
        unjudged: keys of the sidecar that say nothing about this case.
        change: what it changes in the prompt that the workflow gives.
    """

    name: str
    shows: str
    workflow: str = "talking_portrait_voice"
    vocabulary: str = "common"
    widgets: tuple[tuple[str, str, Any], ...] = ()
    unjudged: tuple[str, ...] = ()
    change: Callable[[Prompt, Given], None] | None = field(default=None, repr=False)


def separate_streams(prompt: Prompt, given: Given) -> None:
    """Samples without joint attention across the streams."""
    sampler = _inputs(prompt, SAMPLER)
    sampler["model"] = _add(prompt, "UniTalkingSeparateStreams", model=sampler["model"])


def sound_alone(prompt: Prompt, given: Given) -> None:
    """Makes speech without a picture and saves it losslessly."""
    _inputs(prompt, EMPTY)["streams"] = "sound"
    _inputs(prompt, SAMPLER)["latent"] = [_node(prompt, EMPTY), 0]
    del prompt[_node(prompt, SAVE)]
    _add(prompt, "SaveAudio", audio=[_node(prompt, DECODE), 1], filename_prefix="sound")


def picture_given(prompt: Prompt, given: Given) -> None:
    """Gives the real clip's pictures, whose lips say when the words are spoken, generates their sound, saves both."""
    driving, latent = _timed_by_lips(prompt, given)
    _inputs(prompt, SAMPLER)["latent"] = [driving, latent]
    _inputs(prompt, SAVE).update(images=[driving, 1], fps=[driving, 2])


def times_given(prompt: Prompt, given: Given) -> None:
    """Generates pictures and sound, as long as the real clip and with the words spoken when its lips speak."""
    _timed_by_lips(prompt, given)
    _inputs(prompt, EMPTY)["frames"] = given.frames


def sound_given(prompt: Prompt, given: Given) -> None:
    """Gives the real clip's sound and generates its pictures, from the portrait on."""
    audio = _add(prompt, "LoadAudio", audio=given.upload(".wav"))
    encoded = _add(prompt, "VAEEncodeAudio", audio=audio, vae=[_node(prompt, LOADER), 3])
    held = _add(prompt, "UniTalkingHoldStream", latent=encoded)
    _inputs(prompt, EMPTY)["frames"] = given.frames
    _join(prompt, _streams(prompt, _inputs(prompt, SAMPLER)["latent"])[0], held)


# `no_voice` is judged against the voice that it was not given: by chance they are not alike.
CASES = {
    case.name: case
    for case in (
        Case("default", "portrait and voice given, the 1,000 common words"),
        Case("unseen", "the same with words that training never says", vocabulary="unseen"),
        Case("few", "the same with the 63 words of the recipe embedded_cpu", vocabulary="few"),
        Case(
            "no_portrait",
            "the scene's text alone decides the face; no voice given",
            workflow="talking_portrait_text",
            unjudged=("portrait", "reference"),
        ),
        Case("no_voice", "portrait, but no voice given", workflow="talking_portrait_image"),
        Case(
            "guidance_1",
            "as default, without guidance",
            widgets=((SAMPLER, "guidance_video", 1.0), (SAMPLER, "guidance_audio", 1.0)),
        ),
        Case("masked", "as default, no attention across picture and sound", change=separate_streams),
        Case("tts", "speech alone", unjudged=("portrait", "attributes"), change=sound_alone),
        Case("tv2a", "real pictures given, sound generated", change=picture_given),
        Case(
            "timed", "as default, the words at the times of the real clip's lips, as tv2a has them", change=times_given
        ),
        Case(
            "a2v",
            "real sound and the portrait given, pictures generated",
            workflow="talking_portrait_image",
            change=sound_given,
        ),
    )
}


def _node(prompt: Prompt, class_type: str) -> str:
    (found,) = (number for number, node in prompt.items() if node["class_type"] == class_type)
    return found


def _inputs(prompt: Prompt, class_type: str) -> dict[str, Any]:
    return prompt[_node(prompt, class_type)]["inputs"]


def _add(prompt: Prompt, class_type: str, **inputs: Any) -> list[Any]:
    """A link to the first output of a new node."""
    number = str(max(map(int, prompt)) + 1)
    prompt[number] = {"class_type": class_type, "inputs": inputs}
    return [number, 0]


def _timed_by_lips(prompt: Prompt, given: Given) -> list[Any]:
    """Lets the lips of the real clip time the words; a link to its pictures as Driving Video gives them."""
    video = _add(prompt, "LoadVideo", file=given.upload(".mp4"))
    loader = _node(prompt, LOADER)
    chosen = {"sample_clip": "none", "fps": 24.0, "start_s": 0.0, "width": 0, "height": 0, "fit": "crop"}
    wires = {"model": [loader, 0], "vae": [loader, 2], "video": video}
    driving, latent = _add(prompt, "UniTalkingDrivingVideo", **wires, **chosen)
    _inputs(prompt, TEXT).update(starts_at=[driving, 4], ends_at=[driving, 5])
    return [driving, latent]


def _streams(prompt: Prompt, latent: list[Any]) -> tuple[list[Any], list[Any]]:
    """Links to picture and sound of a LATENT."""
    node, _ = _add(prompt, "LTXVSeparateAVLatent", av_latent=latent)
    return [node, 0], [node, 1]


def _join(prompt: Prompt, video: list[Any], audio: list[Any]) -> None:
    """Samples a clip of these streams."""
    joined = _add(prompt, "LTXVConcatAVLatent", video_latent=video, audio_latent=audio)
    _inputs(prompt, SAMPLER)["latent"] = joined
