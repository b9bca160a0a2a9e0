"""What one sampling run keeps: step-invariant work, made at the first step that needs it, dropped at the end.

Stock samplers call the model step by step and know nothing of runs, so a wrapper around the whole of sampling puts a
`Run` into the model options. It is an object on purpose: the host copies dictionaries at every step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import comfy.model_management
import torch

from .constants import VOICE_KEY
from .given_picture import AUTO
from .guider import POST_CFG_KEY, AVGuider, stream_by_stream
from .inputs import check_latent_shapes

Value = TypeVar("Value")

RUN_KEY = "unitalking_run"

logger = logging.getLogger(__name__)


class Run:
    """Kept results of one run, by key.

    Attributes:
        has_voice: whether any conditioning of the run carries a voice; without one the branch is never computed.
        patcher: the patcher that samples, None outside of sampling.
        skipped_block: the block that the negative pass leaves out, 0: none.
        keep_picture: where a given picture is kept, of `given_picture.PLACES`.
        guidance_lips: how strictly the sound keeps to a given picture; 1: no second pass without it.
    """

    def __init__(
        self,
        *,
        has_voice: bool = True,
        patcher: Any = None,
        skipped_block: int = 0,
        keep_picture: str = AUTO,
        guidance_lips: float = 1.0,
    ) -> None:
        self.has_voice = has_voice
        self.patcher = patcher
        self.skipped_block = skipped_block
        self.keep_picture = keep_picture
        self.guidance_lips = guidance_lips
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The kept result of `key`, computed the first time."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def hook_state(self) -> tuple:
        """What distinguishes the weights of this call: the patcher's active hooks and their strength at this step."""
        hooks = getattr(self.patcher, "current_hooks", None)
        return () if hooks is None else tuple((id(hook.hook_ref), hook.strength) for hook in hooks.hooks)

    def clear(self) -> None:
        """Drops everything kept."""
        self._kept.clear()


def around_sampling(executor: Any, *args: Any, latent_shapes: list[Sequence[int]], **kwargs: Any) -> Any:
    """OUTER_SAMPLE wrapper: gives the run its `Run` and the latent format the shapes of the packed latent.

    Raises:
        ValueError: a latent of another model.
    """
    guider = executor.class_obj
    # Here, because the next thing the host does is to normalise the latent.
    config = guider.model_patcher.model.unitalking
    check_latent_shapes(latent_shapes, config)
    has_voice = any(VOICE_KEY in cond for conds in guider.conds.values() for cond in conds)
    run = Run(
        has_voice=has_voice,
        patcher=guider.model_patcher,
        skipped_block=getattr(guider, "skipped_block", config.sampling.skipped_block),
        keep_picture=getattr(guider, "keep_picture", AUTO),
        guidance_lips=guider.guidance.lips if isinstance(guider, AVGuider) else config.sampling.guidance_lips,
    )
    options = guider.model_options.setdefault("transformer_options", {})
    options[RUN_KEY] = run
    if changes := guider.model_options.get(POST_CFG_KEY):
        guider.model_options[POST_CFG_KEY] = [stream_by_stream(change, latent_shapes) for change in changes]
    latent_format = guider.model_patcher.model.latent_format
    outer_shapes, latent_format.packed_shapes = latent_format.packed_shapes, latent_shapes
    try:
        return executor(*args, latent_shapes=latent_shapes, **kwargs)
    finally:
        latent_format.packed_shapes = outer_shapes
        options.pop(RUN_KEY, None)
        run.clear()


def room_for(num_bytes: int, device: torch.device, reserve_bytes: float) -> bool:
    """Whether `num_bytes` more fit into the device's free memory after `reserve_bytes` for the step itself."""
    free = comfy.model_management.get_free_memory(device)
    fits = num_bytes < free - reserve_bytes
    if not fits:
        logger.info(
            "UniTalking: %.2f GB of text keys are computed anew at each step, %.2f GB are free.",
            num_bytes / 1e9,
            free / 1e9,
        )
    return fits
