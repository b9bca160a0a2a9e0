"""The vocoder's activation with a gradient written by hand: the same numbers as the codec's, in a fraction of the time.

B clips, C channels, T time steps. On one CPU core a step of `Activation` takes 105 ms for 8 x 32 x 8192 numbers, this
one 18 ms compiled. It is computed in its two phases: at twice the rate every even sample is six taps of the input, and
every odd one the other six.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..codec.vocoder import FILTER_TAPS, SNAKE_FLOOR, Activation, lowpass_filter

log = logging.getLogger(__name__)
COMPILERS = ("c++", "g++", "clang++", "cl")
HALF = FILTER_TAPS // 2
EDGE = HALF // 2
_TAPS = lowpass_filter().tolist()
UP_EVEN = [2 * _TAPS[FILTER_TAPS - 1 - 2 * q] for q in range(HALF)]
UP_ODD = [2 * _TAPS[FILTER_TAPS - 2 - 2 * q] for q in range(HALF)]
DOWN_EVEN = [_TAPS[2 * q + 1] for q in range(HALF)]
DOWN_ODD = [_TAPS[2 * q] for q in range(HALF)]


def _raised(padded: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd samples at twice the rate, each (B, C, T), of the input with 3 more at each end."""
    length = padded.shape[-1] - 2 * EDGE
    even = sum(padded[..., q : q + length] * UP_EVEN[q] for q in range(HALF))
    odd = sum(padded[..., q + 1 : q + 1 + length] * UP_ODD[q] for q in range(HALF))
    return even, odd


def forward(padded: Tensor, frequency: Tensor, share: Tensor) -> Tensor:
    """x + share sin^2(frequency x) at twice the rate; (B, C, T + 6) -> (B, C, T)."""
    even, odd = (each + (each * frequency).sin().square() * share for each in _raised(padded))
    length = even.shape[-1]
    first, last = even[..., :1], odd[..., -1:]
    even = torch.cat((first, first, even, last, last, last), -1)
    odd = torch.cat((first, first, first, odd, last, last), -1)
    lowered = sum(even[..., q : q + length] * DOWN_EVEN[q] for q in range(HALF))
    return lowered + sum(odd[..., q : q + length] * DOWN_ODD[q] for q in range(HALF))


