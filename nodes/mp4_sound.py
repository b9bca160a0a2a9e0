"""Sound for an MP4: checked, fitted to the picture's length, brought to a loudness, cut into frames. Knows PyAV only.

Axes: B clips, C channels, S samples.
Source: loudness is ITU-R BS.1770-4, as torchaudio measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
import torch
import torchaudio.functional
from torch import Tensor

from ..unitalking.voice import resample

AudioCodec = Literal["aac", "flac", "alac"]
AUDIO_CODECS: tuple[AudioCodec, ...] = ("aac", "flac", "alac")

# Raised no further, so that no player and no lossy decoder overshoots full scale.
HIGHEST_PEAK_DBFS = -1.0

# Below this nobody hears anything at any volume.
_SILENT_DBFS = -80.0
# BS.1770 gates in blocks of this length; a shorter sound has no loudness.
_LOUDNESS_BLOCK_S = 0.4
# torchaudio's filters cut at full scale and lift high tones by 4 dB, so they are given a quieter copy.
_MEASURING_PEAK = 0.25
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_AAC_FALLBACK_RATE = 48000
_AAC_BLOCK = 1024
_SAMPLE_FORMATS = {"aac": "fltp", "flac": "s32", "alac": "s32p"}
# Both lossless codecs keep 24 bits in 32-bit words: finer than any converter, coarser only than floats are.
_LOSSLESS_BITS = 24
_SAMPLES_AT_ONCE = 4096


@dataclass(frozen=True)
class Sound:
    """Samples (C, S), full scale 1, and their rate in Hz."""

    samples: Tensor
    sample_rate: int


def checked(audio: dict[str, Any], notes: list[str]) -> Sound:
    """The sound of an AUDIO {"waveform": (B, C, S) or (C, S), "sample_rate": Hz}.

    Raises:
        ValueError: wrong shape, an impossible rate, or samples that are NaN or infinite.
    """
    waveform, sample_rate = audio["waveform"].detach().cpu(), int(audio["sample_rate"])
    if waveform.ndim == 3 and waveform.shape[0] >= 1:
        if waveform.shape[0] > 1:
            notes.append(f"The AUDIO has {waveform.shape[0]} clips; the first one is in the file.")
        waveform = waveform[0]
    if waveform.ndim != 2 or waveform.shape[0] == 0:
        raise ValueError(
            f"The sound has shape {tuple(audio['waveform'].shape)}; expected (batch, channels, samples): wire an AUDIO."
        )
    if sample_rate < 1:
        raise ValueError(f"The sound has a sample rate of {sample_rate} Hz; expected a positive rate.")
    waveform = waveform.double() if waveform.dtype == torch.float64 else waveform.float()
    bad = int((~torch.isfinite(waveform)).sum())
    if bad:
        raise ValueError(
            f"The sound has {bad} samples that are NaN or infinite, of {waveform.numel()}: nothing was saved. The "
            "model or the audio VAE failed; look at the node that made the sound."
        )
    return Sound(waveform, sample_rate)


def for_codec(sound: Sound, codec: AudioCodec, fps: Fraction, notes: list[str]) -> Sound:
    """The sound with channels and rate that the codec takes."""
    if sound.samples.shape[0] > 2:
        notes.append(f"{sound.samples.shape[0]} channels were mixed to one.")
        sound = replace(sound, samples=sound.samples.mean(dim=0, keepdim=True))
    rate = _aac_rate(sound.sample_rate, fps) if codec == "aac" else sound.sample_rate
    if rate != sound.sample_rate:
        notes.append(f"The sound is stored at {rate} Hz instead of {sound.sample_rate} Hz, for AAC.")
    return Sound(resample(sound.samples, sound.sample_rate, rate), rate)


def _aac_rate(rate: int, fps: Fraction) -> int:
    """The rate to store as AAC: its own where AAC has it, and where a block is no longer than a picture.

    Decoders return whole blocks of 1024 samples; at a low rate the last one would outlast the picture by more than a
    frame.
    """
    lowest = min(_AAC_BLOCK * fps, 44100)
    if rate in _AAC_RATES and rate >= lowest:
        return rate
    multiples = [allowed for allowed in _AAC_RATES if allowed % rate == 0 and allowed >= lowest]
    return multiples[0] if multiples else _AAC_FALLBACK_RATE


def for_length(sound: Sound, samples: int, fps: Fraction, notes: list[str]) -> Sound:
    """The sound with exactly `samples` samples; cut or silence added at the end, said when it is over one picture."""
    given = sound.samples.shape[1]
    if abs(given - samples) > sound.sample_rate / fps:
        seconds, wanted_s = given / sound.sample_rate, samples / sound.sample_rate
        done = "cut" if given > samples else "filled with silence"
        notes.append(f"The sound lasts {seconds:.2f} s, the picture {wanted_s:.2f} s: it was {done}.")
    fitted = torch.nn.functional.pad(sound.samples[:, :samples], (0, max(samples - given, 0)))
    return replace(sound, samples=fitted)


def for_playing(sound: Sound, loudness_lufs: float | None, notes: list[str]) -> Sound:
    """The sound at the loudness asked for, within full scale; silence is said."""
    peak = float(sound.samples.abs().max()) if sound.samples.numel() else 0.0
    if 20 * math.log10(max(peak, 1e-10)) < _SILENT_DBFS:
        notes.append("The sound is silent.")
        return sound
    if loudness_lufs is not None:
        sound = _at_loudness(sound, loudness_lufs, peak, notes)
    over = sound.samples.abs() > 1
    if bool(over.any()):
        share = 100 * float(over.double().mean())
        highest = 20 * math.log10(float(sound.samples.abs().max()))
        notes.append(f"{share:.2g} % of the samples were above full scale (up to {highest:+.1f} dB) and were cut off.")
    return replace(sound, samples=sound.samples.clamp(-1, 1))


def loudness(sound: Sound) -> float | None:
    """Integrated loudness in LUFS (ITU-R BS.1770-4), None for silence or less than 0.4 s."""
    peak = float(sound.samples.abs().max()) if sound.samples.numel() else 0.0
    if sound.samples.shape[1] < math.ceil(_LOUDNESS_BLOCK_S * sound.sample_rate) or peak == 0:
        return None
    scale = min(1.0, _MEASURING_PEAK / peak)
    measured = float(torchaudio.functional.loudness(sound.samples.double() * scale, sound.sample_rate))
    return measured - 20 * math.log10(scale) if math.isfinite(measured) else None


def _at_loudness(sound: Sound, target_lufs: float, peak: float, notes: list[str]) -> Sound:
    measured = loudness(sound)
    if measured is None:
        notes.append("The loudness was left alone: the sound is too short or too quiet to measure.")
        return sound
    wanted = target_lufs - measured
    gain = min(wanted, HIGHEST_PEAK_DBFS - 20 * math.log10(peak))
    note = f"Loudness {measured:.1f} LUFS, changed by {gain:+.1f} dB to {measured + gain:.1f} LUFS"
    limited = f" (not {target_lufs:.1f}: peaks stay below {HIGHEST_PEAK_DBFS:g} dBFS)" if gain < wanted else ""
    notes.append(f"{note}{limited}.")
    return replace(sound, samples=sound.samples * 10 ** (gain / 20))


def add_stream(
    container: av.container.OutputContainer, sound: Sound, codec: AudioCodec, bitrate_kbps: int
) -> av.AudioStream:
    """An empty audio stream for the sound."""
    layout = "mono" if sound.samples.shape[0] == 1 else "stereo"
    stream = container.add_stream(codec, rate=sound.sample_rate, layout=layout)
    stream.codec_context.format = _SAMPLE_FORMATS[codec]
    if codec == "aac":
        # What AAC can hold at most: 6144 bits per channel and block.
        highest = 6144 * sound.samples.shape[0] * sound.sample_rate // _AAC_BLOCK
        stream.codec_context.bit_rate = min(bitrate_kbps * 1000, highest)
    return stream


def audio_frames(sound: Sound, codec: AudioCodec) -> Iterator[av.AudioFrame]:
    """The sound in frames of the codec's sample format."""
    layout = "mono" if sound.samples.shape[0] == 1 else "stereo"
    sample_format = _SAMPLE_FORMATS[codec]
    for start in range(0, sound.samples.shape[1], _SAMPLES_AT_ONCE):
        part = sound.samples[:, start : start + _SAMPLES_AT_ONCE].numpy()
        if codec != "aac":
            part = _words(part)
        if not sample_format.endswith("p"):
            part = part.T.reshape(1, -1)  # channels interleaved
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(part, dtype=np.float32 if codec == "aac" else np.int32), sample_format, layout
        )
        frame.sample_rate, frame.pts, frame.time_base = sound.sample_rate, start, Fraction(1, sound.sample_rate)
        yield frame


def _words(samples: np.ndarray) -> np.ndarray:
    full = 2 ** (_LOSSLESS_BITS - 1)
    whole = np.clip(np.round(samples.astype(np.float64) * full), -full, full - 1).astype(np.int32)
    return whole << (32 - _LOSSLESS_BITS)
