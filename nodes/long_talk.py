"""Split Speech and Long Talk: a speech of any length, in clips that continue each other."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..unitalking.config import UniTalkingConfig
from ..unitalking.samples import NO_SAMPLE, portrait_choices
from ..unitalking.speech_split import split_speech
from .clip import planned_s
from .conditioning import VoiceSocket, planned_frames
from .constants import CATEGORY
from .continuation import DEFAULT_OVERLAP, OVERLAP_TOOLTIP
from .messages import config_of, say
from .sampler import PRESETS
from .sampling import seed_input
from .voice import check_voice, single_voice

SHORTEST_S = 1.0  # Text Prompt plans no shorter clip


def speech_parts(clip: Any, speech: str, longest_s: float) -> list[str]:
    """A speech in parts of at most `longest_s`, as long as the text encoder says, or the rule where it has no clock."""
    return split_speech(speech, lambda text: planned_s(clip, text), longest_s)


def longest_part_s(config: UniTalkingConfig, overlap: int) -> float:
    """How long a part may be so that it fits into one clip behind the overlap."""
    return (config.longest_frames - overlap + 1) / config.fps


class SplitSpeech(io.ComfyNode):
    """A long speech -> parts that fit into clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingSplitSpeech",
            display_name="Split Speech",
            category=CATEGORY,
            description="Splits a speech at sentence ends into parts that fit into one clip each, and plans how long "
            "each one is. What is wired behind it runs once for every part.",
            search_aliases=["long text", "sentences", "script", "chunks"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model; gives the longest clip."),
                io.Clip.Input("clip", tooltip="The text encoder, from Load UniTalking Model."),
                io.String.Input("speech", multiline=True, default="", tooltip="The whole speech."),
                _longest_input(),
            ],
            outputs=[
                io.String.Output(
                    display_name="parts",
                    is_output_list=True,
                    tooltip="The texts of the parts, one after the other; wire it into speech of Text Prompt.",
                ),
                io.Int.Output(
                    display_name="frames",
                    is_output_list=True,
                    tooltip="Pictures that each part needs, 4n+1; wire it into frames of Empty AV Latent.",
                ),
                io.Int.Output(display_name="count", tooltip="How many parts there are."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, clip: Any, speech: str, longest_s: float) -> io.NodeOutput:
        """Splits and plans."""
        config = config_of(model, "Split Speech")
        notes: list[str] = []
        # What follows may be clips of their own, or a chain.
        limit_s = _capped(longest_s, longest_part_s(config, 1), notes) or longest_part_s(config, DEFAULT_OVERLAP)
        parts = speech_parts(clip, speech, limit_s)
        if not parts:
            raise ValueError("Split Speech: there is no speech: write some into it.")
        frames = [planned_frames(planned_s(clip, part), config, notes) for part in parts]
        say(cls, "\n".join([*(f"{each} frames: {part}" for each, part in zip(frames, parts, strict=True)), *notes]))
        return io.NodeOutput(parts, frames, len(parts))


class LongTalk(io.ComfyNode):
    """A speech of any length -> one long clip, by a chain of the pack's own nodes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingLongTalk",
            display_name="Long Talk",
            category=CATEGORY,
            description="Says a text of any length: split at sentence ends, clip after clip, each continuing the last, "
            "joined into one. It builds the same nodes that you would wire.",
            search_aliases=["long video", "chain", "presentation", "narration", "infinite"],
            inputs=[
                io.Model.Input("model", tooltip="A UniTalking model."),
                io.Clip.Input("clip", tooltip="The text encoder, from Load UniTalking Model."),
                io.Vae.Input("vae", tooltip="The picture codec, from Load UniTalking Model."),
                io.Vae.Input("audio_vae", tooltip="The sound codec, from Load UniTalking Model."),
                io.String.Input("speech", multiline=True, default="", tooltip="The whole speech, of one speaker."),
                io.String.Input("scene", multiline=True, default="", tooltip="What is seen, as in Text Prompt."),
                io.String.Input("sound", multiline=True, default="", tooltip="What is heard besides the words."),
                seed_input(),
                io.Combo.Input(
                    "preset", options=list(PRESETS), default="standard", tooltip="As in Joint Flow Sampler."
                ),
                io.Int.Input("overlap", default=DEFAULT_OVERLAP, min=1, max=97, step=4, tooltip=OVERLAP_TOOLTIP),
                io.Combo.Input(
                    "sample_portrait",
                    options=portrait_choices(),
                    tooltip="Built-in portrait, used when no image is wired; none: the scene decides.",
                ),
                io.Image.Input("image", optional=True, tooltip="The portrait that the first clip starts from."),
                VoiceSocket.Input("voice", optional=True, tooltip="The voice, the same in every part."),
                # Optional: graphs saved before it was there have no value.
                _longest_input(" Shorter parts need less memory and take longer in all.", optional=True, advanced=True),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The pictures of the whole talk; wire them into Save MP4."
                ),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The sound of the whole talk, as long as the pictures; wire it into Save MP4.",
                ),
                io.Float.Output(display_name="fps", tooltip="Pictures per second; wire it into Save MP4."),
                io.Int.Output(display_name="parts", tooltip="How many clips the talk was made of."),
            ],
            hidden=[io.Hidden.unique_id],
            enable_expand=True,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        vae: Any,
        audio_vae: Any,
        speech: str,
        scene: str,
        sound: str,
        seed: int,
        preset: str,
        overlap: int,
        sample_portrait: str,
        image: Any = None,
        voice: Any = None,
        longest_s: float = 0.0,
    ) -> io.NodeOutput:
        """Builds the chain."""
        config = config_of(model, "Long Talk")
        if voice is not None:
            check_voice(single_voice(voice, "Long Talk"), model.model.codec_id, "Long Talk")
        fitting_s = longest_part_s(config, overlap)
        if fitting_s < SHORTEST_S:
            raise ValueError(
                f"Long Talk: overlap is {overlap}, of which this model's longest clip leaves {max(fitting_s, 0):.2f} s "
                f"for words, expected at least {SHORTEST_S:g} s: choose a smaller overlap."
            )
        notes: list[str] = []
        parts = speech_parts(clip, speech, _capped(longest_s, fitting_s, notes) or fitting_s)
        if not parts:
            raise ValueError("Long Talk: there is no speech: write some into it.")
        say(cls, "\n".join([f"{len(parts)} clips", *parts, *notes]))
        graph, codecs = GraphBuilder(), {"vae": vae, "audio_vae": audio_vae}
        prompt = {"model": model, "clip": clip, "scene": scene, "sound": sound, "prompt_style": "auto"}
        spoken = {} if voice is None else {"voice": voice}
        prompt |= {"negative_picture": "", "negative_sound": ""} | spoken
        so_far: dict[str, Any] = {}
        for number, part in enumerate(parts):
            starts_at = float(overlap / config.fps) if number else 0.0
            words = graph.node("UniTalkingTextPrompt", **prompt, speech=part, starts_at=starts_at)
            if so_far:
                # From what is joined, whose colours and loudness are the first clip's.
                following = {**so_far, "overlap": overlap, "frames": words.out(3)}
                latent = graph.node("UniTalkingContinue", model=model, **codecs, **following).out(0)
            else:
                latent = _first_clip(graph, model, vae, words.out(3), image, sample_portrait)
            sampled = graph.node(
                "UniTalkingJointSampler",
                **{"model": model, "positive": words.out(0), "negative": words.out(1), "latent": latent},
                **{"seed": (seed + number) % 2**64, "preset": preset, "steps": 0, "sigma_shift": 0.0, "denoise": 1.0},
                **{"guidance_video": 0.0, "guidance_audio": 0.0, "guidance_voice": 0.0},
                **{"sampler": "flow_unipc", "scheduler": "wan"},
            )
            decoded = graph.node("UniTalkingDecode", latent=sampled.out(0), **codecs, **spoken, tiled=False, fps=0.0)
            whole = decoded
            if so_far:
                following = {"next_images": decoded.out(0), "next_audio": decoded.out(1), "fps": decoded.out(3)}
                whole = graph.node("UniTalkingJoin", **so_far, **following, overlap=overlap, one_scene=True)
            so_far = {"images": whole.out(0), "audio": whole.out(1)}
        images, sounds = so_far["images"], so_far["audio"]
        return io.NodeOutput(images, sounds, decoded.out(3), len(parts), expand=graph.finalize())


def _capped(longest_s: float, fitting_s: float, notes: list[str]) -> float:
    """How long a part may be as a person says, as far as it fits into a clip (noted); 0 where nothing is said."""
    if longest_s > fitting_s:
        notes.append(
            f"longest_s is {longest_s:g}, {fitting_s:.2f} s fit into this model's longest clip: no part is longer"
        )
    return min(longest_s, fitting_s)


def _longest_input(more: str = "", **options: bool) -> io.Input:
    """The widget of the longest part, the same in both nodes but for what is added."""
    tooltip = f"Longest part in seconds. 0: what fits into the model's longest clip.{more}"
    return io.Float.Input("longest_s", default=0.0, min=0.0, max=600.0, step=0.1, tooltip=tooltip, **options)


def _first_clip(graph: GraphBuilder, model: Any, vae: Any, frames: Any, image: Any, sample_portrait: str) -> list:
    sizes = {"width": 0, "height": 0, "frames": frames, "batch_size": 1, "streams": "both"}
    empty = graph.node("UniTalkingEmptyLatent", model=model, **sizes)
    if image is None and sample_portrait == NO_SAMPLE:
        return empty.out(0)
    face = {"sample_portrait": sample_portrait, "fit": "crop"} | ({} if image is None else {"image": image})
    return graph.node("UniTalkingPortrait", latent=empty.out(0), vae=vae, **face).out(0)
