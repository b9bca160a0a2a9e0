"""Waveforms from mel frames without a trained vocoder: the bar that a vocoder has to clear.

B clips, M mel bands, F frames. Source: Griffin and Lim (1984) with the momentum of Perraudin et al. (2013), as
torchaudio has it, on the magnitudes of `codec.refinement`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import griffinlim

from ..codec.mel import MEL_16K, MelConfig
from ..codec.refinement import mel_magnitudes

PHASE_STEPS = 60
MOMENTUM = 0.9


def griffin_lim(mel: Tensor, config: MelConfig = MEL_16K, seed: int = 0) -> Tensor:
    """A waveform with the given log-mel frames, nearly.

    Args:
        mel: (B, M, F), logarithms as the front end `config` makes them.
        config: the front end.
        seed: of the first phases.

    Returns:
        (B, F * hop), aligned with the waveform that the frames came from, in [-1, 1].
    """
    magnitude = functional.pad(mel_magnitudes(mel.float(), config), (1, 1), mode="replicate")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        waveform = griffinlim(
            magnitude,
            window=torch.hann_window(config.n_fft),
            n_fft=config.n_fft,
            hop_length=config.hop,
            win_length=config.n_fft,
            power=1.0,
            n_iter=PHASE_STEPS,
            momentum=MOMENTUM,
            length=None,
            rand_init=True,
        )
    # torchaudio's frame i is centred on sample i * hop, ours half a hop later; one frame was put in front.
    return waveform[:, config.hop // 2 :][:, : mel.shape[2] * config.hop].clamp(-1, 1)
