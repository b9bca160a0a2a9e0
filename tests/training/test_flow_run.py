"""Runs from their recipes: results, resuming, several processes, LoRA, and what cannot be run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

import tiny_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unitalking.checkpoint.files import read_model
from unitalking.mapping import from_mapping
from unitalking.training import flow_run, recipe
from unitalking.training.result import ABOUT_KEY
from unitalking.training.settings import TrainingError
from unitalking.training.start import read_tensors

ROOT = Path(__file__).resolve().parent.parent.parent
# Accelerate's configurations as they ship, on two CPU processes.
CPU = {"mixed_precision": "no", "num_processes": 2, "use_cpu": True, "main_process_port": 0}
SHIPPED = {path.stem: yaml.safe_load(path.read_text()) for path in (recipe.RECIPES.parent / "launch").glob("*.yaml")}
FSDP = {**SHIPPED["fsdp"], **CPU}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make_dataset(tmp_path_factory.mktemp("data") / "set")


def run(data: Path, folder: Path, **changes: Any) -> Path:
    return flow_run.run(from_mapping(flow_run.Recipe, tiny_data.recipe(data, folder, **changes)))


def curve(folder: Path, name: str = "loss/loss") -> dict[int, float]:
    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    return {point.step: point.value for point in events.Scalars(name)}


def test_a_run_leaves_a_model_that_the_pack_reads(data: Path, tmp_path: Path) -> None:
    path = run(data, tmp_path, trainer={"ema": 0.9, "sample_every": 3}, previews={"clips": 2, "steps": 2})
    tensors, metadata = read_tensors(path)
    model = read_model(tensors, metadata, path.name)
    assert model.config.name == "random tiny"
    assert set(model.parts) == {"text_encoder", "video_vae", "audio_vae"}
    about = json.loads(metadata[ABOUT_KEY])
    assert about["recipe"]["tasks"]["tv2a"]["weight"] == 1.0
    before = read_tensors(tiny_data.MODEL)[0]
    assert torch.equal(tensors["video_vae.decoder.conv_in.weight"], before["video_vae.decoder.conv_in.weight"])
    assert not torch.equal(
        tensors["audio.blocks.0.self_attn.q.weight"].float(), before["audio.blocks.0.self_attn.q.weight"].float()
    )
    samples = tmp_path / "samples" / "step-00000003"
    assert {each.name for each in samples.iterdir()} == {"0.mp4", "1.mp4", "sheet.png", "prompts.txt"}
    assert "<S>" in (samples / "prompts.txt").read_text()
    assert sorted(curve(tmp_path)) == [1, 2, 3]
    assert set(curve(tmp_path, "loss/video")) == set(curve(tmp_path, "loss/audio")) == {1, 2, 3}


def test_sample_clips_are_films_with_sound_of_one_length(data: Path, tmp_path: Path) -> None:
    import av

    run(data, tmp_path, trainer={"sample_every": 3}, previews={"clips": 1, "steps": 2})
    with av.open(str(tmp_path / "samples" / "step-00000003" / "0.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) in (17, 25)
    assert frames[0].shape == (64, 64, 3)
    with av.open(str(tmp_path / "samples" / "step-00000003" / "0.mp4")) as film:
        assert film.streams.audio[0].rate == 16000
        seconds = sum(frame.samples for frame in film.decode(audio=0)) / 16000
    assert seconds == pytest.approx(len(frames) / 24, abs=0.15)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path, kind: str) -> None:
    settings = {"steps": 4, "ema": 0.9, "optimiser": {"lr": 1e-3, "kind": kind}, "workers": 1}
    whole = run(data, tmp_path / "whole", trainer=settings)
    run(data, tmp_path / "parts", trainer={**settings, "steps": 2})
    parts = run(data, tmp_path / "parts", trainer=settings)
    one, other = (safetensors.torch.load_file(path) for path in (whole, parts))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert curve(tmp_path / "whole") == curve(tmp_path / "parts")


def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(data: Path, tmp_path: Path) -> None:
    """As it happens: SIGKILL while steps and checkpoints are made, then the same command again."""
    settings = {"steps": 24, "ema": 0.9, "workers": 1}
    given = {"kind": "flow", **tiny_data.recipe(data, tmp_path / "killed", trainer=settings)}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(given))
    line = [sys.executable, "-m", "unitalking.training", str(tmp_path / "recipe.yaml")]
    checkpoints = tmp_path / "killed" / "checkpoints"
    # As many threads as the run that it is compared with: sums of another order have other bits.
    options = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    for wanted in (2, 8):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        while process.poll() is None and not (checkpoints / f"step-{wanted:08d}").exists():
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not (checkpoints / "step-00000024").exists()
    assert subprocess.run(line, capture_output=True, **options).returncode == 0
    whole = run(data, tmp_path / "whole", trainer=settings)
    one, other = (safetensors.torch.load_file(path) for path in (whole, tmp_path / "killed" / whole.name))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def launch(config: dict[str, Any] | None, folder: Path, given: dict[str, Any]) -> None:
    """Two processes over gloo, as a user starts them; without a configuration of accelerate by PyTorch's launcher."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"kind": "flow", **given}))
    if config is None:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    else:
        (folder / "accelerate.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(folder / "accelerate.yaml")]
    command += ["-m", "unitalking.training", str(folder / "recipe.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "2 processes on cpu" in done.stdout


@pytest.mark.parametrize("config", [None, FSDP], ids=["ddp", "fsdp"])
def test_two_processes_train_the_model_of_one(data: Path, tmp_path: Path, config: dict[str, Any] | None) -> None:
    common = {
        "objective": {"checkpointing": True},
        "previews": {"clips": 1, "steps": 1},
        "dtype": "fp32",
    }
    trainer = {"steps": 4, "ema": 0.5, "sample_every": 2}
    path = run(data, tmp_path / "one", trainer=trainer, **common)
    launch(config, tmp_path / "two", tiny_data.recipe(data, tmp_path / "two" / "run", trainer=trainer, **common))
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two" / "run")
    assert sorted(two) == [1, 2, 3, 4]
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-6)
    expected, found = (safetensors.torch.load_file(file) for file in (path, tmp_path / "two" / "run" / path.name))
    assert found.keys() == expected.keys()
    # AdamW's first steps move each weight by about lr = 1e-3 however small its gradient, rounding included.
    assert all(torch.allclose(found[name], value, atol=1e-4) for name, value in expected.items())


def test_sharded_training_resumes(data: Path, tmp_path: Path) -> None:
    given = tiny_data.recipe(data, tmp_path / "run", trainer={"steps": 2, "ema": 0.5})
    launch(FSDP, tmp_path / "first", given)
    given["trainer"]["steps"] = 4
    launch(FSDP, tmp_path / "second", given)
    run(data, tmp_path / "one", trainer={"steps": 4, "ema": 0.5})
    assert list(curve(tmp_path / "run").values()) == pytest.approx(list(curve(tmp_path / "one").values()), rel=1e-6)


def test_fsdp_and_muon_do_not_go_together(data: Path, tmp_path: Path) -> None:
    given = tiny_data.recipe(data, tmp_path / "run", trainer={"optimiser": {"kind": "muon"}})
    with pytest.raises(AssertionError, match="muon needs whole matrices"):
        launch(FSDP, tmp_path / "files", given)


def test_first_stage_leaves_the_picture_as_it_was(data: Path, tmp_path: Path) -> None:
    path = run(
        data,
        tmp_path,
        tasks={"tts": {"weight": 1.0, "reference": 0.5}},
        model={"start": str(tiny_data.MODEL), "trained": "audio"},
    )
    before, after = read_tensors(tiny_data.MODEL)[0], read_tensors(path)[0]
    moved = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name].to(value))}
    assert moved - {"unitalking"} == {"audio", "text_encoder"}  # the config may have gained fields
    clock = [name for name in before if name.startswith("text_encoder.clock.")]
    assert len(clock) > 4
    assert all(torch.equal(before[name], after[name].to(before[name])) for name in clock)


