"""Writes the example workflows in the editor's own format, laid out for reading.

Usage: python scripts/make_workflows.py (in the environment that scripts/environment.py builds). The graphs are data
below; widget order and defaults come from a running ComfyUI, so a changed schema shows up as a changed file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyui import temporary_server

from unitalking.client.workflow import input_specs

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
COLUMN, GAP, TITLE = 380, 40, 40
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
AUTOGROW = "COMFY_AUTOGROW_V3"
# What the Manager looks a missing node up by: the pack's name in the registry.
OURS, PACK, HOST = "UniTalking", {"cnr_id": "unitalking"}, {"cnr_id": "comfy-core"}
# Of groups; their titles have the same, on a dark ground.
COLOURS = ("#74b3ec", "#8fbf8f", "#d0a63c", "#e08fdf", "#a9a9a9", "#5fb8b2")


@dataclass
class Step:
    """One node: its type, column, height in the graph, widget values, what is wired into it, files it needs."""

    name: str
    type: str
    column: int
    height: int
    widgets: dict[str, Any] = field(default_factory=dict)
    wires: dict[str, tuple[str, int]] = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()


# Words and captions as the pack's own model was trained on; full-size models take them as well.
SPEECH = "Hello, I am a portrait, and I can talk."
CHOSEN_VOICE = "clara_calm"
SCENE = "A young woman with long wavy red hair and round glasses, wearing a green hoodie in front of a light blue wall."
# What a group is called, by the nodes in it.
HOLDS = {
    "UniTalkingModelLoader": "model",
    "UniTalkingEncodeVoiceReference": "voice",
    "UniTalkingTextPrompt": "words",
    "UniTalkingStyleReference": "reference",
    "UniTalkingEmptyLatent": "length",
    "UniTalkingPortrait": "face",
    "UniTalkingDrivingVideo": "your video",
    "UniTalkingDrivingAudio": "your recording",
    "UniTalkingJointSampler": "generate",
    "UniTalkingLongTalk": "long talk",
    "UniTalkingDecode": "result",
    "UniTalkingCheckClip": "check",
    "UniTalkingKeepBest": "best",
    "UniTalkingSaveMP4": "file",
    "SaveAudio": "file",
    "ImageUpscaleWithModel": "enlarge",
    "FrameInterpolate": "pictures between",
}


# Public files: (folder of ComfyUI's models, where it is published). The last part of the address is the file's name.
HUB = "https://huggingface.co"
WAN21_REPACKAGED = f"{HUB}/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
WAN_REPACKAGED = f"{HUB}/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files"
UMT5 = ("text_encoders", f"{WAN21_REPACKAGED}/text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors")
WAN_VAE = ("vae", f"{WAN_REPACKAGED}/vae/wan2.2_vae.safetensors")
WAN = ("diffusion_models", f"{WAN_REPACKAGED}/diffusion_models/wan2.2_ti2v_5B_fp16.safetensors")
UPSCALER = ("upscale_models", f"{HUB}/Comfy-Org/Real-ESRGAN_repackaged/resolve/main/RealESRGAN_x4plus.safetensors")
INTERPOLATION = f"{HUB}/Comfy-Org/frame_interpolation/resolve/main/frame_interpolation"
FILM = ("frame_interpolation", f"{INTERPOLATION}/film_net_fp16.safetensors")
OVI = ("diffusion_models", f"{HUB}/chetwinlow1/Ovi/resolve/main/model_960x960.safetensors")
CODEC_FOLDER = f"{HUB}/Kijai/WanVideo_comfy/resolve/main/Ovi"
CODEC_16K = (
    ("vae", f"{CODEC_FOLDER}/mmaudio_vae_16k_fp32.safetensors"),
    ("vae", f"{CODEC_FOLDER}/mmaudio_vocoder_bigvgan_best_netG_fp32.safetensors"),
)


def file_name(file: tuple[str, str]) -> str:
    """The name of a public file."""
    return file[1].rsplit("/", 1)[1]


def links(files: tuple[tuple[str, str], ...]) -> str:
    """Where public files are, for a note: the editor offers only those that a widget names."""
    return "\n".join(f"- [{file_name(file)}]({file[1]}) into **models/{file[0]}**" for file in files)


def public_model(
    title: str, note: str, *, model: tuple[str, str], codec: tuple[tuple[str, str], ...], words: dict[str, str]
) -> list[Step]:
    """The graph of a public model, whose parts come in files of their own."""
    files = (model, UMT5, WAN_VAE, *codec)
    steps = talking_portrait(title, f"{note}\n\n{links(files)}", portrait="", voice=False)
    by_name = {step.name: step for step in steps}
    by_name["note"].height += 240
    chosen = {
        "model": model,
        "text_encoder": UMT5,
        "video_vae": WAN_VAE,
        **({"audio_codec": codec[0]} if codec else {}),
    }
    by_name["model"].widgets = {name: file_name(file) for name, file in chosen.items()}
    by_name["model"].files = files
    by_name["prompt"].widgets = words
    if not words["speech"]:
        del by_name["latent"].wires["frames"]  # the model's own length: no speech plans one
    return steps


def talking_portrait(title: str, note: str, *, portrait: str, voice: bool) -> list[Step]:
    """The graph that all examples share. Where there is a sample portrait, it says how the face looks."""
    prompt_wires, toned = {"model": ("model", 0), "clip": ("model", 1)}, {}
    sound = "Clear speech." if portrait else "A woman speaks in a medium voice."
    words = {"speech": SPEECH, "scene": "" if portrait else SCENE, "sound": sound}
    steps = [
        Step("note", "MarkdownNote", 0, 320, {"": f"# {title}\n\n{note}"}),
        Step("model", "UniTalkingModelLoader", 0, 240),
        Step("prompt", "UniTalkingTextPrompt", 1, 500, words),
        Step("latent", "UniTalkingEmptyLatent", 2, 180),
        Step("sampler", "UniTalkingJointSampler", 3, 800, {"seed": 7}),
        Step("decode", "UniTalkingDecode", 4, 170),
        Step("save", "UniTalkingSaveMP4", 4, 660),
    ]
    if voice:
        steps.insert(2, Step("voice", "UniTalkingEncodeVoiceReference", 1, 260, {}, {"audio_vae": ("model", 3)}))
        prompt_wires["voice"] = toned["voice"] = ("voice", 0)
    clip = ("latent", 0)
    if portrait:
        wires = {"latent": ("latent", 0), "vae": ("model", 2)}
        steps.insert(-3, Step("portrait", "UniTalkingPortrait", 2, 400, {"sample_portrait": portrait}, wires))
        clip = ("portrait", 0)
    wires = {
        "prompt": prompt_wires,
        "latent": {"model": ("model", 0), "frames": ("prompt", 3)},
        "sampler": {"model": ("model", 0), "positive": ("prompt", 0), "negative": ("prompt", 1), "latent": clip},
        "decode": {"latent": ("sampler", 0), "vae": ("model", 2), "audio_vae": ("model", 3), **toned},
        "save": {"images": ("decode", 0), "audio": ("decode", 1), "fps": ("decode", 3)},
    }
    for step in steps:
        step.wires |= wires.get(step.name, {})
    return steps


def dubbing(title: str, note: str, speech: str) -> list[Step]:
    """Pictures are given, their sound is generated; the file keeps the pictures."""
    wires = {"model": ("model", 0), "vae": ("model", 2)}
    driven = Step("driving", "UniTalkingDrivingVideo", 1, 420, {}, wires)
    steps = _driven(title, note, speech, driven)
    by_name = {step.name: step for step in steps}
    by_name["prompt"].column = 2  # told when the lips in the video speak
    by_name["sampler"].wires["latent"] = ("driving", 0)
    by_name["prompt"].wires |= {"starts_at": ("driving", 4), "ends_at": ("driving", 5)}
    by_name["save"].wires |= {"images": ("driving", 1), "fps": ("driving", 2)}
    return steps


def own_recording(title: str, note: str, speech: str) -> list[Step]:
    """Sound is given, a picture speaks it; the file keeps the sound."""
    wires = {"model": ("model", 0), "audio_vae": ("model", 3)}
    driven = Step("driving", "UniTalkingDrivingAudio", 2, 300, {"sample_recording": "weather"}, wires)
    steps = _driven(title, note, speech, driven)
    by_name = {step.name: step for step in steps}
    held = {"latent": ("driving", 0), "vae": ("model", 2)}
    portrait = Step("portrait", "UniTalkingPortrait", 2, 400, {"sample_portrait": "ruth"}, held)
    steps.insert(steps.index(driven) + 1, portrait)
    by_name["sampler"].wires["latent"] = ("portrait", 0)
    by_name["save"].wires["audio"] = ("driving", 1)
    return steps


def _driven(title: str, note: str, speech: str, driven: Step) -> list[Step]:
    """The shared graph with the empty clip replaced by a given stream, which decides how long it is."""
    steps = talking_portrait(title, note, portrait="", voice=False)
    by_name = {step.name: step for step in steps}
    steps[steps.index(by_name["latent"])] = driven
    by_name["prompt"].widgets = {"speech": speech, "scene": "", "sound": "Clear speech."}
    return steps


def speech_only(title: str, note: str) -> list[Step]:
    """No picture at all."""
    steps = talking_portrait(title, note, portrait="", voice=True)
    by_name = {step.name: step for step in steps}
    by_name["latent"].widgets = {"streams": "sound"}
    by_name["prompt"].widgets = {"speech": SPEECH, "scene": "", "sound": "Clear speech."}
    wires = {"audio": ("decode", 1)}
    steps[steps.index(by_name["save"])] = Step("save", "SaveAudio", 4, 160, {"filename_prefix": "UniTalking"}, wires)
    return steps


def best_of_four(title: str, note: str, speech: str) -> list[Step]:
    """Four clips at once, judged, of which the best is saved."""
    steps = talking_portrait(title, note, portrait="leila", voice=True)
    by_name = {step.name: step for step in steps}
    by_name["prompt"].widgets["speech"] = speech
    by_name["voice"].widgets["sample_voice"] = CHOSEN_VOICE
    by_name["latent"].widgets["batch_size"] = 4
    asked = {"speech": speech, "sample_voice": CHOSEN_VOICE}
    clips = {"images": ("decode", 0), "audio": ("decode", 1)}
    check = Step("check", "UniTalkingCheckClip", 5, 520, asked, {**clips, "fps": ("decode", 3)})
    best = Step("best", "UniTalkingKeepBest", 5, 160, {}, {**clips, "score": ("check", 1)})
    steps[-1:] = [check, best, steps[-1]]
    by_name["save"].wires |= {"images": ("best", 0), "audio": ("best", 1)}
    by_name["save"].column = 5
    return steps


def style_reference(title: str, note: str, speech: str) -> list[Step]:
    """A reference clip and its words before the new clip."""
    parts = {name: ("model", slot) for slot, name in enumerate(("model", "clip", "vae", "audio_vae"))}
    words = {"transcript": "eighty store ticket river", "speech": speech}
    steps = talking_portrait(title, note, portrait="", voice=True)
    by_name = {step.name: step for step in steps}
    style = Step("style", "UniTalkingStyleReference", 1, 420, words, parts)
    steps.insert(2, style)
    steps.remove(by_name["latent"])
    by_name["voice"].wires["audio"] = ("style", 3)
    by_name["voice"].column = by_name["prompt"].column = 2
    by_name["prompt"].widgets = {"speech": "", "scene": "", "sound": "Clear speech."}
    by_name["prompt"].wires |= {"speech": ("style", 1), "ends_at": ("style", 2)}
    by_name["sampler"].wires["latent"] = ("style", 0)
    return steps


def upscaled(title: str, note: str) -> list[Step]:
    """Pictures through a stock upscale model; the sound goes past it."""
    wires = {"upscale_model": ("upscaler", 0), "image": ("decode", 0)}
    return _finished(
        f"{title}\n\n{note}\n\n{links((UPSCALER,))}",
        "amara",
        Step("upscaler", "UpscaleModelLoader", 5, 80, {"model_name": file_name(UPSCALER)}, files=(UPSCALER,)),
        Step("larger", "ImageUpscaleWithModel", 5, 80, {}, wires),
    )


def interpolated(title: str, note: str) -> list[Step]:
    """Twice as many pictures in the same time: between two pictures one more, and the last one once more."""
    wires = {"interp_model": ("film", 0), "images": ("decode", 0)}
    both = {"images.image0": ("between", 0), "images.image1": ("last", 0)}
    steps = _finished(
        f"{title}\n\n{note}\n\n{links((FILM,))}",
        "lena",
        Step("film", "FrameInterpolationModelLoader", 5, 80, {"model_name": file_name(FILM)}, files=(FILM,)),
        Step("between", "FrameInterpolate", 5, 100, {"multiplier": 2}, wires),
        Step("last", "ImageFromBatch", 5, 110, {"batch_index": -1, "length": 1}, {"image": ("decode", 0)}),
        Step("all", "BatchImagesNode", 5, 100, {}, both),
    )
    del steps[-1].wires["fps"]
    steps[-1].widgets["fps"] = 48.0
    return steps


def _finished(note: str, portrait: str, *between: Step) -> list[Step]:
    """A talking portrait whose pictures go through further nodes, the last of which gives them to the file."""
    title, text = note.split("\n\n", 1)
    steps = talking_portrait(title, text, portrait=portrait, voice=True)
    steps[0].height += 120
    steps[-1:] = [*between, steps[-1]]
    steps[-1].column = 5
    steps[-1].wires["images"] = (between[-1].name, 0)
    return steps


def long_talk(title: str, note: str, speech: str) -> list[Step]:
    """A speech of several clips in one node."""
    parts = {name: ("model", slot) for slot, name in enumerate(("model", "clip", "vae", "audio_vae"))}
    words = {"speech": speech, "scene": "", "sound": "Clear speech.", "seed": 7}
    words["sample_portrait"] = "priya"
    result = {"images": ("talk", 0), "audio": ("talk", 1), "fps": ("talk", 2)}
    return [
        Step("note", "MarkdownNote", 0, 320, {"": f"# {title}\n\n{note}"}),
        Step("model", "UniTalkingModelLoader", 0, 240),
        Step("voice", "UniTalkingEncodeVoiceReference", 1, 260, {}, {"audio_vae": ("model", 3)}),
        Step("talk", "UniTalkingLongTalk", 2, 760, words, {**parts, "voice": ("voice", 0)}),
        Step("save", "UniTalkingSaveMP4", 3, 660, {}, result),
    ]


GRAPHS = {
    "talking_portrait_text": talking_portrait(
        "Talking portrait from text",
        "Write the words into **speech** and press Run. **scene** says how the face looks, **sound** how the voice "
        "sounds.\n\nThe pack's own model knows drawn faces and synthetic English voices: name hair, skin, glasses, "
        "clothes and background as here, by their colours.\n\n"
        "The clip is as long as the speech needs: **planned_frames** goes into **frames**.",
        portrait="",
        voice=False,
    ),
    "talking_portrait_image": talking_portrait(
        "A picture that talks",
        "Choose a sample portrait, or wire a **Load Image** into **image**. It becomes the first frame.\n\n"
        "Write the words into **speech** and press Run.\n\n"
        "The pack's own model knows drawn faces like the samples; photographs need a full-size model.",
        portrait="finn",
        voice=False,
    ),
    "talking_portrait_voice": talking_portrait(
        "A picture that talks in a given voice",
        "Choose a sample portrait and a sample voice, or wire **Load Image** and **Load Audio** (3-5 s of one person "
        "speaking). The report on **Encode Voice Reference** says whether the clip is good enough.\n\n"
        "The pack's own model knows drawn faces and synthetic English voices; photographs and people need a full-size "
        "model.\n\n"
        "Only clone a voice whose owner agrees.",
        portrait="amara",
        voice=True,
    ),
    "dub_a_silent_video": dubbing(
        "Dub a silent video",
        "Wire a **Load Video** into **video**, and write what is said in it into **speech**: speech is made in time "
        "with the lips. Its pictures go into the file as they are; a bad sound track is not used.\n\n"
        "Add **Encode Voice Reference** and wire its voice into **Text Prompt** for a voice of your choice.\n\n"
        "Write about as much as is said in the clip: the clip decides how long it is. The pack's own model knows drawn "
        "faces like the sample; people need a full-size model.",
        "How much does a curious tribe cost?",
    ),
    "photo_speaks_my_recording": own_recording(
        "A photo speaks my recording",
        "Wire a **Load Audio** into **audio**, its words into **speech**, and a **Load Image** into **image** of "
        "Portrait Image. Your own samples go into the file; choose **flac** or **alac** in Save MP4 to keep every "
        "one of them.\n\n"
        "The pack's own model knows drawn faces and synthetic English voices like the samples, up to 4 s; a longer "
        "recording is cut, and **start_s** goes on.\n\n"
        "Only use a recording whose speaker agrees.",
        "The weather in Philadelphia is steady and tender.",
    ),
    "speech_only": speech_only(
        "Speech alone",
        "**streams** of Empty AV Latent is set to *sound*: no picture is computed, and **Decode AV** gives AUDIO.\n\n"
        "Choose a sample voice, or wire a **Load Audio** (3-5 s of one person speaking).\n\n"
        "Only clone a voice whose owner agrees.",
    ),
    "long_talk": long_talk(
        "A long talk",
        "Write a text of any length into **speech**. It is split at sentence ends; every clip continues the last one, "
        "and all are joined: same face, same voice, no cut.\n\n"
        "Long Talk builds Text Prompt, Continue AV, Joint Flow Sampler, Decode AV and Join AV for every part: wire "
        "those yourself where parts differ. **Split Speech** plans the parts.\n\n"
        "Choose a sample portrait and a sample voice, or wire **Load Image** and **Load Audio**.",
        "Good morning, my friend. The river is very long and quiet. We walked to the old house by the sea. There was "
        "nobody in the garden. The light in the window was yellow. Then my brother opened the door. He said that "
        "dinner was ready.",
    ),
    "best_of_four": best_of_four(
        "The best of four",
        "**batch_size** of Empty AV Latent is 4: four clips of the same words, each from noise of its own. **Check "
        "Clip** hears the words, compares lips and sound and the voice, **Keep Best** passes on the best of them.\n\n"
        "Write the same words into **speech** of Text Prompt and of Check Clip, and choose the same voice in both.\n\n"
        "The pack's judges know its own model's faces, voices and 1,000 English words; for other models set **judges** "
        "to *public*.",
        "Good morning, my friend. The river is very long.",
    ),
    "style_reference": style_reference(
        "Somebody goes on speaking",
        "A short clip of somebody, and what is said in it, go before the new clip, which gets their face, their voice "
        "and their way of moving. **Decode AV** leaves the reference out.\n\n"
        "Wire a **Load Video** into **video**, write its words into **transcript** and the new ones into **speech**. "
        "Both must fit into the model's longest clip, 4 s for the pack's own: choose 1 to 2 s of the reference.\n\n"
        "Only use a clip of somebody who agrees.",
        "Good morning, my friend.",
    ),
    "with_upscaler": upscaled(
        "A talking portrait, four times as large",
        "The pictures go through a stock upscale model, the sound goes straight into the file. Any upscaler or face "
        "restorer that takes IMAGE and gives IMAGE fits in its place: it must give as many pictures as it got.\n\n"
        "Smaller upscalers are faster; this one takes its time on a CPU.",
    ),
    "with_frame_interpolation": interpolated(
        "A talking portrait with 48 pictures a second",
        "A stock model draws a picture between every two; the last one is shown twice, so that picture and sound last "
        "as long as before. **fps** of Save MP4 is twice the clip's.\n\n"
        "For four times as many set **multiplier** to 4, **fps** to 96, and repeat the last picture three times with "
        "**Repeat Image Batch**.",
    ),
    "ovi_talking_video": public_model(
        "Talking video with Ovi",
        "Ovi's released weights in the same nodes: a 5 s clip with speech and sound.\n\n"
        "The loader lists the files it needs; they go into **models/diffusion_models**, **models/text_encoders** and "
        "**models/vae** (both MMAudio files there: the vocoder is found by itself). The MMAudio weights are CC BY-NC "
        "4.0: what they make is not for commercial use.\n\n"
        "Write the words into **speech**, or a whole Ovi prompt with its own tags into **scene**.",
        model=OVI,
        codec=CODEC_16K,
        words={
            "speech": "Every file you need is public. Let us talk.",
            "scene": "A woman in a grey coat stands at a window in the evening light and looks into the camera.",
            "sound": "Clear female voice, a quiet room, distant traffic.",
            "negative_picture": "jitter, bad hands, blur, distortion",
            "negative_sound": "robotic, muffled, echo, distorted",
        },
    ),
    "wan_video_only": public_model(
        "Silent video with Wan2.2",
        "Wan2.2-TI2V-5B alone is the picture stream of a UniTalking model without its sound: the clip is silent.\n\n"
        "It shows that the files and the memory of this machine are enough, and it is what a model of your own starts "
        "from. For speech load a UniTalking or an Ovi model.",
        model=WAN,
        codec=(),
        words={
            "speech": "",
            "scene": "A woman in a grey coat turns to the camera and smiles, evening light, film look.",
            "negative_picture": "jitter, bad hands, blur, distortion",
        },
    ),
}


def editor_graph(steps: list[Step], object_info: dict[str, Any]) -> dict[str, Any]:
    """A graph in the editor's format (version 0.4)."""
    numbers = {step.name: index for index, step in enumerate(steps, 1)}
    nodes = {step.name: _node(step, numbers[step.name], object_info) for step in steps}
    links: list[list[Any]] = []
    for step in steps:
        for name, (source, slot) in step.wires.items():
            link = len(links) + 1
            output = nodes[source]["outputs"][slot]
            output["links"].append(link)
            place = _input(nodes[step.name], name, output["type"])
            nodes[step.name]["inputs"][place]["link"] = link
            links.append([link, numbers[source], slot, numbers[step.name], place, output["type"]])
    groups = _lay_out(steps, nodes)
    return {
        "last_node_id": len(steps),
        "last_link_id": len(links),
        "nodes": list(nodes.values()),
        "links": links,
        "groups": groups,
        "config": {},
        "extra": {"ds": {"scale": 0.75, "offset": [60, 90]}},
        "version": 0.4,
    }


