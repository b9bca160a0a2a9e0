"""A recorded voice made into a reference clip: measured, trimmed, its best stretch picked. No files, no ComfyUI.

Axes: B clips, C channels, S samples, F analysis frames; n latents.
Source: ours, the paper only says that the reference is a clip of 3-5 s and fixed to 257 tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
import torchaudio.functional
from torch import Tensor

from .voice_frames import FRAME_S, HOP_S, VoiceFrames, analyse_frames, decibel, flat_top_fraction

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
# Half a second less than the paper's shortest reference, for the silence that was trimmed off.
SHORTEST_S = 2.5
# Speech this low was recorded close to the noise of 16-bit files and of usual microphones.
QUIET_DBFS = -40.0
# Clean recordings reach the top of their range for three samples in a row hardly ever.
CLIPPED_FRACTION = 0.001
# Below this the noise is heard, and the model copies it as part of the voice.
NOISY_DB = 15.0
# Speech is voiced for about half of its time; less than this is whisper, music or noise.
VOICED_SHARE = 0.2
# A mean of channels that is so much lower than the loudest one means that they cancel, or that the others are empty
# (two unrelated channels lose 3 dB).
_CANCELLED_DB = 5.0
# A constant offset of more than -40 dBFS is no sound, but moves every level measured here.
_OFFSET = 0.01
# Kept before and after the speech, so that soft onsets survive.
_MARGIN_S = 0.05
# How much of a window may be given up at either end in order to start or end it in a pause: more speech tells more of
# a voice than a clean cut.
_SNAP_SHARE = 0.05
# A fraction of rates with larger terms makes a resampling filter of gigabytes; the nearest smaller one is off by
# about 1e-6, a fiftieth of a cent of a semitone.
_LARGEST_RATIO_TERM = 1000
_TELEPHONE_RATE = 8_000

_ADVICE = {
    "too short": f"use a clip of 3 to 10 s with at least {SHORTEST_S:g} s of speech; a short one is repeated to fill.",
    "too quiet": "record closer to the microphone, or raise the level of the clip before this node.",
    "clipped": "record again with less gain: what was cut off cannot be restored, and is copied as distortion.",
    "noisy": "use a cleaner recording of one person speaking; noise, music and echo are copied along with the voice.",
}


@dataclass(frozen=True)
class VoiceReport:
    """What was found in a clip, and how good a reference it makes.

    Attributes:
        seconds: length of the part that is used.
        start_s: where that part begins in the clip.
        clip_seconds: length of the whole clip.
        sample_rate: of the clip, Hz.
        level_dbfs: RMS of the speech in that part; a full-scale square wave is 0.
        peak_dbfs: largest sample of that part.
        snr_db: speech over the noise between the words, None where no noise was found.
        clipped_fraction: share of that part's samples that lie in flat tops.
        voiced_share: share of that part's speech that has a pitch.
        problems: of "too short", "too quiet", "clipped", "noisy"; empty for a good clip.
        notes: what was done to the clip, one sentence each.
    """

    seconds: float
    start_s: float
    clip_seconds: float
    sample_rate: int
    level_dbfs: float
    peak_dbfs: float
    snr_db: float | None
    clipped_fraction: float
    voiced_share: float
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The first problem, or "good"."""
        return self.problems[0] if self.problems else "good"

    def text(self) -> str:
        """The report in a few short lines for people."""
        snr = "without limit (no noise found)" if self.snr_db is None else f"{self.snr_db:.0f} dB"
        lines = [
            f"Used {self.seconds:.2f} s of {self.clip_seconds:.2f} s, from {self.start_s:.2f} s on.",
            f"Level {self.level_dbfs:.1f} dBFS, peak {self.peak_dbfs:.1f} dBFS, SNR {snr}, "
            f"clipped {100 * self.clipped_fraction:.2f} %.",
            f"Verdict: {', '.join(self.problems) or 'good'}.",
        ]
        advice = [f"{problem.capitalize()}: {_ADVICE[problem]}" for problem in self.problems]
        return "\n".join([*lines, *advice, *self.notes])


@dataclass(frozen=True)
class VoiceClip:
    """The part of a clip that serves as reference: waveform (S,) float32 mono at the clip's own rate, and a report."""

    waveform: Tensor
    report: VoiceReport


