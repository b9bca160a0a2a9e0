"""What a person gives for a clip - speech, seed, portrait, voice - put into a workflow, in the editor's format.

Each has a place: the class of node that takes it, in some workflows another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .workflow_edit import set_widget, unwire, wire_source

LONG_TALK = "UniTalkingLongTalk"
SPEECH = ("UniTalkingTextPrompt", LONG_TALK)
SEED = ("UniTalkingJointSampler", LONG_TALK)
SAVE = "UniTalkingSaveMP4"


@dataclass(frozen=True)
class Media:
    """Where a picture or a sound goes: a file in the input folder, or a sample of the pack.

    Attributes:
        classes: the nodes that take it, the first of them usually.
        file_input: their socket.
        sample_input: their widget with the samples' names, heard only when the socket is free.
        loader: the class that reads a file of the input folder.
        button: widget values of the loader behind the file's name.
    """

    classes: tuple[str, ...]
    file_input: str
    sample_input: str
    loader: str
    button: tuple[str, ...] = ()

    def give_file(self, workflow: dict[str, Any], name: str, object_info: dict[str, Any]) -> None:
        """Have the file `name` of the input folder read.

        Raises:
            WorkflowError: the workflow has no node that takes it.
        """
        class_type, widgets = _present(workflow, self.classes), [name, *self.button]
        wire_source(workflow, self.loader, widgets, class_type, self.file_input, object_info)

    def give_sample(self, workflow: dict[str, Any], name: str, object_info: dict[str, Any]) -> None:
        """Have the sample `name` used, or with "none" nothing.

        Raises:
            WorkflowError: the workflow has no node that takes it.
        """
        class_type = _present(workflow, self.classes)
        unwire(workflow, class_type, self.file_input)
        set_widget(workflow, class_type, self.sample_input, name, object_info)


PORTRAIT = Media(("UniTalkingPortrait", LONG_TALK), "image", "sample_portrait", "LoadImage", ("image",))
VOICE = Media(("UniTalkingEncodeVoiceReference",), "audio", "sample_voice", "LoadAudio")


def give_speech(workflow: dict[str, Any], speech: str, object_info: dict[str, Any]) -> None:
    """Set what is said; a WorkflowError if no node takes it."""
    set_widget(workflow, _present(workflow, SPEECH), "speech", speech, object_info)


def give_seed(workflow: dict[str, Any], seed: int, object_info: dict[str, Any]) -> None:
    """Set the seed of the noise; a WorkflowError if no node takes it."""
    set_widget(workflow, _present(workflow, SEED), "seed", seed, object_info)


def give_prefix(workflow: dict[str, Any], prefix: str, object_info: dict[str, Any]) -> None:
    """Set the name under which Save MP4 saves, where there is one."""
    if any(node["type"] == SAVE for node in workflow["nodes"]):
        set_widget(workflow, SAVE, "filename_prefix", prefix, object_info)


def seed_of(prompt: dict[str, Any]) -> Any:
    """The seed of a prompt (API format); None where it has none, or a link."""
    seeds = (node["inputs"].get("seed") for node in prompt.values() if node["class_type"] in SEED)
    return next((seed for seed in seeds if isinstance(seed, int)), None)


def _present(workflow: dict[str, Any], classes: tuple[str, ...]) -> str:
    """The class that the workflow has a node of; the usual one if it has none, to be named in the error."""
    types = {node["type"] for node in workflow["nodes"]}
    return next((name for name in classes if name in types), classes[0])