def _node(step: Step, number: int, object_info: dict[str, Any]) -> dict[str, Any]:
    node = {
        "id": number,
        "type": step.type,
        "pos": [0, 0],
        "size": [COLUMN - GAP, step.height],
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "properties": {"Node name for S&R": step.type},
        "widgets_values": list(step.widgets.values()),
    }
    if step.type == "MarkdownNote":
        return {**node, "title": "Read me", "color": "#432", "bgcolor": "#653"}
    info = object_info[step.type]
    node["properties"] |= PACK if step.type.startswith(OURS) else HOST
    for name, (kind, options) in input_specs(info["input"]):
        if kind == AUTOGROW:
            grown = [wire for wire in step.wires if wire.startswith(f"{name}.")]
            (place,) = input_specs(options["template"]["input"])
            node["inputs"] += [{"name": wire, "type": place[1][0], "link": None} for wire in grown]
        elif not _is_widget(kind, options):
            entry = {"name": name, "type": kind, "link": None}
            node["inputs"].append(entry if name in info["input"].get("required", {}) else {**entry, "shape": 7})
    node["outputs"] = [
        {"name": name, "type": kind, "links": [], **({"shape": 6} if is_list else {})}
        for name, kind, is_list in zip(info["output_name"], info["output"], info["output_is_list"], strict=True)
    ]
    node["widgets_values"] = _widgets(step, info)
    if step.files:
        node["properties"]["models"] = [
            {"name": file_name(file), "url": file[1], "directory": file[0]} for file in step.files
        ]
    return node