def backward_middle(
    gradient: Tensor, padded: Tensor, frequency: Tensor, share: Tensor, first: Tensor, last: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of both phases before the activation (B, C, T), and of frequency and share (B, C).

    Args:
        gradient: of the output, with 5 zeros at each end.
        padded, frequency, share: what `forward` was given.
        first, last: what the repeated samples at the ends add, (B, C, 1).
    """
    even, odd = _raised(padded)
    length = even.shape[-1]
    place = torch.arange(length, device=gradient.device)
    grad_even = sum(gradient[..., 7 - q : 7 - q + length] * DOWN_EVEN[q] for q in range(HALF))
    grad_odd = sum(gradient[..., 8 - q : 8 - q + length] * DOWN_ODD[q] for q in range(HALF))
    grad_even = grad_even + torch.where(place == 0, first, 0.0)
    grad_odd = grad_odd + torch.where(place == length - 1, last, 0.0)
    double_even, double_odd = 2 * frequency * even, 2 * frequency * odd
    slope_even = double_even.sin() * share * grad_even
    slope_odd = double_odd.sin() * share * grad_odd
    of_frequency = (slope_even * even + slope_odd * odd).sum(-1)
    of_share = 0.5 * (grad_even * (1 - double_even.cos()) + grad_odd * (1 - double_odd.cos())).sum(-1)
    return grad_even + frequency * slope_even, grad_odd + frequency * slope_odd, of_frequency, of_share


def backward_raising(even: Tensor, odd: Tensor) -> Tensor:
    """The gradient of the input but for its two ends; both phases (B, C, T + 6) with 3 zeros at each end."""
    length = even.shape[-1] - 2 * EDGE
    return sum(
        even[..., 6 - q : 6 - q + length] * UP_EVEN[q] + odd[..., 5 - q : 5 - q + length] * UP_ODD[q]
        for q in range(HALF)
    )


class Kernels:
    """The three functions, compiled for each shape or as they are.

    Args:
        compiled: use torch.compile, which needs some seconds per shape, and a C++ compiler: without one, as they are.
    """

    def __init__(self, compiled: bool) -> None:
        found = any(map(shutil.which, COMPILERS))
        if compiled and not found:
            log.warning("no C++ compiler (%s) found: the vocoder trains several times slower", ", ".join(COMPILERS))
        wrap: Callable[[Any], Any] = _compile if compiled and found else lambda function: function
        self.forward, self.middle, self.raising = (
            wrap(function) for function in (forward, backward_middle, backward_raising)
        )


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, hidden: Tensor, frequency: Tensor, share: Tensor, kernels: Kernels) -> Tensor:
        ends = [-1] * EDGE
        padded = torch.cat((hidden[..., [0] * EDGE], hidden, hidden[..., ends]), -1)
        context.save_for_backward(padded, frequency, share)
        context.kernels = kernels
        return kernels.forward(padded, frequency, share)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        padded, frequency, share = context.saved_tensors
        kernels: Kernels = context.kernels
        length = gradient.shape[-1]
        gradient = functional.pad(gradient, (5, 5))
        even_at, odd_at = (
            lambda place, taps=taps: sum(gradient[..., place + 5 - q] * taps[q] for q in range(HALF))
            for taps in (DOWN_EVEN, DOWN_ODD)
        )
        first = sum([even_at(0), even_at(1), odd_at(0), odd_at(1), odd_at(2)])[..., None]
        last = sum([*(even_at(length + place) for place in (2, 3, 4)), *(odd_at(length + place) for place in (3, 4))])[
            ..., None
        ]
        even, odd, of_frequency, of_share = kernels.middle(gradient, padded, frequency, share, first, last)
        even, odd = functional.pad(even, (EDGE, EDGE)), functional.pad(odd, (EDGE, EDGE))
        grad = kernels.raising(even, odd)
        for target, places in ((0, range(EDGE)), (-1, range(length + EDGE, length + 2 * EDGE))):
            grad[..., target] += sum(_input_gradient(even, odd, place) for place in places)
        return grad, of_frequency.sum(0)[None, :, None], of_share.sum(0)[None, :, None], None


def _input_gradient(even: Tensor, odd: Tensor, place: int) -> Tensor:
    """What reaches sample `place` of the padded input, (B, C)."""
    total = even.new_zeros(even.shape[:-1])
    for phase, taps, shift in ((even, UP_EVEN, EDGE), (odd, UP_ODD, EDGE - 1)):
        for q in range(HALF):
            if 0 <= place + shift - q < phase.shape[-1]:
                total = total + phase[..., place + shift - q] * taps[q]
    return total


class TrainedActivation(nn.Module):
    """Stands in for `Activation` while it trains, with its parameters; (B, C, T) -> (B, C, T), fp32, T at least 6."""

    def __init__(self, activation: Activation, kernels: Kernels) -> None:
        super().__init__()
        self.act = activation.act
        self.kernels = kernels
        self._plain = (activation,)  # in a tuple: its parameters are counted once

    def forward(self, hidden: Tensor, taps: Tensor) -> Tensor:
        """`taps` is the codec's filter, used in evaluation alone, where lengths vary too much to compile for each."""
        if not self.training:
            return self._plain[0](hidden, taps)
        frequency = self.act.alpha.exp()[None, :, None]
        share = (1 / (self.act.beta.exp() + SNAKE_FLOOR))[None, :, None]
        return _Function.apply(hidden.float(), frequency.float(), share.float(), self.kernels)


def replace_activations(module: nn.Module, compiled: bool) -> None:
    """Puts a `TrainedActivation` in place of every `Activation` in a vocoder; parameter names stay."""
    kernels = Kernels(compiled)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Activation):
                setattr(parent, name, TrainedActivation(child, kernels))