def test_a_text_encoder_that_has_learnt_to_pronounce_can_stay_as_it_is(data: Path, tmp_path: Path) -> None:
    model = {"start": str(tiny_data.MODEL), "trained": "audio"}
    path = run(
        data,
        tmp_path,
        tasks={"tts": {"weight": 1.0, "reference": 0.5}},
        model=model,
        objective={"text_encoder_rate": 0},
    )
    before, after = read_tensors(tiny_data.MODEL)[0], read_tensors(path)[0]
    moved = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name].to(value))}
    assert moved - {"unitalking"} == {"audio"}


def test_checkpoints_of_a_frozen_network_hold_what_moves(data: Path, tmp_path: Path) -> None:
    run(
        data,
        tmp_path,
        tasks={"tts": {"weight": 1.0}},
        model={"start": str(tiny_data.MODEL), "trained": "audio"},
        trainer={"steps": 2},
    )
    saved = safetensors.torch.load_file(tmp_path / "checkpoints" / "step-00000002" / "model.safetensors")
    assert {name.split(".")[1] for name in saved if name.startswith("network.")} == {"audio"}


# ---- where a network comes from

CONFIG = {
    **{"dim": 32, "ffn_dim": 64, "num_heads": 2, "num_layers": 2, "freq_dim": 16, "text_len": 64},
    **{"reference_tokens": 12, "in_dim": 24, "out_dim": 24, "audio_channels": 20, "text_dim": 16},
    **{"sample_rate": 16000, "hop": 256},
    "text_encoder": {"dim": 16, "layers": 1, "heads": 2, "max_bytes": 64, "audio_latents_per_s": 31.25},
}