def analyse_voice(
    waveform: Tensor,
    sample_rate: int,
    *,
    window_s: float,
    trim: bool = True,
    max_seconds: float = 10.0,
    codec_sample_rate: int | None = None,
) -> VoiceClip:
    """Measures a clip and picks what to use of it.

    Args:
        waveform: (C, S) or (B, C, S), full scale is 1; the first of several clips is used.
        sample_rate: Hz, 8000 to 192000.
        window_s: seconds that the model's reference holds; a longer clip is reduced to its best-voiced stretch of at
            most this length, starting and ending in pauses where there are any near.
        trim: False keeps the clip's start, its silence and all of its length up to `max_seconds`.
        max_seconds: never more than this is used.
        codec_sample_rate: Hz; a clip of a lower rate gets a note.

    Raises:
        ValueError: wrong rank, rate out of range, shorter than 40 ms, NaN or infinite, or silent.
    """
    notes: list[str] = []
    mono = _mono(_checked(waveform, sample_rate, notes), notes)
    frames = analyse_frames(mono, sample_rate)
    if frames is None:
        raise ValueError(
            f"The voice clip is silent (loudest moment below -60 dBFS over {mono.shape[0] / sample_rate:.2f} s): "
            "expected speech. Check that the right file or channel is wired."
        )
    if trim:
        start, stop = _best_part(frames, min(window_s, max_seconds), sample_rate, mono.shape[0])
    else:
        start, stop = 0, min(mono.shape[0], round(max_seconds * sample_rate))
    if codec_sample_rate is not None and sample_rate < codec_sample_rate:
        band = "telephone bandwidth, " if sample_rate <= _TELEPHONE_RATE else ""
        notes.append(
            f"Recorded at {sample_rate} Hz ({band}nothing above {sample_rate / 2000:g} kHz); the codec works at "
            f"{codec_sample_rate} Hz, so the highest tones are missing."
        )
    report = _report(mono, frames, start, stop, sample_rate, tuple(notes))
    return VoiceClip(mono[start:stop].float().contiguous(), report)


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """The same sound at another rate: (..., S) -> (..., ceil(S * to_rate / from_rate)).

    A long windowed sinc (Kaiser, 64 zero crossings, stop band below -100 dB); equal rates give the tensor itself.

    Raises:
        ValueError: a rate that is not positive.
    """
    if from_rate < 1 or to_rate < 1:
        raise ValueError(f"Cannot resample from {from_rate} Hz to {to_rate} Hz: expected positive rates.")
    if from_rate == to_rate:
        return waveform
    ratio = Fraction(to_rate, from_rate).limit_denominator(_LARGEST_RATIO_TERM)
    resampled = torchaudio.functional.resample(
        waveform,
        ratio.denominator,
        ratio.numerator,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    samples = math.ceil(waveform.shape[-1] * to_rate / from_rate)
    return torch.nn.functional.pad(resampled, (0, max(samples - resampled.shape[-1], 0)))[..., :samples]


def fill_reference(latents: Tensor, tokens: int) -> Tensor:
    """Latents (B, C, n) repeated to fill, or cropped to, the model's fixed number of reference tokens: (B, C, tokens).

    Ours, the paper does not say what it does with clips shorter than its 257 tokens.

    Raises:
        ValueError: no latents.
    """
    if latents.ndim != 3 or latents.shape[2] == 0:
        raise ValueError(
            f"The voice has latents of shape {tuple(latents.shape)}; expected (batch, channels, n) with n at least 1: "
            "encode a clip that is not empty."
        )
    repeats = math.ceil(tokens / latents.shape[2])
    return latents.repeat(1, 1, repeats)[:, :, :tokens]


def _checked(waveform: Tensor, sample_rate: int, notes: list[str]) -> Tensor:
    if waveform.ndim not in (2, 3) or not waveform.is_floating_point():
        raise ValueError(
            f"The voice clip is a {waveform.dtype} tensor of shape {tuple(waveform.shape)}; expected floating point "
            "samples, (channels, samples) or (batch, channels, samples): wire an AUDIO."
        )
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise ValueError(
            f"The voice clip has a sample rate of {sample_rate} Hz; expected {LOWEST_RATE} to {HIGHEST_RATE} Hz: "
            "resample it first."
        )
    if waveform.ndim == 3:
        if waveform.shape[0] > 1:
            notes.append(f"The AUDIO has {waveform.shape[0]} clips; only the first is used.")
        waveform = waveform[:1].flatten(0, 1)  # (C, S)
    if waveform.numel() == 0:
        raise ValueError(f"The voice clip is empty (shape {tuple(waveform.shape)}): expected a few seconds of speech.")
    if waveform.shape[1] < FRAME_S * sample_rate:
        raise ValueError(
            f"The voice clip has only {waveform.shape[1]} samples ({1000 * waveform.shape[1] / sample_rate:.1f} ms): "
            "expected a few seconds of speech."
        )
    bad = int((~torch.isfinite(waveform)).sum())
    if bad:
        raise ValueError(
            f"The voice clip has {bad} samples that are NaN or infinite, of {waveform.numel()}: the node that made it "
            "failed; look there first."
        )
    return waveform.double() if waveform.dtype == torch.float64 else waveform.float()


def _mono(channels: Tensor, notes: list[str]) -> Tensor:
    offset = channels.mean(dim=1, keepdim=True)
    if float(offset.abs().max()) > _OFFSET:
        channels = channels - offset
        notes.append("A constant offset was removed.")
    if channels.shape[0] == 1:
        return channels[0]
    mixed = channels.mean(dim=0)
    power = channels.square().mean(dim=1)
    loudest = int(power.argmax())
    if decibel(mixed.square().mean()) < decibel(power[loudest]) - _CANCELLED_DB:
        notes.append(
            f"Channel {loudest + 1} of {channels.shape[0]} is used alone: mixed, the channels cancel each other or are "
            "mostly empty."
        )
        return channels[loudest]
    notes.append(f"{channels.shape[0]} channels were mixed to one.")
    return mixed


def _best_part(frames: VoiceFrames, window_s: float, sample_rate: int, samples: int) -> tuple[int, int]:
    """First and last sample (exclusive) of the best-voiced stretch of at most `window_s`."""
    first, last = frames.speech_span()
    window = max(1, round(window_s / HOP_S))
    margin, snap = round(_MARGIN_S / HOP_S), round(_SNAP_SHARE * window)
    first, last = max(first - margin, 0), min(last + margin, frames.speech.numel())
    if last - first > window:
        quality = frames.quality()[first:last]
        sums = torch.nn.functional.pad(quality.cumsum(0), (1, 0))
        first += int((sums[window:] - sums[:-window]).argmax())
        last = first + window
        pauses = torch.nonzero(~frames.speech[first:last]).flatten().tolist()
        last = first + max((pause for pause in pauses if pause >= window - snap), default=window)
        first += min((pause for pause in pauses if pause <= snap), default=0)
    start = round(first * HOP_S * sample_rate)
    stop = min(round(last * HOP_S * sample_rate), samples, start + round(window_s * sample_rate))
    return start, max(stop, start + 1)


def _report(
    mono: Tensor, frames: VoiceFrames, start: int, stop: int, sample_rate: int, notes: tuple[str, ...]
) -> VoiceReport:
    part = mono[start:stop]
    inside = slice(round(start / sample_rate / HOP_S), max(round(stop / sample_rate / HOP_S), 1))
    speech, voiced = frames.speech[inside], frames.voiced[inside]
    level = decibel(frames.power[inside][speech].mean()) if bool(speech.any()) else decibel(part.square().mean())
    peak = float(part.abs().max())
    clipped = flat_top_fraction(part)
    voiced_share = float(voiced.sum() / speech.sum().clamp(min=1))
    snr = frames.snr_db()
    checks = {
        "too short": speech.numel() * HOP_S < SHORTEST_S or (stop - start) / sample_rate < SHORTEST_S,
        "too quiet": level < QUIET_DBFS,
        "clipped": clipped > CLIPPED_FRACTION,
        "noisy": voiced_share < VOICED_SHARE or (snr is not None and snr < NOISY_DB),
    }
    return VoiceReport(
        seconds=(stop - start) / sample_rate,
        start_s=start / sample_rate,
        clip_seconds=mono.shape[0] / sample_rate,
        sample_rate=sample_rate,
        level_dbfs=level,
        peak_dbfs=20 * math.log10(max(peak, 1e-10)),
        snr_db=snr,
        clipped_fraction=clipped,
        voiced_share=voiced_share,
        problems=tuple(problem for problem, found in checks.items() if found),
        notes=notes,
    )
