"""The processes of a run, as accelerate's own configuration has them."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, parse_flag_from_env

from .settings import TrainerSettings

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MIXED_PRECISION = {"fp32": "no", "bf16": "bf16"}
# Processors without any of these multiply bf16 several times slower than fp32.
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")


def make_accelerator(settings: TrainerSettings, handlers: Sequence[Any] = ()) -> Accelerator:
    """What `accelerate launch` was told, or one process on the best device there is.

    Accelerate has no FSDP over CPU processes; where its configuration asks for it, they get it here, so that sharded
    training can be tried and tested without a GPU.
    """
    # Runs after one another in one process may differ in precision, which accelerate keeps for the process.
    AcceleratorState._reset_state()
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    precision = fastest_precision(cpu) if settings.precision == "auto" else settings.precision
    accelerator = Accelerator(
        mixed_precision=MIXED_PRECISION[precision],
        cpu=cpu,
        kwargs_handlers=list(handlers),
    )
    state = accelerator.state
    if state.distributed_type == DistributedType.MULTI_CPU and parse_flag_from_env("ACCELERATE_USE_FSDP"):
        # Both, because accelerate copies the one into the other whenever it is asked for.
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
    return accelerator


def leave_processes() -> None:
    """Ends what holds the processes together, as PyTorch asks for: its threads may outlive the interpreter otherwise,
    which ended three of ten finished runs by SIGABRT. A model that went through DDP holds them as well, and is often
    part of a cycle that nobody has collected."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def fastest_precision(cpu: bool) -> str:
    """ "bf16" where the processor, or else the accelerator, has instructions for it; otherwise "fp32"."""
    if cpu:
        has_bf16 = any(torch.cpu.get_capabilities().get(name, False) for name in BF16_INSTRUCTIONS)
    else:
        has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"