def fresh(data: Path, folder: Path, **model: Any) -> flow_run.Start:
    given = tiny_data.recipe(data, folder, model={"config": CONFIG, **model})
    return flow_run.build(from_mapping(flow_run.Recipe, given))[1]


def test_a_fresh_network_with_the_codecs_of_a_bundle(data: Path, tmp_path: Path) -> None:
    start = fresh(data, tmp_path, codecs=str(tiny_data.MODEL))
    assert set(start.codecs) == {"video_vae", "audio_vae"}
    assert start.config.video_vae is not None
    assert torch.equal(start.statistics[0].mean, read_tensors(tiny_data.MODEL)[0]["latents.video.mean"])
    assert not start.network.video.head.head.weight.any()
    same, other = fresh(data, tmp_path), fresh(data, tmp_path, seed=1)
    name = "audio.blocks.1.ffn.0.weight"
    assert torch.equal(same.network.state_dict()[name], start.network.state_dict()[name])
    assert not torch.equal(other.network.state_dict()[name], start.network.state_dict()[name])
    assert all(value.isfinite().all() for value in start.network.state_dict().values())


def test_one_stream_starts_as_a_copy_of_the_other(data: Path, tmp_path: Path) -> None:
    timed = {**CONFIG, "extra_positions": [2, 2]}
    start = fresh(data, tmp_path, config=timed, copy="audio_to_video")
    video, audio = start.network.video.state_dict(), start.network.audio.state_dict()
    shared = [name for name in video if name.startswith(("blocks.", "time_", "extra_positions.time."))]
    to_the_text = [name for name in shared if re.search(r"cross_attn\.[qkvo]\.weight", name)]
    assert len(to_the_text) == 4 * start.config.num_layers
    assert not any(torch.equal(video[name], audio[name]) for name in to_the_text)
    others = [name for name in shared if "cross_attn" not in name]
    assert len(others) > 16
    assert all(torch.equal(video[name], audio[name]) for name in others)
    alone = fresh(data, tmp_path, config=timed).network.audio.state_dict()
    assert all(torch.equal(value, alone[name]) for name, value in audio.items())
    assert video["head.head.weight"].shape != audio["head.head.weight"].shape


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_wan_weights_start_the_video_stream(data: Path, tmp_path: Path, prefix: str) -> None:
    donor = fresh(data, tmp_path, seed=7).network.video.state_dict()
    names = sorted(name for name in donor if "reference" not in name)
    files = []
    for part in range(2):
        shard = {
            prefix + (name.removesuffix(".weight") if name.endswith("modulation.weight") else name): donor[name].clone()
            for name in names[part::2]
        }
        files.append(str(tmp_path / f"wan-{part}.safetensors"))
        safetensors.torch.save_file(shard, files[-1])
    start = fresh(data, tmp_path, wan=files)
    assert all(torch.equal(start.network.video.state_dict()[name], donor[name]) for name in names)
    with pytest.raises(TrainingError, match=r"missing, left over or of another shape: blocks"):
        fresh(data, tmp_path, wan=files[:1])