def _is_widget(kind: str, options: dict[str, Any]) -> bool:
    return kind in WIDGETS and not options.get("forceInput")


def _widgets(step: Step, info: dict[str, Any]) -> list[Any]:
    """Values in the order of the schema, a seed followed by what happens to it after a run."""
    values: list[Any] = []
    unknown = set(step.widgets)
    for name, (kind, options) in input_specs(info["input"]):
        if not _is_widget(kind, options):
            continue
        unknown.discard(name)
        first = next(iter(options.get("options", ())), "")  # no files, no choices
        values.append(step.widgets.get(name, options.get("default", first)))
        if options.get("control_after_generate"):
            values.append("fixed")
    if unknown:
        raise KeyError(f"{step.type} has no widget {', '.join(sorted(unknown))}.")
    return values


def _input(node: dict[str, Any], name: str, kind: str) -> int:
    """Place of an input; a widget that is wired becomes one."""
    for place, entry in enumerate(node["inputs"]):
        if entry["name"] == name:
            return place
    node["inputs"].append({"name": name, "type": kind, "widget": {"name": name}, "link": None})
    return len(node["inputs"]) - 1


def _lay_out(steps: list[Step], nodes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns from left to right, a titled group around each."""
    groups = []
    for number, column in enumerate(sorted({step.column for step in steps})):
        top, holds = 0, []
        for step in steps:
            if step.column == column:
                nodes[step.name]["pos"] = [column * COLUMN, top]
                top += step.height + TITLE + GAP
                holds += [HOLDS[step.type]] if step.type in HOLDS else []
        groups.append(
            {
                "id": number + 1,
                "title": f"{number + 1}  {_listed(holds).capitalize()}",
                "bounding": [column * COLUMN - GAP / 4, -2 * TITLE, COLUMN - GAP / 2, top + TITLE + GAP / 2],
                "color": COLOURS[number],
                "font_size": 24,
                "flags": {},
            }
        )
    return groups


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def main() -> int:
    """Writes every graph."""
    with temporary_server() as server:
        object_info = server.object_info()
    for name, steps in GRAPHS.items():
        path = WORKFLOWS / f"{name}.json"
        path.write_text(json.dumps(editor_graph(steps, object_info), indent=1) + "\n", encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
