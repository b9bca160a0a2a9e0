"""Short-time analysis of a voice: power, pitch, and which moments are speech, voice, or the noise between words.

Axes: S samples, F analysis frames (one every HOP_S), L samples of a frame.
Source: ours; voicing is the normalised autocorrelation that pitch trackers use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torchaudio.functional
from torch import Tensor

HOP_S = 0.01
# Two periods of the lowest pitch looked for.
FRAME_S = 0.04
# Nothing in a clip that stays below this is heard as speech at any usual volume.
SILENCE_DBFS = -60.0

_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ = 65.0, 500.0
# White noise reaches 0.25 at this frame length and rate, a voice in noise as loud as itself 0.5.
_VOICED_CORRELATION = 0.5
# The pitch needs no frequencies above 4 kHz.
_PITCH_RATE = 8_000
# Vowels and fricatives of one speaker lie within this range below the loudest moments.
_SPEECH_RANGE_DB = 35.0
# Speech must rise this far above the noise between words to count.
_ABOVE_NOISE_DB = 6.0
# Exact or dithered zeros say nothing about the noise under the words.
_DIGITAL_SILENCE_DBFS = -90.0
# Fewer quiet moments than this (0.08 s) are no measure of the noise.
_FEWEST_NOISE_FRAMES = 8
# The quietest tenth of what is not voice is the noise; frames up to 3 dB louder still belong to it.
_NOISE_QUANTILE, _NOISE_SPREAD_DB = 0.1, 3.0
_HIGHEST_SNR_DB = 80.0
# A frame this close to a voiced one shares samples with it.
_VOICE_REACH_FRAMES = 3
# Shorter bursts are clicks, not speech.
_SHORTEST_SPEECH_FRAMES = 5
# Limits the memory of the autocorrelation for recordings of an hour.
_FRAMES_AT_ONCE = 4096


def decibel(power: Tensor | float) -> float:
    """10 log10 of a power, -200 for nothing."""
    return 10 * math.log10(max(float(power), 1e-20))


@dataclass(frozen=True)
class VoiceFrames:
    """A clip seen every HOP_S.

    Attributes:
        power: mean square, (F,).
        voiced: moments with a pitch, bool (F,).
        speech: voiced moments and the consonants around them, bool (F,).
        noise: moments apart from voice that are not digital silence, bool (F,).
    """

    power: Tensor
    voiced: Tensor
    speech: Tensor
    noise: Tensor

    def speech_span(self) -> tuple[int, int]:
        """First frame of speech, and the one after the last; bursts shorter than 50 ms do not count."""
        lasting = _opened(self.speech, _SHORTEST_SPEECH_FRAMES)
        found = torch.nonzero(lasting if bool(lasting.any()) else self.speech).flatten()
        if not found.numel():
            return 0, self.speech.numel()
        return int(found[0]), int(found[-1]) + 1

    def quality(self) -> Tensor:
        """How useful each moment is as a reference: 1 for voice, 0.5 for other speech, 0 for pauses, (F,)."""
        return 0.5 * self.voiced.double() + 0.5 * self.speech.double()

    def snr_db(self) -> float | None:
        """Power of speech over that of the noise between words; None where none is found."""
        noise = _noise_power(self.power, self.noise)
        if noise is None or not bool(self.speech.any()):
            return None
        speech = float(self.power[self.speech].mean())
        return min(decibel(max(speech - noise, 0.0)) - decibel(noise), _HIGHEST_SNR_DB)


def analyse_frames(samples: Tensor, sample_rate: int) -> VoiceFrames | None:
    """Frames of a mono clip (S,) of at least FRAME_S; None if all of it is silent."""
    centred = (samples - samples.mean()).double()
    length, hop = round(FRAME_S * sample_rate), HOP_S * sample_rate
    count = max(1, math.ceil(centred.shape[0] / hop))
    power = _frame_power(centred, length, hop, count)
    level = 10 * torch.log10(power.clamp(min=1e-20))
    if float(level.max()) < SILENCE_DBFS:
        return None
    audible = level[level > _DIGITAL_SILENCE_DBFS]
    gate = max(SILENCE_DBFS, float(audible.quantile(0.95)) - _SPEECH_RANGE_DB)
    voiced = (_correlation(centred, sample_rate, count) > _VOICED_CORRELATION) & (level > gate)
    noise = ~_widened(voiced, _VOICE_REACH_FRAMES) & (level > _DIGITAL_SILENCE_DBFS)
    floor = _noise_power(power, noise)
    if floor is not None:
        gate = max(gate, decibel(floor) + _ABOVE_NOISE_DB)
    return VoiceFrames(power=power, voiced=voiced, speech=voiced | (level > gate), noise=noise)


def flat_top_fraction(samples: Tensor) -> float:
    """Share of samples (S,) that lie in flat tops: three and more in a row at the clip's largest value.

    Full scale counts from 0.999 on, since lossy coding moves clipped samples a little.
    """
    magnitude = samples.abs()
    top = magnitude >= min(0.999, float(magnitude.max()) * (1 - 2**-15))
    padded = torch.nn.functional.pad(top.float(), (2, 2))[None]
    runs = torch.nn.functional.avg_pool1d(padded, 3, stride=1) > 0.99  # a run of three starts here
    inside = torch.nn.functional.max_pool1d(runs.float(), 3, stride=1)[0]
    return float(inside.mean())


def _noise_power(power: Tensor, noise: Tensor) -> float | None:
    quiet = power[noise]
    if quiet.numel() < _FEWEST_NOISE_FRAMES:
        return None
    limit = quiet.quantile(_NOISE_QUANTILE) * 10 ** (_NOISE_SPREAD_DB / 10)
    return float(quiet[quiet <= limit].mean())


def _frame_power(samples: Tensor, length: int, hop: float, count: int) -> Tensor:
    """Mean square around the middle of every hop, over what of each frame lies inside the clip, (F,)."""
    sums = torch.nn.functional.pad(samples.square().cumsum(0), (1, 0))
    middle = (torch.arange(count, dtype=torch.float64) + 0.5) * hop
    start = (middle - length / 2).round().long().clamp(0, samples.shape[0] - 1)
    stop = torch.maximum((middle + length / 2).round().long().clamp(max=samples.shape[0]), start + 1)
    return (sums[stop] - sums[start]).clamp(min=0) / (stop - start)


def _correlation(samples: Tensor, sample_rate: int, count: int) -> Tensor:
    """Highest normalised autocorrelation at the lags of a pitch, (F,)."""
    narrow = torchaudio.functional.resample(samples.float(), sample_rate, _PITCH_RATE)
    length, hop = round(FRAME_S * _PITCH_RATE), round(HOP_S * _PITCH_RATE)
    before = (length - hop) // 2
    after = max(0, (count - 1) * hop + length - before - narrow.shape[0])
    padded = torch.nn.functional.pad(narrow, (before, after))
    frames = padded.unfold(0, length, hop)[:count]
    return torch.cat([_frame_correlation(chunk) for chunk in frames.split(_FRAMES_AT_ONCE)]).double()


def _frame_correlation(frames: Tensor) -> Tensor:
    length = frames.shape[1]
    frames = frames - frames.mean(dim=1, keepdim=True)
    spectrum = torch.fft.rfft(frames, n=2 * length)
    products = torch.fft.irfft(spectrum.abs().square(), n=2 * length)[:, :length]  # (F, lag)
    energy = torch.nn.functional.pad(frames.square().cumsum(dim=1), (1, 0))
    shortest = math.floor(_PITCH_RATE / _HIGHEST_PITCH_HZ)
    longest = min(math.ceil(_PITCH_RATE / _LOWEST_PITCH_HZ), length - 1)
    early = energy[:, length - longest : length - shortest + 1].flip(1)  # (F, lag)
    late = energy[:, -1:] - energy[:, shortest : longest + 1]
    correlation = products[:, shortest : longest + 1] / (early * late).sqrt().clamp(min=1e-12)
    inner = correlation[:, 1:-1]
    peaks = (inner >= correlation[:, :-2]) & (inner >= correlation[:, 2:])
    return torch.where(peaks, inner, 0.0).amax(dim=1)


def _widened(mask: Tensor, reach: int) -> Tensor:
    """True within `reach` frames of any True."""
    return torch.nn.functional.max_pool1d(mask.double()[None], 2 * reach + 1, stride=1, padding=reach)[0] > 0.5


def _opened(mask: Tensor, length: int) -> Tensor:
    """The runs of True that are at least `length` long."""
    padded = torch.nn.functional.pad(mask.double()[None], (length - 1, length - 1))
    full = (torch.nn.functional.avg_pool1d(padded, length, stride=1) > 1 - 0.5 / length).double()
    return torch.nn.functional.max_pool1d(full, length, stride=1)[0] > 0.5
