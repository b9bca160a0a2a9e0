"""The single list of nodes, in the order of the menu."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .attention_view import AttentionView
from .check import CheckClip, KeepBest
from .conditioning import EncodeVoiceReference, TextPrompt
from .continuation import Continue, Join
from .decode import Decode
from .driving import DrivingAudio, DrivingVideo
from .files import register_folders
from .guider import JointGuider
from .latents import EmptyLatent, Portrait
from .loaders import LoadModel
from .long_talk import LongTalk, SplitSpeech
from .lora import LoadLora
from .routes import register_routes
from .sampler import JointSampler
from .sampling import FlowSigmas, FlowUniPC, JointNoise
from .save import SaveMP4
from .style_reference import StyleReference
from .voice_files import LoadVoice, SaveVoice
from .voice_turn import VoiceTurn

NODES: list[type[io.ComfyNode]] = [
    LoadModel,
    LoadLora,
    EncodeVoiceReference,
    SaveVoice,
    LoadVoice,
    VoiceTurn,
    TextPrompt,
    EmptyLatent,
    Portrait,
    DrivingVideo,
    DrivingAudio,
    SplitSpeech,
    Continue,
    StyleReference,
    JointNoise,
    FlowUniPC,
    FlowSigmas,
    JointGuider,
    JointSampler,
    Decode,
    Join,
    LongTalk,
    CheckClip,
    KeepBest,
    AttentionView,
    SaveMP4,
]


class UniTalkingExtension(ComfyExtension):
    """Hands the nodes to the host."""

    async def on_load(self) -> None:
        """Registers the pack's folders and what the editor asks for."""
        register_folders()
        register_routes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return NODES
