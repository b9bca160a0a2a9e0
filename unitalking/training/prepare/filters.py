"""Filters of clips, each off unless asked for: speech, silence, pauses, scene cuts, a face.

Source: the paper filters its data by speech, faces and scene cuts without saying how; libraries and limits are ours.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...voice import resample
from ...voice_frames import HOP_S, analyse_frames
from .clips import RawClip

# The voice activity detector works at this rate.
SPEECH_RATE = 16_000
# Faces are looked for so many times per second.
FACE_LOOKS_PER_S = 4
FACE_SCORE = 0.7
MISSING = "pip install -r requirements-train.txt"


@dataclass(frozen=True)
class FilterSettings:
    """Which clips to leave out; the defaults leave none out.

    Attributes:
        speech_share: clips of which less than this share is speech (silero-vad); 0: off.
        no_silence: clips that are silent all through (below -60 dBFS).
        longest_pause_s: clips with a longer stretch without speech; None: off.
        max_cuts: clips with more scene cuts (PySceneDetect); None: off.
        face_share: clips that show a face less than this share of the time; 0: off.
        face_detector: YuNet's .onnx file, for OpenCV's FaceDetectorYN.
    """

    speech_share: float = 0.0
    no_silence: bool = False
    longest_pause_s: float | None = None
    max_cuts: int | None = None
    face_share: float = 0.0
    face_detector: str = ""


class Filters:
    """Says why a clip is to be left out. Libraries are imported by the filters that need them.

    Args:
        settings: which filters.
        fps: pictures per second of the clips.
        sample_rate: of their sound.

    Raises:
        ValueError: a library or file that a wanted filter needs is missing.
    """

    def __init__(self, settings: FilterSettings, fps: float, sample_rate: int) -> None:
        self.settings, self.fps, self.sample_rate = settings, fps, sample_rate
        if settings.speech_share:
            library("silero_vad", "--require-speech")
        if settings.max_cuts is not None:
            library("scenedetect", "--max-cuts")
        if settings.face_share:
            self.show_face = load_face_detector(settings.face_detector)

    def reason(self, clip: RawClip) -> str:
        """Why the clip is left out; empty for one to keep."""
        return next(self._reasons(clip), "")

    def _reasons(self, clip: RawClip) -> Iterator[str]:
        settings = self.settings
        if clip.waveform is not None:
            frames = analyse_frames(clip.waveform, self.sample_rate) if self._levels_wanted else None
            if settings.no_silence and frames is None:
                yield "silent all through"
            if settings.longest_pause_s is not None:
                pause = clip.waveform.shape[0] / self.sample_rate if frames is None else longest_pause_s(frames.speech)
                if pause > settings.longest_pause_s:
                    yield f"{pause:.2f} s without speech, at most {settings.longest_pause_s:g} are allowed"
            if settings.speech_share:
                share = self._speech_share(clip.waveform)
                if share < settings.speech_share:
                    yield f"{share:.0%} of it is speech, at least {settings.speech_share:.0%} are wanted"
        if clip.frames is not None:
            if settings.max_cuts is not None:
                cuts = count_cuts(clip.frames, self.fps)
                if cuts > settings.max_cuts:
                    yield f"{cuts} scene cuts, at most {settings.max_cuts} are allowed"
            if settings.face_share:
                share = face_share(clip.frames, self.fps, self.show_face)
                if share < settings.face_share:
                    yield f"shows a face {share:.0%} of the time, at least {settings.face_share:.0%} are wanted"

    @property
    def _levels_wanted(self) -> bool:
        return self.settings.no_silence or self.settings.longest_pause_s is not None

    @cached_property
    def _speech_model(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its ways to find and load its own file
            return library("silero_vad", "--require-speech").load_silero_vad()

    def _speech_share(self, waveform: Tensor) -> float:
        samples = resample(waveform, self.sample_rate, SPEECH_RATE)
        find = library("silero_vad", "--require-speech").get_speech_timestamps
        found = find(samples, self._speech_model, sampling_rate=SPEECH_RATE)
        return sum(part["end"] - part["start"] for part in found) / samples.shape[0]


def longest_pause_s(speech: Tensor) -> float:
    """The longest stretch without speech, of moments (F,) every HOP_S."""
    longest = run = 0
    for spoken in speech.tolist():
        run = 0 if spoken else run + 1
        longest = max(longest, run)
    return longest * HOP_S


def count_cuts(frames: Tensor, fps: float) -> int:
    """Scene cuts within (F, H, W, 3) uint8: places where the content jumps from one picture to the next."""
    scenedetect = library("scenedetect", "--max-cuts")
    # Every jump counts, however close to another or to an end.
    detector = scenedetect.ContentDetector(min_scene_len=0)
    cuts: set[int] = set()
    time = scenedetect.FrameTimecode(0, float(fps))
    for number, frame in enumerate(frames.flip(-1).contiguous().numpy()):  # BGR
        time = scenedetect.FrameTimecode(number, float(fps))
        cuts |= {cut.frame_num for cut in detector.process_frame(time, frame)}
    return len(cuts | {cut.frame_num for cut in detector.post_process(time)})


def face_share(frames: Tensor, fps: float, show_face: Callable[[Tensor], bool]) -> float:
    """Share of the looked-at pictures of (F, H, W, 3) uint8 that show a face."""
    looked_at = frames[:: max(1, round(fps / FACE_LOOKS_PER_S))]
    return sum(map(show_face, looked_at)) / len(looked_at)


def load_face_detector(path: str) -> Callable[[Tensor], bool]:
    """Tells whether a picture (H, W, 3) uint8 shows a face, by YuNet in OpenCV.

    Raises:
        ValueError: no model file, or one that is none.
    """
    cv2 = library("cv2", "--require-face")
    if not Path(path).is_file():
        raise ValueError(
            f"--require-face needs --face-detector FILE, the face_detection_yunet .onnx of the OpenCV model zoo; "
            f"{f'{path}: there is no such file' if path else 'none was given'}."
        )
    try:
        detector = cv2.FaceDetectorYN.create(path, "", (320, 320), FACE_SCORE)
    except cv2.error as error:
        raise ValueError(f"--face-detector {path}: OpenCV cannot read it as YuNet's .onnx ({error}).") from error

    def show_face(picture: Tensor) -> bool:
        height, width = picture.shape[:2]
        detector.setInputSize((width, height))
        return detector.detect(picture.flip(-1).contiguous().numpy())[1] is not None  # BGR

    return show_face


def library(name: str, option: str) -> Any:
    """A library that not everybody has.

    Raises:
        ValueError: it is not installed; what to install.
    """
    threads = torch.get_num_threads()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"{option} needs {name}, which is not installed ({error}): {MISSING}") from error
    finally:
        torch.set_num_threads(threads)  # silero_vad sets it when imported
