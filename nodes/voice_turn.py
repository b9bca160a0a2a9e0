"""Voice Turn: another voice takes over."""

from __future__ import annotations

from comfy_api.latest import io

from .conditioning import VoiceSocket
from .constants import CATEGORY
from .voice import Turn, Voice, VoiceTurns, single_voice, turns_of


class VoiceTurn(io.ComfyNode):
    """Who spoke until now, and who speaks from here on -> VOICE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingVoiceTurn",
            display_name="Voice Turn",
            category=CATEGORY,
            description="Another voice takes over: a narrator, a voice from off, an answer. Chain one for every turn. "
            "There is one face, which moves its lips to all of them.",
            search_aliases=["dialogue", "two speakers", "narration", "voice over", "multiple voices"],
            inputs=[
                VoiceSocket.Input("before", tooltip="Who speaks until then: a VOICE, or another Voice Turn."),
                VoiceSocket.Input("voice", tooltip="Who speaks from then on, until another turn or the end."),
                io.String.Input(
                    "words",
                    default="",
                    tooltip="The first words of this turn, as they stand in speech of Text Prompt, which plans when "
                    "they are said. Empty: from_s counts.",
                ),
                io.Float.Input(
                    "from_s",
                    default=1.0,
                    min=0.0,
                    max=600.0,
                    step=0.01,
                    tooltip="When this turn begins, in seconds of the clip; only where words is empty.",
                ),
            ],
            outputs=[
                VoiceSocket.Output(
                    display_name="voice",
                    tooltip="All voices so far and when they speak; wire it into Text Prompt, or into before of the "
                    "next Voice Turn.",
                )
            ],
        )

    @classmethod
    def execute(cls, before: Voice | VoiceTurns, voice: Voice, words: str, from_s: float) -> io.NodeOutput:
        """Appends the turn."""
        turn = Turn(single_voice(voice, "Voice Turn"), words.strip(), from_s)
        return io.NodeOutput(VoiceTurns((*turns_of(before), turn)))
