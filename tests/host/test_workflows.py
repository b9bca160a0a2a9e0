"""The example workflows, each run from the very file that ships, in a host with an empty input folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import tomllib
from graphs import Media, Node, fetch, only_file, read_media, read_sound, texts
from PIL import Image

from unitalking.client.workflow import input_specs, to_prompt

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from comfyui_events import Result

ROOT = Path(__file__).resolve().parents[2]
FOLDER, ASSETS = ROOT / "workflows", ROOT / "assets"
OWN_MODEL = {
    "talking_portrait_text": {"UniTalkingPortrait": False, "UniTalkingEncodeVoiceReference": False},
    "talking_portrait_image": {"UniTalkingPortrait": True, "UniTalkingEncodeVoiceReference": False},
    "talking_portrait_voice": {"UniTalkingPortrait": True, "UniTalkingEncodeVoiceReference": True},
}
DRIVEN = {
    "dub_a_silent_video": {"UniTalkingDrivingVideo": True, "UniTalkingEmptyLatent": False},
    "photo_speaks_my_recording": {"UniTalkingDrivingAudio": True, "UniTalkingPortrait": True},
}
SPEECH_ALONE = {"speech_only": {"UniTalkingEncodeVoiceReference": True, "UniTalkingSaveMP4": False, "SaveAudio": True}}
CHOSEN = {"best_of_four": {"UniTalkingCheckClip": True, "UniTalkingKeepBest": True}}
STYLE = {"style_reference": {"UniTalkingStyleReference": True, "UniTalkingEmptyLatent": False}}
LONG = {"long_talk": {"UniTalkingLongTalk": True, "UniTalkingJointSampler": False}}
# Of weights that the pack does not bring; test_chained_workflows.py and test_public_workflows.py run them.
CHAINED = {
    "with_upscaler": {"ImageUpscaleWithModel": True, "UniTalkingSaveMP4": True},
    "with_frame_interpolation": {"FrameInterpolate": True, "UniTalkingSaveMP4": True},
}
FILES = (
    OWN_MODEL
    | DRIVEN
    | STYLE
    | SPEECH_ALONE
    | LONG
    | CHOSEN
    | CHAINED
    | dict.fromkeys(("ovi_talking_video", "wan_video_only"), OWN_MODEL["talking_portrait_text"])
)
TITLE_HEIGHT = 30  # the editor draws a node's title above its position
# How dark the editor's canvas is, and how much of it a group's colour covers behind its title: a quarter, twice.
CANVAS, TITLE_COVER = 0.08, 1 - 0.75**2
NAMED = {
    "voice": "UniTalkingEncodeVoiceReference",
    "words": "UniTalkingTextPrompt",
    "face": "UniTalkingPortrait",
    "length": "UniTalkingEmptyLatent",
    "generate": "UniTalkingJointSampler",
    "result": "UniTalkingDecode",
}
TEMPLATES = "/api/workflow_templates"


def load(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


Finished = tuple[dict[str, Any], dict[str, Any], "Result", Media]


@pytest.fixture(scope="module", params=OWN_MODEL | DRIVEN | STYLE | LONG | CHOSEN)
def finished(request: pytest.FixtureRequest, host: ComfyUI) -> Finished:
    """A workflow, its prompt, what running it gave, and the file."""
    assert [path for path in (host.base_directory / "input").rglob("*") if path.is_file()] == []
    workflow = load(request.param)
    prompt = to_prompt(workflow, host.object_info())
    host.free()
    result = host.queue(prompt, workflow, timeout_s=120)
    return workflow, prompt, result, read_media(only_file(host, result))


def test_ends_with_an_mp4_of_picture_and_sound_of_one_length(finished: Finished) -> None:
    *_, media = finished
    assert media.codecs == ("h264", "aac")
    picture, sound = media.lengths_s
    assert abs(picture - sound) <= 1 / media.fps
    assert picture == float(len(media.pictures) / media.fps)
    assert abs(media.sound).max() > 0


def test_file_holds_the_workflow_and_the_prompt_that_ran(finished: Finished) -> None:
    workflow, prompt, _, media = finished
    assert json.loads(media.metadata["workflow"]) == workflow
    assert json.loads(media.metadata["prompt"]) == prompt
    assert "generated" in media.metadata["comment"].lower()


def test_clip_is_as_long_as_planned(finished: Finished) -> None:
    _, prompt, result, media = finished
    if "UniTalkingEmptyLatent" not in {node["class_type"] for node in prompt.values()}:
        assert len(media.pictures) > 24, "what is given decides, or the parts do"
        return
    (node,) = (Node(key) for key, value in prompt.items() if value["class_type"] == "UniTalkingTextPrompt")
    (shown,) = texts(result, node)
    planned = int(re.search(r"(\d+) frames planned", shown)[1])
    assert len(media.pictures) == planned > 24


def test_nothing_in_the_graph_names_a_file_of_the_user(finished: Finished) -> None:
    _, prompt, *_ = finished
    used = {node["class_type"] for node in prompt.values()}
    assert all(name.startswith("UniTalking") for name in used)
    assert all("image" not in node["inputs"] for node in prompt.values())


def test_dubbing_keeps_the_given_pictures_and_a_recording_its_samples(
    host: ComfyUI, pack: Callable[[str], ModuleType]
) -> None:
    files = {}
    for name in DRIVEN:
        prompt = to_prompt(load(name), host.object_info())
        (save,) = (node for node in prompt.values() if node["class_type"] == "UniTalkingSaveMP4")
        save["inputs"] |= {"lossless": True, "audio_codec": "flac"}
        files[name] = read_media(only_file(host, host.queue(prompt, timeout_s=120)))
    clip = pack("nodes.assets").load_clip("question").get_components().images.numpy() * 255
    dubbed = files["dub_a_silent_video"]
    assert abs(dubbed.pictures - clip[: len(dubbed.pictures)]).max() < 1.1
    assert dubbed.sound.std() > 0
    given = read_media(ASSETS / "clips" / "weather.mp4").sound[0]
    spoken = files["photo_speaks_my_recording"].sound[0].astype("int64")
    spoken = spoken >> (16 if abs(spoken).max() > 40000 else 0)
    assert len(spoken) == len(given)
    assert (spoken == given).all()


def test_speech_alone_gives_a_sound_file(host: ComfyUI) -> None:
    prompt = to_prompt(load("speech_only"), host.object_info())
    (save,) = (number for number, node in prompt.items() if node["class_type"] == "SaveAudio")
    sound = read_sound(host, host.queue(prompt, timeout_s=120), Node(save))
    assert sound.shape[1] > 16000
    assert sound.std() > 1e-3


@pytest.mark.parametrize("name", FILES)
def test_shows_the_nodes_of_its_task(name: str) -> None:
    types = [node["type"] for node in load(name)["nodes"]]
    assert {kind: kind in types for kind in FILES[name]} == FILES[name]
    assert types.count("MarkdownNote") >= 1
    assert all(len(node["widgets_values"][0]) > 80 for node in load(name)["nodes"] if node["type"] == "MarkdownNote")


@pytest.mark.parametrize("name", FILES)
def test_every_node_says_which_pack_it_is_of(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    for node in load(name)["nodes"]:
        if node["type"] != "MarkdownNote":
            ours = node["type"].startswith("UniTalking")
            assert node["properties"]["cnr_id"] == (project if ours else "comfy-core")


@pytest.mark.parametrize("name", FILES)
def test_seeds_stay_what_they_are(host: ComfyUI, name: str) -> None:
    seeds = 0
    for node in load(name)["nodes"]:
        if node["type"] != "MarkdownNote":
            spec = host.get(f"/object_info/{node['type']}")[node["type"]]["input"]
            seeds += sum(bool(options.get("control_after_generate")) for _, (_, options) in input_specs(spec))
    words = [value for node in load(name)["nodes"] for value in node["widgets_values"]]
    assert words.count("fixed") == seeds > 0
    assert not {"randomize", "increment", "decrement"} & {word for word in words if isinstance(word, str)}


@pytest.mark.parametrize("name", FILES)
def test_links_fit_together(name: str) -> None:
    workflow = load(name)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    numbers = [link[0] for link in workflow["links"]]
    assert len(set(numbers)) == len(numbers)
    assert (max(numbers), max(nodes)) == (workflow["last_link_id"], workflow["last_node_id"])
    for number, origin, slot, target, place, kind in workflow["links"]:
        output, entry = nodes[origin]["outputs"][slot], nodes[target]["inputs"][place]
        assert number in output["links"]
        assert entry["link"] == number
        assert output["type"] == entry["type"] == kind
    ends = [link for node in nodes.values() for output in node["outputs"] for link in output["links"] or []]
    starts = [entry["link"] for node in nodes.values() for entry in node["inputs"] if entry["link"] is not None]
    assert sorted(ends) == sorted(starts) == sorted(numbers)


def rectangle(node: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a node with its title."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE_HEIGHT, x + width, y + height


@pytest.mark.parametrize("name", FILES)
def test_every_node_lies_in_one_group_and_on_no_other(name: str) -> None:
    workflow = load(name)
    groups = [(x, y, x + width, y + height) for x, y, width, height in (g["bounding"] for g in workflow["groups"])]
    for node in workflow["nodes"]:
        left, top, right, bottom = rectangle(node)
        around = [g for g in groups if g[0] <= left and g[1] <= top and right <= g[2] and bottom <= g[3]]
        assert len(around) == 1, node["type"]
    for one, other in combinations([*map(rectangle, workflow["nodes"])], 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for one, other in combinations(groups, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize("name", FILES)
def test_groups_are_numbered_and_called_by_what_they_hold(name: str) -> None:
    workflow = load(name)
    titles = [group["title"] for group in workflow["groups"]]
    assert [title.split("  ")[0] for title in titles] == [str(number + 1) for number in range(len(titles))]
    for group in workflow["groups"]:
        left, _, width, _ = group["bounding"]
        types = {node["type"] for node in workflow["nodes"] if left <= node["pos"][0] < left + width}
        named = {word for word in NAMED if word in group["title"].lower()}
        assert named == {word for word, node_type in NAMED.items() if node_type in types}, group["title"]


def luminance(colour: list[float]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", FILES)
def test_titles_of_groups_stand_out_from_their_ground(name: str) -> None:
    for group in load(name)["groups"]:
        text = [int(group["color"][place : place + 2], 16) / 255 for place in (1, 3, 5)]
        ground = [TITLE_COVER * part + (1 - TITLE_COVER) * CANVAS for part in text]
        assert (luminance(text) + 0.05) / (luminance(ground) + 0.05) >= 3, group["title"]


@pytest.mark.parametrize("name", FILES)
def test_reads_from_left_to_right(name: str) -> None:
    workflow = load(name)
    columns = {node["id"]: node["pos"][0] for node in workflow["nodes"]}
    assert all(columns[origin] <= columns[target] for _, origin, _, target, *_ in workflow["links"])


def test_folder_holds_the_examples_and_their_pictures_alone() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(FILES)
    assert {path.suffix for path in FOLDER.iterdir()} <= {".json", ".jpg"}


def test_the_template_browser_lists_every_example(host: ComfyUI) -> None:
    assert sorted(host.get(TEMPLATES)["ComfyUI-UniTalking"]) == sorted(FILES)
    for name in FILES:
        assert json.loads(fetch(host, f"{TEMPLATES}/ComfyUI-UniTalking/{name}.json")) == load(name)


@pytest.mark.parametrize("name", FILES)
def test_every_example_has_a_thumbnail_that_is_served(host: ComfyUI, name: str) -> None:
    path = FOLDER / f"{name}.jpg"
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert min(image.size) >= 256
    assert path.stat().st_size < 200_000
    assert fetch(host, f"{TEMPLATES}/ComfyUI-UniTalking/{name}.jpg") == path.read_bytes()
