"""The network, guidance, timeline, schedule and latent statistics against the golden files."""

from __future__ import annotations

import functools
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from unitalking import flow, guidance, timeline
from unitalking.checkpoint.keys import to_module_keys
from unitalking.latents import WAN22_MEAN, WAN22_STD
from unitalking.model.attention import torch_attention
from unitalking.model.transformer import UniTalking
from unitalking.types import NoiseLevels, StreamInput

pytestmark = pytest.mark.golden

PRECISIONS = {torch.float32: 1e-5, torch.float64: 1e-7}


class Recorder:
    """Passes blocks and attention calls through and keeps what they return."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Tensor, ...]] = []
        self.attended: list[list[Tensor]] = []

    def run_block(self, index: int, block: object, tokens: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.attended.append([])
        self.blocks.append(block(tokens))
        return self.blocks[-1]

    def attention(self, queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        self.attended[-1].append(torch_attention(queries, keys, values, heads))
        return self.attended[-1][-1]


# ---- Wan2.2-TI2V: the video stream alone


def run_wan(file: object, timestep: Tensor, tokens_per_entry: int, dtype: torch.dtype) -> dict[str, Tensor]:
    model = UniTalking(file.config(), dtype=dtype)
    model.video.load_state_dict(to_module_keys(file.weights(dtype)), strict=True)
    latent = file.tensor("in.x", dtype)[None]
    rope, extra = model.video_layout(latent)
    conditions, _ = model.encode_conditions(file.tensor("in.context", dtype)[None], None)
    noise = NoiseLevels.from_tokens(timestep.to(dtype), tokens_per_entry)
    recorder = Recorder()
    given = StreamInput(latent, noise, rope, conditions, extra)
    velocity, none = model(given, None, attention=recorder.attention, run_block=recorder.run_block)
    assert none is None
    state, level = model.video.begin(given)
    results = {f"block{index}": tokens[0][0] for index, tokens in enumerate(recorder.blocks)}
    results["out"] = velocity[0]
    results["x_embed"] = state.tokens[0]
    results["e_row0"] = level[0, 0]
    results["e0_row0"] = state.level[0, 0].flatten()
    results["head"] = model.video.head(recorder.blocks[-1][0], level, noise.lengths)[0]
    text = torch.cat((conditions.text[0], conditions.text[0, -1:].expand(conditions.text_repeats, -1)))
    assert len(text) == model.config.text_len
    results["text_embed_first32"] = text[:32]
    results["text_embed_padrow"] = text[-1]
    return results


@torch.inference_mode()
@pytest.mark.parametrize("name", ["wan_ti2v_a", "wan_ti2v_b"])
def test_golden_wan(golden: object, name: str) -> None:
    file = golden.open(name)
    tokens = file.tensor("in.t_tokens").shape[0]
    runs = {
        "scalar": ("out.scalar_t", file.tensor("in.t").reshape(1, 1), tokens),
        "token": ("out.token_t_clean_first", file.tensor("in.t_tokens")[None], 1),
    }
    limits = {torch.float32: 1e-5, torch.float64: 1e-5}  # the reference itself ran in float32
    for dtype, limit in limits.items():
        for case, (out, timestep, tokens_per_entry) in runs.items():
            results = run_wan(file, timestep, tokens_per_entry, dtype)
            file.assert_close(out, results["out"], limit)
            mids = file.keys(f"mid.{case}.")
            assert mids, f"{name} has no mid.{case}.*"
            for key in mids:
                file.assert_close(key, results[key.removeprefix(f"mid.{case}.")], limit)


# ---- UniTalking: joint attention, voice reference, every task


def run_joint(file: object, model: UniTalking, name: str, case: dict, dtype: torch.dtype, *, keep_keys: bool) -> dict:
    inputs, embeds = [], {}
    reference = file.tensor("in.reference", dtype) if case["reference"] else None
    contexts = [
        None if case[stream] is None else file.tensor(f"in.context_{stream}", dtype) for stream in ("video", "audio")
    ]
    conditions = model.encode_conditions(*contexts, reference, keep_keys=keep_keys)
    for stream, condition in zip(("video", "audio"), conditions, strict=True):
        if case[stream] is None:
            inputs.append(None)
            continue
        latent = file.tensor(f"in.{stream}", dtype)
        rope, extra = getattr(model, f"{stream}_layout")(latent)
        noise = NoiseLevels.from_tokens(file.tensor(f"in.{name}.t_{stream}", dtype))
        inputs.append(StreamInput(latent, noise, rope, condition, extra))
        embeds[f"embed.{stream}"] = getattr(model, stream).embed(latent)
    recorder = Recorder()
    velocities = model(
        *inputs,
        video_sees_audio=case["video_sees_audio"],
        attention=recorder.attention,
        run_block=recorder.run_block,
    )
    results = dict(embeds)
    present = [stream for stream in ("video", "audio") if case[stream] is not None]
    for stream, velocity in zip(("video", "audio"), velocities, strict=True):
        results[f"out.{stream}"] = velocity
    for index, tokens in enumerate(recorder.blocks):
        results.update({f"block{index}.{stream}": part for stream, part in zip(present, tokens, strict=True)})
    first = recorder.attended[0]
    if len(present) == 2 and case["video_sees_audio"]:
        lengths = [part.shape[1] for part in recorder.blocks[0]]
        joint = first[0].split(lengths, dim=1)
        results.update({f"block0.joint_attention.{s}": part for s, part in zip(present, joint, strict=True)})
    if case["reference"]:
        results["block0.text_attention.audio"], results["block0.reference_attention.audio"] = first[-2:]
    return results


@torch.inference_mode()
@pytest.mark.parametrize("name", ["unitalking_joint_a", "unitalking_joint_a_b2", "unitalking_joint_b"])
def test_golden_joint(golden: object, name: str) -> None:
    file = golden.open(name)
    cases = file.json("cases")
    expected = {key.split(".")[1] for key in file.keys("out.")}
    assert set(cases) == expected, f"{name}: cases {sorted(cases)} do not match outputs {sorted(expected)}"
    for dtype, limit in PRECISIONS.items():
        model = UniTalking(file.config(), dtype=dtype)
        model.load_state_dict(to_module_keys(file.weights(dtype)), strict=True)
        for case_name, case in cases.items():
            run = functools.partial(run_joint, file, model, case_name, case, dtype)
            results, recomputed = run(keep_keys=True), run(keep_keys=False)
            for stream in ("video", "audio"):
                key = f"out.{case_name}.{stream}"
                if case[stream] is None:
                    assert results[f"out.{stream}"] is None
                    continue
                file.assert_close(key, results[f"out.{stream}"], limit)
                assert torch.equal(results[f"out.{stream}"], recomputed[f"out.{stream}"]), f"{key}: keys kept or not"
            for key in file.keys(f"mid.{case_name}."):
                result = results[key.removeprefix(f"mid.{case_name}.")]
                file.assert_close(key, result, 1e-5 if dtype == torch.float32 else 3e-7)  # stored as float32


# ---- parts without weights


@pytest.mark.parametrize("name", ["guidance"])
def test_golden_guidance(golden: object, name: str) -> None:
    file = golden.open(name)
    columns = file.json("columns")
    rows = file.tensor("in.guidance")
    assert rows.shape[0] > 0
    for dtype, limit in {torch.float32: 1e-6, torch.float64: 1e-12}.items():
        passes = {
            stream: {name: file.tensor(f"in.v_{name}.{stream}", dtype) for name in guidance.PASSES}
            for stream in ("video", "audio")
        }
        for index, row in enumerate(rows.tolist()):
            values = dict(zip(columns, row, strict=True))
            strengths = guidance.Guidance(values["g_video"], values["g_audio"], values["g_voice"])
            for prefix, has_voice in (("out", True), ("out.no_voice", False)):
                needed = guidance.needed_passes(strengths, ("video", "audio"), has_voice=has_voice)
                for stream in ("video", "audio"):
                    weights = guidance.pass_weights(strengths, stream, has_voice=has_voice)
                    given = {name: passes[stream][name] for name in needed}
                    file.assert_close(f"{prefix}.{index}.{stream}", guidance.combine(given, weights), limit)


@pytest.mark.parametrize("name", ["timeline"])
def test_golden_timeline(golden: object, name: str) -> None:
    data = golden.load_json(name)
    assert data["rows"], "timeline.json has no rows"
    for row in data["rows"]:
        frames, fps = row["frames"], row["fps"]
        assert timeline.video_latents(frames) == row["video_latents"]
        assert timeline.frames_of(row["video_latents"]) == frames
        assert float(timeline.duration_s(frames, fps)) == pytest.approx(row["seconds"], rel=1e-12)
        assert set(row["audio"]) == set(data["codecs"])
        for name, expected in row["audio"].items():
            codec = data["codecs"][name]
            rate, per_latent = codec["sample_rate"], codec["mel_frames_per_latent"] * codec["hop"]
            exact = timeline.exact_samples(frames, fps, rate)
            latents = timeline.audio_latents(frames, fps, rate, per_latent)
            assert float(exact) == pytest.approx(expected["exact_samples"], rel=1e-12)
            assert float(exact / per_latent) == pytest.approx(expected["exact_latents"], rel=1e-12)
            assert latents == expected["latents"]
            assert latents * per_latent == expected["samples_produced"]
            assert timeline.samples_kept(frames, fps, rate) == expected["samples_kept"]
            scale = timeline.position_scale(fps, 4, rate, per_latent)
            assert scale == Fraction(*expected["position_scale_fraction"])
            assert float(scale) == pytest.approx(expected["position_scale"], rel=1e-12)


@pytest.mark.parametrize("name", ["schedule"])
def test_golden_schedule(golden: object, name: str) -> None:
    file = golden.open(name)
    steps, shifts = file.json("steps"), file.json("shifts")
    for count in steps:
        for shift in shifts:
            key = f"unipc.n{count}.shift{shift:g}"
            sigmas = flow.wan_sigmas(count, shift)
            file.assert_close(f"{key}.sigmas", sigmas, 1e-6)
            assert torch.equal(flow.truncated_timestep(sigmas[:-1]), file.tensor(f"{key}.timesteps")), key

    traced = sorted({key.split(".")[2] for key in file.keys("traj.unipc.")})
    assert traced, "schedule has no traj.unipc.*"
    direction = file.tensor("traj.c")
    for run in traced:
        count = int(run.removeprefix("n"))
        latents = trajectory(file.tensor("traj.x_init"), direction, flow.wan_sigmas(count, 5.0))
        for key in file.keys(f"traj.unipc.{run}."):
            file.assert_close(key, latents[int(key.rsplit("after", 1)[1])], 1e-6)


def trajectory(latent: Tensor, direction: Tensor, sigmas: Tensor) -> list[Tensor]:
    """Latents after each step with the velocity 0.7 x + sin(3 t / 1000) c of the file's notes."""
    timesteps = flow.truncated_timestep(sigmas)
    entered: list[Tensor] = []

    def denoise(latent: Tensor, step: int) -> Tensor:
        entered.append(latent)
        velocity = 0.7 * latent + torch.sin(3 * timesteps[step] / 1000) * direction
        return flow.denoised_from_velocity(latent, velocity, sigmas[step])

    last = flow.sample_unipc(denoise, latent, sigmas)
    return [*entered[1:], last]


@pytest.mark.parametrize("name", ["wan22_vae_latent_stats"])
def test_golden_latent_stats(golden: object, name: str) -> None:
    file = golden.open(name)
    for key, values in (("mean", WAN22_MEAN), ("std", WAN22_STD)):
        assert torch.equal(torch.tensor(values), file.tensor(key)), key
