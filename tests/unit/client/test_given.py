"""What a person gives, put into the shipped workflows' kinds of nodes; what comes out as a prompt."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from unitalking.client.given import PORTRAIT, VOICE, give_prefix, give_seed, give_speech, seed_of
from unitalking.client.workflow import WorkflowError, to_prompt

SEED = ["INT", {"default": 0, "control_after_generate": True}]
TEXT = ["STRING", {"default": ""}]
FACES = [["amara", "finn", "none"]]
OBJECT_INFO: dict[str, Any] = {
    "LoadImage": {"input": {"required": {"image": [[], {}]}}, "output": ["IMAGE"], "output_name": ["IMAGE"]},
    "LoadAudio": {"input": {"required": {"audio": [[], {}]}}, "output": ["AUDIO"], "output_name": ["AUDIO"]},
    "UniTalkingTextPrompt": {"input": {"required": {"speech": TEXT}}},
    "UniTalkingJointSampler": {"input": {"required": {"seed": SEED}}},
    "UniTalkingPortrait": {"input": {"required": {"sample_portrait": FACES}, "optional": {"image": ["IMAGE"]}}},
    "UniTalkingEncodeVoiceReference": {
        "input": {"required": {"sample_voice": [["alice_clear"]]}, "optional": {"audio": ["AUDIO"]}}
    },
    "UniTalkingLongTalk": {
        "input": {
            "required": {"speech": TEXT, "seed": SEED, "sample_portrait": FACES},
            "optional": {"image": ["IMAGE"]},
        }
    },
    "UniTalkingSaveMP4": {"input": {"required": {"fps": ["FLOAT", {}], "filename_prefix": TEXT}}},
}
CLIP = {
    "nodes": [
        {"id": 1, "type": "UniTalkingTextPrompt", "widgets_values": ["Hello."]},
        {"id": 2, "type": "UniTalkingJointSampler", "widgets_values": [7, "fixed"]},
        {
            "id": 3,
            "type": "UniTalkingPortrait",
            "widgets_values": ["amara"],
            "inputs": [{"name": "image", "type": "IMAGE", "link": 1}],
        },
        {"id": 4, "type": "LoadImage", "widgets_values": ["old.png"], "outputs": [{"type": "IMAGE", "links": [1]}]},
        {"id": 5, "type": "UniTalkingEncodeVoiceReference", "widgets_values": ["alice_clear"]},
        {"id": 6, "type": "UniTalkingSaveMP4", "widgets_values": [24.0, "video/UniTalking"]},
    ],
    "links": [[1, 4, 0, 3, 0, "IMAGE"]],
}
LONG = {
    "nodes": [{"id": 1, "type": "UniTalkingLongTalk", "widgets_values": ["Hello.", 7, "fixed", "amara"]}],
    "links": [],
}


def inputs(workflow: dict[str, Any], class_type: str) -> dict[str, Any]:
    """What the only node of a class runs with."""
    prompt = to_prompt(workflow, OBJECT_INFO)
    (found,) = (node["inputs"] for node in prompt.values() if node["class_type"] == class_type)
    return found


@pytest.mark.parametrize(
    ("workflow", "speaker", "sampler"),
    [(CLIP, "UniTalkingTextPrompt", "UniTalkingJointSampler"), (LONG, "UniTalkingLongTalk", "UniTalkingLongTalk")],
    ids=["clip", "long talk"],
)
def test_speech_and_seed_reach_the_node_that_takes_them(workflow: dict[str, Any], speaker: str, sampler: str) -> None:
    workflow = copy.deepcopy(workflow)
    give_speech(workflow, "Good day.", OBJECT_INFO)
    give_seed(workflow, 2**64 - 1, OBJECT_INFO)
    assert inputs(workflow, speaker)["speech"] == "Good day."
    assert inputs(workflow, sampler)["seed"] == 2**64 - 1 == seed_of(to_prompt(workflow, OBJECT_INFO))


@pytest.mark.parametrize(
    ("workflow", "taker"), [(CLIP, "UniTalkingPortrait"), (LONG, "UniTalkingLongTalk")], ids=["clip", "long talk"]
)
def test_picture_of_a_file_takes_the_place_of_any_other(workflow: dict[str, Any], taker: str) -> None:
    workflow = copy.deepcopy(workflow)
    PORTRAIT.give_file(workflow, "new.png", OBJECT_INFO)
    prompt, (loader, slot) = to_prompt(workflow, OBJECT_INFO), inputs(workflow, taker)["image"]
    assert (prompt[loader]["inputs"]["image"], slot) == ("new.png", 0)


def test_sample_is_heard_where_a_file_was_wired() -> None:
    workflow = copy.deepcopy(CLIP)
    PORTRAIT.give_sample(workflow, "finn", OBJECT_INFO)
    VOICE.give_file(workflow, "me.wav", OBJECT_INFO)
    VOICE.give_sample(workflow, "alice_clear", OBJECT_INFO)
    assert inputs(workflow, "UniTalkingPortrait") == {"sample_portrait": "finn"}
    assert inputs(workflow, "UniTalkingEncodeVoiceReference") == {"sample_voice": "alice_clear"}


def test_place_that_the_workflow_lacks_is_named() -> None:
    for give in (VOICE.give_file, VOICE.give_sample):
        with pytest.raises(WorkflowError, match="no UniTalkingEncodeVoiceReference node"):
            give(copy.deepcopy(LONG), "alice_clear", OBJECT_INFO)


def test_prefix_is_set_where_save_mp4_is() -> None:
    workflow, without = copy.deepcopy(CLIP), copy.deepcopy(LONG)
    give_prefix(workflow, "video/first", OBJECT_INFO)
    give_prefix(without, "video/first", OBJECT_INFO)
    assert inputs(workflow, "UniTalkingSaveMP4")["filename_prefix"] == "video/first"
    assert without == LONG