# ---- LoRA


def test_lora_trains_nothing_but_its_own_stream(data: Path, tmp_path: Path) -> None:
    path = run(data, tmp_path, lora={"rank": 4, "alpha": 8.0, "streams": ["audio"]}, trainer={"ema": 0.5})
    tensors = safetensors.torch.load_file(path)
    assert {name.split(".")[1] for name in tensors} == {"audio"}
    assert {name.split(".", 4)[-1] for name in tensors if ".blocks.0.self_attn.q." in name} == {
        *("self_attn.q.lora_A.weight", "self_attn.q.lora_B.weight", "self_attn.q.alpha")
    }
    assert tensors["diffusion_model.audio.blocks.0.self_attn.q.lora_A.weight"].shape == (4, 96)
    assert float(tensors["diffusion_model.audio.blocks.0.self_attn.q.alpha"]) == 8.0
    assert all(value.any() for name, value in tensors.items() if ".lora_B." in name)
    resumed = run(data, tmp_path, lora={"rank": 4, "alpha": 8.0, "streams": ["audio"]}, trainer={"ema": 0.5})
    assert all(torch.equal(value, tensors[name]) for name, value in safetensors.torch.load_file(resumed).items())


# ---- recipes


@pytest.mark.parametrize("name", sorted(path.stem for path in recipe.RECIPES.glob("*.yaml")))
def test_every_recipe_of_the_pack_parses(name: str) -> None:
    module, parsed = recipe.load_recipe(name)
    assert isinstance(parsed, module.Recipe)


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in recipe.RECIPES.glob("*.yaml") if "kind: flow" in path.read_text())
)
def test_every_flow_recipe_takes_two_steps_at_tiny_size(data: Path, tmp_path: Path, name: str) -> None:
    small = [
        f"data={data}",
        f"folder={tmp_path}",
        "trainer.steps=2",
        "trainer.batch_size=2",
        "trainer.accumulation=1",
        "trainer.checkpoint_every=2",
        "trainer.sample_every=2",
        "trainer.workers=0",
        "previews.clips=1",
        "previews.steps=1",
    ]
    given = yaml.safe_load((recipe.RECIPES / f"{name}.yaml").read_text())
    if given.get("model", {}).get("start") or given.get("lora"):
        small.append(f"model.start={tiny_data.MODEL}")
    else:
        none = ["model.codecs=''", "model.text_encoder=''", "model.wan=[]"]
        small += [f"model.config={json.dumps(CONFIG)}", *none]
    if given.get("hearing"):
        small.append(f"hearing={tiny_data.write_hearing(tmp_path / 'hearing.safetensors')}")
    module, parsed = recipe.load_recipe(name, small)
    assert module.run(parsed).is_file()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "unitalking.training", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_command_says_what_is_wrong_and_nothing_else(data: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"kind": "flow", **tiny_data.recipe(data, tmp_path / "run")}))
    done = command(str(tmp_path / "recipe.yaml"), "trainer.step=5")
    assert done.returncode == 1
    assert "recipe.yaml" in done.stderr
    assert "unknown key(s) step" in done.stderr
    assert "Traceback" not in done.stderr
    done = command("no_such")
    assert "no such recipe. The pack has" in done.stderr
    done = command(str(tmp_path / "recipe.yaml"))
    assert done.returncode == 0, done.stderr
    assert "step 3/3" in done.stdout


