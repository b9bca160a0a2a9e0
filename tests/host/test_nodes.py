"""What the editor is told about our nodes: names, inputs, defaults, help; and which hosts are refused."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from graphs import fetch

from unitalking.client.workflow import input_specs

if TYPE_CHECKING:
    from comfyui import ComfyUI

ROOT = Path(__file__).resolve().parents[2]
PACK = "ComfyUI-UniTalking"
# In the order of the menu.
NODES = {
    "UniTalkingModelLoader": "Load UniTalking Model",
    "UniTalkingLoraLoader": "Load LoRA for UniTalking",
    "UniTalkingEncodeVoiceReference": "Encode Voice Reference",
    "UniTalkingSaveVoice": "Save Voice",
    "UniTalkingLoadVoice": "Load Voice",
    "UniTalkingVoiceTurn": "Voice Turn",
    "UniTalkingTextPrompt": "Text Prompt",
    "UniTalkingEmptyLatent": "Empty AV Latent",
    "UniTalkingPortrait": "Portrait Image",
    "UniTalkingDrivingVideo": "Driving Video",
    "UniTalkingDrivingAudio": "Driving Audio",
    "UniTalkingSplitSpeech": "Split Speech",
    "UniTalkingContinue": "Continue AV",
    "UniTalkingStyleReference": "Style Reference",
    "UniTalkingNoise": "Joint Noise",
    "UniTalkingFlowUniPC": "Flow UniPC",
    "UniTalkingSigmas": "Flow Sigmas",
    "UniTalkingJointGuider": "Joint Guider",
    "UniTalkingJointSampler": "Joint Flow Sampler",
    "UniTalkingDecode": "Decode AV",
    "UniTalkingJoin": "Join AV",
    "UniTalkingLongTalk": "Long Talk",
    "UniTalkingCheckClip": "Check Clip",
    "UniTalkingKeepBest": "Keep Best",
    "UniTalkingAttentionView": "Attention View",
    "UniTalkingSaveMP4": "Save MP4",
}
OURS_BY_DEFAULT = (
    *("width", "height", "frames", "steps", "shift", "sigma_shift"),
    *("guidance_video", "guidance_audio", "guidance_voice"),
)


@pytest.fixture(scope="module")
def infos(host: ComfyUI) -> dict[str, dict[str, Any]]:
    """Our nodes as the editor gets them."""
    return {name: info for name, info in host.object_info().items() if info["python_module"].endswith(PACK)}


@pytest.fixture(scope="module")
def classes(pack: Callable[[str], ModuleType]) -> dict[str, Any]:
    """Our node classes by id, in the order in which the pack hands them over."""
    pack("nodes.files").register_folders()
    return {node.define_schema().node_id: node for node in pack("nodes.extension").NODES}


def inputs_of(infos: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Node, name, type and options of every input."""
    for node, info in infos.items():
        for name, (kind, options) in input_specs(info["input"]):
            yield node, name, kind, options


def test_ids_and_display_names_are_those_of_the_design(infos: dict[str, dict[str, Any]]) -> None:
    assert {name: info["display_name"] for name, info in infos.items()} == NODES
    assert {info["category"] for info in infos.values()} == {"UniTalking"}


def test_nodes_come_in_the_order_of_the_menu(classes: dict[str, Any]) -> None:
    assert list(classes) == list(NODES)


