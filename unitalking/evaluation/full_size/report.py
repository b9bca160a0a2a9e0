"""Which of the paper's judges a folder holds, and what they say of a clip.

FOLDER/syncnet_v2.model   Sync-C, Sync-D
FOLDER/whisper/           word error
FOLDER/wavlm/             speaker similarity
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..clips import Frames
from ..words import Errors
from .speech_models import FILES, SHORTEST_VOICE, WAVLM, WHISPER, WavLMVoices, WhisperWords
from .syncnet import WEIGHTS, SyncNet, SyncScore, load_syncnet


@dataclass(frozen=True)
class FullSizeVerdict:
    """What the paper's judges say of one clip; None where a judge or what it needs is missing, or the clip too short.

    Attributes:
        sync: Sync-C, Sync-D and offset.
        words: Whisper's word errors.
        speaker: WavLM's cosine with the reference voice.
    """

    sync: SyncScore | None
    words: Errors | None
    speaker: float | None


class FullSizeJudges:
    """The judges that `folder` holds; `missing` says of the others, by `FullSizeVerdict`, what is expected where."""

    def __init__(self, folder: Path) -> None:
        self.sync: SyncNet | None = None
        self.words: WhisperWords | None = None
        self.voices: WavLMVoices | None = None
        self.missing: dict[str, str] = {}
        if (folder / WEIGHTS).is_file():
            self.sync = load_syncnet(folder)
        else:
            self.missing["sync"] = f"Sync-C and Sync-D need {folder / WEIGHTS} (SyncNet's published weights)."
        if (folder / WHISPER / "config.json").is_file():
            self.words = WhisperWords(folder / WHISPER)
        else:
            self.missing["words"] = f"Whisper's word error needs {folder / WHISPER}/ ({FILES[WHISPER]})."
        if (folder / WAVLM / "config.json").is_file():
            self.voices = WavLMVoices(folder / WAVLM)
        else:
            self.missing["speaker"] = f"Speaker similarity needs {folder / WAVLM}/ ({FILES[WAVLM]})."

    def judge(
        self,
        waveform: Tensor,
        speech: str = "",
        frames: Frames | None = None,
        fps: float = 0.0,
        reference: Tensor | None = None,
    ) -> FullSizeVerdict:
        """The verdict on one clip.

        Args:
            waveform: (S,) at 16 kHz.
            speech: what should be said.
            frames: (F, H, W, 3) uint8: the face with a margin.
            fps: of the frames.
            reference: (S,) at 16 kHz, the voice that was asked for.
        """
        sync = words = speaker = None
        if self.sync is not None and frames is not None:
            sync = self.sync.score(frames, fps, waveform)
        if self.words is not None and speech:
            words = self.words.errors(waveform, speech)
        if self.voices is not None and reference is not None and min(len(waveform), len(reference)) >= SHORTEST_VOICE:
            speaker = self.voices.similarity(waveform, reference)
        return FullSizeVerdict(sync, words, speaker)