def run_recipe(path: Path) -> None:
    module, parsed = recipe.load_recipe(str(path))
    module.run(parsed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": {}}, r"unknown key\(s\) objectives"),
        ({"data": "no/such/folder"}, r"no/such/folder"),
        ({"model": {"start": "no_such.safetensors"}}, r"model: .*no_such.safetensors"),
        (
            {"model": {"start": "x.safetensors", "config": {"dim": 32}}},
            r"model.start: got x.safetensors, expected alone",
        ),
        ({"model": {"config": {**CONFIG, "fps": 25}}}, r"was made for another model: fps 24.* instead of 25"),
        ({"model": {"start": str(tiny_data.MODEL), "trained": "audio"}}, r"expected speech alone"),
        ({"objective": {"region": {"top": 0.5, "bottom": 0.2, "left": 0, "right": 1, "weight": 2}}}, r"top < bottom"),
        ({"lora": {"streams": ["picture"]}}, r"lora.streams: got \('picture',\)"),
        (
            {"trainer": {"steps": 1, "batch_size": 3, "accumulation": 2, "precision": "fp32"}},
            r"trainer.batch_size: got 3",
        ),
    ],
)
def test_recipes_that_cannot_run_are_named(data: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"kind": "flow", **tiny_data.recipe(data, tmp_path / "run"), **changes}))
    with pytest.raises(TrainingError, match=message):
        run_recipe(path)


def test_a_checkpoint_of_another_network_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path)
    with pytest.raises(TrainingError, match=r"written by another run: parameters\.network.* was \[.*96.*, is"):
        run(data, tmp_path, model={"config": CONFIG})


def test_a_run_does_not_change_its_recipe_on_the_way(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, lora={"rank": 2})
    with pytest.raises(TrainingError, match=r"written by another run: tasks\.t2av\.weight was 1\.0, is 2\.0\. Start"):
        run(
            data,
            tmp_path,
            lora={"rank": 2},
            tasks={**tiny_data.recipe(data, tmp_path)["tasks"], "t2av": {"weight": 2.0}},
        )
    with pytest.raises(TrainingError, match=r"another run: lora\.rank was 2, is 3; parameters"):
        run(data, tmp_path, lora={"rank": 3})
    other = tiny_data.make_dataset(tmp_path / "other", frames=(17,) * 5)
    with pytest.raises(TrainingError, match=r"clips was 11, is 5"):
        run(other, tmp_path, lora={"rank": 2})


def test_latents_with_nan_stop_the_run_and_name_the_clip(data: Path, tmp_path: Path) -> None:
    given = from_mapping(flow_run.Recipe, tiny_data.recipe(data, tmp_path, trainer={"batch_size": 2}))
    trainer, _ = flow_run.build(given)
    read = trainer.batches.shards.read

    def damaged(position: int) -> Any:
        clip = read(position)
        if clip.key == "clip-003":
            clip.audio[0, 0] = float("nan")
        return clip

    trainer.batches.shards.read = damaged
    trainer.settings = from_mapping(
        type(trainer.settings), {**tiny_data.recipe(data, tmp_path)["trainer"], "steps": 40}
    )
    with pytest.raises(TrainingError, match=r"the loss is NaN or Inf.*clip-003.*Look at these samples"):
        trainer.run()