@pytest.mark.parametrize("name", NODES)
def test_schema_inputs_are_the_parameters_of_execute(classes: dict[str, Any], name: str) -> None:
    schema = classes[name].define_schema()
    parameters = inspect.signature(classes[name].execute).parameters
    assert {entry.id for entry in schema.inputs} == set(parameters)
    optional = {entry.id for entry in schema.inputs if getattr(entry, "optional", False)}
    assert optional == {name for name, value in parameters.items() if value.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("name", NODES)
def test_the_editor_sees_the_inputs_of_the_schema(
    infos: dict[str, dict[str, Any]], classes: dict[str, Any], name: str
) -> None:
    seen = [entry for entry, _ in input_specs(infos[name]["input"])]
    assert sorted(seen) == sorted(entry.id for entry in classes[name].define_schema().inputs)


def test_every_input_says_what_it_does(infos: dict[str, dict[str, Any]]) -> None:
    tooltips = {(node, name): options.get("tooltip", "") for node, name, _, options in inputs_of(infos)}
    assert tooltips
    assert {place: text for place, text in tooltips.items() if not re.fullmatch(r"[A-Z0-9a-z].{15,}[.)]", text)} == {}


def test_every_output_says_what_comes_out(infos: dict[str, dict[str, Any]]) -> None:
    tooltips = {
        (node, name): text
        for node, info in infos.items()
        for name, text in zip(info["output_name"], info["output_tooltips"], strict=True)
    }
    assert tooltips
    assert {place: text for place, text in tooltips.items() if not re.fullmatch(r"[A-Z].{15,}[.]", text or "")} == {}


def test_every_node_says_what_it_is_for(infos: dict[str, dict[str, Any]]) -> None:
    assert [name for name, info in infos.items() if len(info["description"]) < 20] == []
    assert [name for name, info in infos.items() if not info.get("search_aliases")] == []


def test_every_default_lies_in_its_range_and_on_its_choices(infos: dict[str, dict[str, Any]]) -> None:
    checked = 0
    for node, name, kind, options in inputs_of(infos):
        default = options.get("default")
        if kind in ("INT", "FLOAT"):
            assert options["min"] <= default <= options["max"], (node, name)
        elif kind == "COMBO" and default is not None:
            assert default in options["options"], (node, name)
        else:
            continue
        checked += 1
    assert checked > 30


def test_zero_stands_for_the_models_own_value(infos: dict[str, dict[str, Any]]) -> None:
    found = {
        (node, name): options["default"]
        for node, name, kind, options in inputs_of(infos)
        if kind in ("INT", "FLOAT") and name.startswith(OURS_BY_DEFAULT)
    }
    assert len(found) == 18
    assert set(found.values()) == {0}


def test_seeds_reach_two_to_the_64_and_can_change_after_a_run(infos: dict[str, dict[str, Any]]) -> None:
    seeds = {node: options for node, name, _, options in inputs_of(infos) if name == "seed"}
    assert set(seeds) == {f"UniTalking{name}" for name in ("Noise", "JointSampler", "LongTalk", "AttentionView")}
    for options in seeds.values():
        assert (options["min"], options["max"]) == (0, 2**64 - 1)
        assert options["control_after_generate"] is True


def test_outputs_have_names_of_their_own(infos: dict[str, dict[str, Any]]) -> None:
    for name, info in infos.items():
        names = info["output_name"]
        assert len(set(names)) == len(names) == len(info["output"]) > 0, name
        assert all(re.fullmatch(r"[a-z_]+", entry) for entry in names), name


def test_a_fresh_install_has_every_file_that_a_widget_starts_with(infos: dict[str, dict[str, Any]]) -> None:
    loader = dict(input_specs(infos["UniTalkingModelLoader"]["input"]))
    assert loader["model"][1]["options"][0] == "unitalking_embedded.safetensors"
    assert (ROOT / "models" / "unitalking_embedded.safetensors").is_file()
    for name in ("text_encoder", "video_vae", "audio_codec"):
        assert loader[name][1]["default"] == "from model file"
    portrait = dict(input_specs(infos["UniTalkingPortrait"]["input"]))["sample_portrait"][1]["options"]
    voice = dict(input_specs(infos["UniTalkingEncodeVoiceReference"]["input"]))["sample_voice"][1]["options"]
    assert len(list((ROOT / "assets" / "portraits").glob(f"{portrait[0]}.*"))) == 1
    assert len(list((ROOT / "assets" / "voices").glob(f"{voice[0]}.*"))) == 1


def test_stock_loaders_do_not_list_our_files(host: ComfyUI) -> None:
    for node, name in (("UNETLoader", "unet_name"), ("CheckpointLoaderSimple", "ckpt_name"), ("VAELoader", "vae_name")):
        options = host.get(f"/object_info/{node}")[node]["input"]["required"][name]
        assert "unitalking" not in json.dumps(options)


@pytest.mark.parametrize("name", NODES)
def test_every_node_has_a_help_page_that_is_served(host: ComfyUI, name: str) -> None:
    page = ROOT / "web" / "docs" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {NODES[name]}\n")
    assert fetch(host, f"/extensions/{PACK}/docs/{name}.md").decode() == text


def test_help_pages_belong_to_nodes() -> None:
    folder = ROOT / "web" / "docs"
    assert {page.stem for page in folder.iterdir() if page.name != "pictures"} == set(NODES)
    assert {picture.stem for picture in (folder / "pictures").iterdir()} == set(NODES)


@pytest.mark.parametrize("version", ["0.30.0", "0.31.1", "0.30.0-dev", "0.30", "1.0.0", "v0.30.1"])
def test_a_new_host_is_welcome(pack: Callable[[str], ModuleType], version: str) -> None:
    pack("nodes").check_host(version)


@pytest.mark.parametrize("version", ["0.27.0", "0.29.9", "0.3.75", "0.3"])
def test_an_old_host_gets_one_line_with_both_versions(
    pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    import comfyui_version

    monkeypatch.setattr(comfyui_version, "__version__", version)
    with pytest.raises(RuntimeError) as caught:
        asyncio.run(pack("").comfy_entrypoint())
    message = str(caught.value)
    assert "\n" not in message
    assert "needs ComfyUI 0.30.0 or newer" in message
    assert f"this is {version}: update" in message


def test_the_host_that_runs_these_tests_gets_all_nodes(pack: Callable[[str], ModuleType]) -> None:
    extension = asyncio.run(pack("").comfy_entrypoint())
    assert len(asyncio.run(extension.get_node_list())) == len(NODES)
    assert pack("").WEB_DIRECTORY == "./web"
