"""The processes of a run, as accelerate's own configuration has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, parse_flag_from_env

from .settings import TrainerSettings

MIXED_PRECISION = {"fp32": "no", "bf16": "bf16"}


def make_accelerator(settings: TrainerSettings, handlers: Sequence[Any] = ()) -> Accelerator:
    """What `accelerate launch` was told, or one process on the best device there is.

    Accelerate has no FSDP over CPU processes; where its configuration asks for it, they get it here, so that sharded
    training can be tried and tested without a GPU.
    """
    # Runs after one another in one process may differ in precision, which accelerate keeps for the process.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=MIXED_PRECISION[settings.precision],
        cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available(),
        kwargs_handlers=list(handlers),
    )
    state = accelerator.state
    if state.distributed_type == DistributedType.MULTI_CPU and parse_flag_from_env("ACCELERATE_USE_FSDP"):
        # Both, because accelerate copies the one into the other whenever it is asked for.
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
    return accelerator
