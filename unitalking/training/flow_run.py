"""A run of flow matching, from its recipe to the model file."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor
from torch.distributed.fsdp import register_fsdp_forward_method

from ..mapping import to_mapping
from ..tasks import TASKS
from .dataset import DataError, check_model, encoder_info
from .draws import ClockSettings, DropSettings, ReferenceSettings, SigmaSettings, SpanSettings, TaskMix
from .flow_batches import Draws, FlowBatches
from .flow_objective import FlowObjective, ObjectiveSettings, model_state
from .hearing import HearingLosses, load_hearing
from .lora import LoraSettings, add_lora, write_lora
from .preview import Previews, PreviewSettings
from .processes import make_accelerator
from .result import DTYPES, write_model
from .settings import TrainerSettings, TrainingError, require
from .shards import Shards
from .start import ModelSettings, Start, load_start
from .trainer import Trainer

log = logging.getLogger(__name__)
# What a run may not change on its way; files may move.
DECISIVE = ("tasks", "sigma", "drop", "spans", "references", "clock", "objective", "lora")
MODEL_FILE, LORA_FILE = "model.safetensors", "lora.safetensors"


@dataclass(frozen=True)
class Recipe:
    """Flow matching of one stage.

    Attributes:
        data: folder of a data set made by `python -m unitalking.training.prepare`.
        folder: where checkpoints, curves, samples and the result go.
        tasks: what is trained, how often.
        trainer: the loop.
        model: what the run starts from.
        sigma, drop, spans, references, clock: what is drawn for a sample.
        objective: how losses are weighed and computed.
        hearing: file of a run of kind `hearing`, which listens to the sound; "": nothing does.
        lora: low-rank changes instead of the weights themselves.
        previews: sample clips during the run.
        dtype: of the result, "bf16", "fp16" or "fp32".
    """

    data: str
    folder: str
    tasks: TaskMix
    trainer: TrainerSettings
    model: ModelSettings = field(default_factory=ModelSettings)
    sigma: SigmaSettings = field(default_factory=SigmaSettings)
    drop: DropSettings = field(default_factory=DropSettings)
    spans: SpanSettings = field(default_factory=SpanSettings)
    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    hearing: str = ""
    lora: LoraSettings | None = None
    previews: PreviewSettings = field(default_factory=PreviewSettings)
    dtype: str = "bf16"

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype, ", ".join(DTYPES))
        expected = "a file where objective.voice_weight or phonemes_weight is above 0, and nowhere else"
        require(bool(self.hearing) == self.objective.listens, "hearing", repr(self.hearing), expected)
        stage1 = self.model.trained == "audio"
        with_picture = [name for name in self.tasks.active() if TASKS[name].layout[0]]
        require(not (stage1 and with_picture), "tasks", with_picture, "speech alone (tts) where model.trained is audio")


def run(recipe: Recipe) -> Path:
    """Trains, and writes the model (or the LoRA) into the run's folder.

    Raises:
        TrainingError: files or settings that cannot be used, NaN, a full disk.
    """
    trainer, start = build(recipe)
    trainer.run()
    state = model_state(trainer.ema_state_dict())
    path = Path(recipe.folder) / (LORA_FILE if recipe.lora else MODEL_FILE)
    if trainer.accelerator.is_main_process:
        _write(path, recipe, start, state)
        log.info("wrote %s", path)
    trainer.accelerator.wait_for_everyone()
    return path


def build(recipe: Recipe) -> tuple[Trainer, Start]:
    """Everything of a run, ready to start.

    Raises:
        TrainingError: files or settings that cannot be used.
    """
    accelerator = make_accelerator(recipe.trainer, _handlers(recipe))
    try:
        shards = Shards(recipe.data)
        start = load_start(recipe.model, shards.info)
        _check_data(recipe, shards, start)
        if recipe.lora:
            add_lora(start.network, recipe.lora, recipe.trainer.seed)
        batches = FlowBatches(
            shards,
            start.config,
            start.statistics,
            Draws(recipe.tasks, recipe.sigma, recipe.drop, recipe.spans, recipe.references, recipe.clock),
            recipe.trainer.samples_per_batch(accelerator.num_processes),
            recipe.trainer.seed,
        )
    except (DataError, ValueError) as error:
        raise TrainingError(str(error)) from error
    encoder = start.text_encoder
    if recipe.lora and encoder is not None:
        encoder.requires_grad_(False)
    is_sharded = accelerator.distributed_type.value == "FSDP"
    hearing = _hearing(recipe, start, accelerator.device)
    objective = FlowObjective(start.network, encoder, recipe.objective, hearing=hearing, pair_blocks=is_sharded)
    previews = Previews(recipe.previews, Path(recipe.folder) / "samples", start, shards)
    set_seed(recipe.trainer.seed)
    about = {name: value for name, value in to_mapping(recipe).items() if name in DECISIVE} | {"clips": len(shards)}
    trainer = Trainer(recipe.trainer, objective, batches, Path(recipe.folder), previews, accelerator, about)
    register_fsdp_forward_method(trainer.inner, "predict")  # what sample clips call; no effect where nothing is sharded
    return trainer, start


def _handlers(recipe: Recipe) -> list:
    """DDP looks for parameters without gradient only where a task leaves a stream out."""
    pictures = {TASKS[name].layout[:2] for name in recipe.tasks.active()}
    unused = recipe.model.trained == "all" and pictures != {(True, True)}
    return [DistributedDataParallelKwargs(find_unused_parameters=True)] if unused else []


def _hearing(recipe: Recipe, start: Start, device: torch.device) -> HearingLosses | None:
    if not recipe.hearing:
        return None
    return HearingLosses(load_hearing(Path(recipe.hearing), start.statistics[1]).to(device))


def _check_data(recipe: Recipe, shards: Shards, start: Start) -> None:
    """Data and model belong together.

    Raises:
        DataError: other rates, channels or codecs.
    """
    made = {part: encoder_info(part, start.config, weights) for part, weights in start.codecs.items()}
    check_model(shards.folder, shards.info, start.config, made.get("video_vae"), made.get("audio_vae"))


def _write(path: Path, recipe: Recipe, start: Start, state: dict[str, Tensor]) -> None:
    about = {"recipe": to_mapping(recipe), "torch": torch.__version__}
    try:
        if recipe.lora:
            network = {name.removeprefix("network."): value for name, value in state.items()}
            write_lora(path, network, recipe.lora, about)
        else:
            write_model(path, start, state, about, DTYPES[recipe.dtype])
    except OSError as error:
        raise TrainingError(
            f"{path} could not be written: {error}. The last checkpoint holds the same weights: free some space and "
            "run the same command again."
        ) from error
