"""What stock nodes may wire into the model: refused in one sentence, or brought to the shapes it takes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..unitalking.config import UniTalkingConfig

logger = logging.getLogger(__name__)


def check_latent_shapes(shapes: Sequence[Sequence[int]], config: UniTalkingConfig) -> None:
    """Refuses latents of other models.

    Raises:
        ValueError: says what came, what is expected, and which node makes it.
    """
    sound = f"sound latents of {config.audio_channels} channels" if config.audio_channels else "no sound"
    expected = (
        f"this model takes picture latents of {config.in_dim} channels and {sound}: "
        "use Empty AV Latent with this MODEL."
    )
    got = " and ".join(str(tuple(shape)) for shape in shapes)
    if len(shapes) > 2 or len(shapes[0]) != 5 or (len(shapes) == 2 and len(shapes[1]) != 3):
        raise ValueError(f"The LATENT has shape {got}; {expected}")
    if shapes[0][1] != config.in_dim or (len(shapes) == 2 and shapes[1][1] != config.audio_channels):
        raise ValueError(f"The LATENT has shape {got}, so it belongs to another model; {expected}")
    if not shapes[0][2] and (len(shapes) < 2 or not shapes[1][2]):
        raise ValueError(f"The LATENT has neither picture nor sound; {expected}")


def fit_context(context: Tensor | None, config: UniTalkingConfig, name: str) -> Tensor:
    """Encoded text at the model's length: zero rows added, or cut with the end token kept and a warning.

    Args:
        context: (1, rows, text_dim).
        config: text_len and text_dim.
        name: of the conditioning, for messages.

    Raises:
        ValueError: no text, or a text encoder of another width.
    """
    if context is None or context.ndim != 3 or context.shape[-1] != config.text_dim:
        shape = None if context is None else tuple(context.shape)
        raise ValueError(
            f"The {name} conditioning has shape {shape}, this model takes (1, rows, {config.text_dim}): "
            "use the text encoder that belongs to it."
        )
    extra = context.shape[1] - config.text_len
    if extra > 0:
        logger.warning("UniTalking: the %s text is %d tokens too long and was cut.", name, extra)
        return torch.cat([context[:, : config.text_len - 1], context[:, -1:]], dim=1)
    return nn.functional.pad(context, (0, 0, 0, -extra))
