"""Synthetic talking-face data: espeak-ng speaks made-up sentences, and a drawn face moves its mouth to them.

Made for training and judging the pack's embedded model. The same seed gives the same clips, byte for byte.
"""

from .clips import Clip, ClipSpec, SyntheticClips, SyntheticConfig, mouth_box
from .espeak import MissingEspeakError
from .speech import Speech

__all__ = ["Clip", "ClipSpec", "MissingEspeakError", "Speech", "SyntheticClips", "SyntheticConfig", "mouth_box"]
