"""TV2A: the given picture runs once, what the sound sees of it is kept, and the result is that of running it along."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from lab import STEPS, Lab, differ, normal, rel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

LIMIT = 1e-5
VIDEO, AUDIO = (8, 3, 4, 4), (6, 12)
STRENGTHS = {"guidance_video": 2.0, "guidance_audio": 2.5}
FUSIONS = {
    "joint": {},
    "one joint block": {"joint_blocks": 1},
    "cross": {"fusion": "cross", "audio_stem": "conv", "reference_tokens": 0},
}


def given(lab: Lab, seed: int = 40) -> dict[str, Any]:
    """A clip whose picture is held."""
    masks = torch.zeros(1, 1, *VIDEO[1:]), torch.ones(1, 1, *AUDIO[1:])
    return lab.masked(normal(1, *VIDEO, seed=seed), normal(1, *AUDIO, seed=41), *masks)


def sound(lab: Lab, model: Any, latent: dict[str, Any], place: str, **settings: Any) -> list[Tensor]:
    return lab.joint(model, lab.prompt(voice=False), latent, keep_picture=place, **{**STRENGTHS, **settings})


@pytest.fixture(scope="module", params=FUSIONS)
def model(request: pytest.FixtureRequest, loaded_lab: Lab) -> Any:
    """A small model of each way in which the streams meet."""
    changes = FUSIONS[request.param]
    config = loaded_lab.make_config(**changes)
    return loaded_lab.load(loaded_lab.write(f"{request.param.replace(' ', '_')}.safetensors", config))


@pytest.mark.parametrize("place", ["auto", "device", "host memory"])
def test_a_kept_picture_gives_the_sound_of_one_that_runs_along(lab: Lab, model: Any, place: str) -> None:
    latent = given(lab)
    along, kept = (sound(lab, model, latent, each) for each in ("recompute", place))
    assert torch.equal(kept[0], latent["samples"].unbind()[0])
    assert rel(kept[1], along[1]) <= LIMIT
    assert differ(kept, sound(lab, model, given(lab, seed=50), place)) == [True, True]


def test_the_picture_runs_once_and_the_sound_at_every_step(lab: Lab, model: Any) -> None:
    names = ["video.blocks.0.ffn", "audio.blocks.0.ffn", "video.blocks.1.ffn", "audio.blocks.1.ffn"]
    for place, pictures in (("auto", 1), ("recompute", STEPS)):
        with lab.counted(names, model) as counts:
            sound(lab, model, given(lab), place)
        assert [counts[name] for name in names] == [pictures, STEPS] * 2, place


def test_stock_samplers_keep_the_picture_too(lab: Lab) -> None:
    with lab.counted(["video.blocks.0.ffn", "audio.blocks.0.ffn"]) as counts:
        lab.ksampler(lab.model, lab.prompt(), given(lab))
    assert (counts["video.blocks.0.ffn"], counts["audio.blocks.0.ffn"]) == (1, STEPS)


def test_every_text_has_a_picture_of_its_own(lab: Lab) -> None:
    """Positive and negative are told different texts; one batch or one after the other, nothing is mixed up."""
    conds, latent = lab.prompt(), given(lab)
    along = lab.joint(lab.model, conds, latent, keep_picture="recompute", guidance_voice=1.5, **STRENGTHS)
    kept = lab.joint(lab.model, conds, latent, guidance_voice=1.5, **STRENGTHS)
    assert rel(kept[1], along[1]) <= LIMIT
    other = lab.joint(lab.model, lab.prompt(scene="a green parrot in the rain"), latent, **STRENGTHS)
    assert differ(kept, other)[1]


def test_context_windows_keep_a_picture_each(lab: Lab) -> None:
    window = importlib.import_module("comfy_extras.nodes_context_windows").ContextWindowsManualNode
    settings = {"context_stride": 1, "closed_loop": False, "fuse_method": "flat", "dim": 2, "freenoise": False}
    for fixed in (False, True):
        model = window.execute(
            lab.model,
            context_length=3,
            context_overlap=1,
            context_schedule="standard_static",
            causal_window_fix=fixed,
            **settings,
        ).args[0]
        video, audio = normal(1, 8, 5, 4, 4, seed=60), normal(1, 6, 23, seed=61)
        latent = lab.masked(video, audio, torch.zeros(1, 1, 5, 4, 4), torch.ones(1, 1, 23))
        along, kept = (sound(lab, model, latent, place) for place in ("recompute", "auto"))
        assert rel(kept[1], along[1]) <= LIMIT
        assert differ(kept, sound(lab, lab.model, latent, "auto"))[1], "windows make a difference"


def test_patches_of_blocks_still_see_both_streams(lab: Lab) -> None:
    model, seen = lab.model.clone(), []

    def patch(arguments: dict[str, Any]) -> dict[str, Any]:
        seen.append(len(arguments["img"]))
        return {"img": arguments["img"]}

    model.set_model_patch(patch, "double_block")
    sound(lab, model, given(lab), "auto")
    assert set(seen) == {2}
    assert len(seen) == STEPS * 2


def test_the_guider_takes_the_place_too(lab: Lab) -> None:
    execute = lab.pack("nodes.guider").JointGuider.execute
    for place, pictures in (("auto", 1), ("recompute", STEPS)):
        guider = execute(lab.model, *lab.prompt(), 2.0, 2.5, 0.0, keep_picture=place).args[0]
        with lab.counted(["video.blocks.0.ffn"]) as counts:
            lab.advanced(lab.random_noise(), guider, "euler", lab.sigmas(lab.model), given(lab))
        assert counts["video.blocks.0.ffn"] == pictures


def test_the_place_follows_from_free_memory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    module = lab.pack("nodes.given_picture")
    gpu, host = torch.device("cuda"), torch.device("cpu")
    free = {gpu: 10e9, host: 20e9}
    monkeypatch.setattr(module.comfy.model_management, "get_free_memory", lambda device: free[device])
    assert module.place_for(4e9, gpu, 5e9, "auto") == gpu
    assert module.place_for(6e9, gpu, 5e9, "auto") == host
    assert module.place_for(19e9, gpu, 5e9, "auto") is None
    assert module.place_for(19e9, gpu, 5e9, "device") == gpu
    assert module.place_for(1, gpu, 0, "host memory") == host
    assert module.place_for(1, gpu, 0, "recompute") is None
    assert module.place_for(19e9, host, 5e9, "auto") is None


def test_the_size_of_what_is_kept_is_known_before(lab: Lab, model: Any) -> None:
    config, network = model.model.unitalking, model.model.diffusion_model
    video = normal(2, *VIDEO, seed=1)
    stream = lab.pack("unitalking.types")
    rope, extra = network.video_layout(video)
    noise = stream.NoiseLevels.uniform(torch.zeros(2), rope.cos.shape[0])
    conditions, _ = network.encode_conditions(normal(2, 4, config.text_dim, seed=2), None)
    seen = network.see_picture(stream.StreamInput(video, noise, rope, conditions, extra))
    held = sum(part.nbytes for each in seen.values() for part in (each.keys, each.values))
    assert held == lab.pack("nodes.given_picture").seen_bytes(config, 2, rope.cos.shape[0], 4)


def test_the_estimate_of_a_run_knows_that_the_picture_is_given(lab: Lab) -> None:
    estimate = lab.pack("nodes.cost").estimate_cost
    along, kept = (estimate(lab.model, given(lab), 2, 8, keeps_picture=keeps).seconds for keeps in (False, True))
    assert kept < 0.6 * along
    # A portrait is a held picture, too, of which the rest is generated at every step.
    portrait = lab.held(lab.latent())
    assert estimate(lab.model, portrait, 2, 8, keeps_picture=True) == estimate(lab.model, portrait, 2, 8)


def test_the_estimate_counts_what_the_full_model_computes(lab: Lab) -> None:
    module, config = lab.pack("nodes.cost"), lab.pack("unitalking.config").UniTalkingConfig(num_layers=2)
    types = lab.pack("unitalking.types")
    network = lab.pack("unitalking.model.transformer").UniTalking(config, device="meta", dtype=torch.bfloat16)
    picture = torch.empty(1, config.in_dim, 25, 44, 44, device="meta", dtype=torch.bfloat16)
    speech = torch.empty(1, config.audio_channels, config.audio_latents(97), device="meta", dtype=torch.bfloat16)
    texts = torch.empty(1, config.text_len, config.text_dim, device="meta", dtype=torch.bfloat16)
    conditions = network.encode_conditions(texts, texts)

    def stream(latent: Tensor, layout: Any, condition: Any) -> Any:
        rope, extra = layout(latent)
        noise = types.NoiseLevels.uniform(torch.ones(1, device="meta"), rope.cos.shape[0])
        return types.StreamInput(latent, noise, rope, condition, extra)

    video = stream(picture, network.video_layout, conditions[0])
    audio = stream(speech, network.audio_layout, conditions[1])

    def counted(run: Any) -> int:
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    seen = network.see_picture(video)
    tokens, heard = 25 * 22 * 22, speech.shape[2]
    for run, computed in (
        (lambda: network(video, audio), (tokens + heard, tokens + heard)),
        (lambda: network.see_picture(video), (tokens, tokens)),
        (lambda: network(None, audio, seen_picture=seen), (heard, tokens + heard)),
    ):
        assert module.forward_flops(config, *computed) == pytest.approx(counted(run), rel=0.1), computed


@pytest.mark.parametrize("place", ["auto", "recompute"])
def test_lips_are_followed_as_strictly_as_asked(lab: Lab, model: Any, place: str) -> None:
    """One step is a straight line from the sound that knows no picture to the one that does, and beyond."""
    settings = {"steps": 1, "sampler": "euler", "scheduler": "simple"}
    latent = given(lab)
    no_picture = lab.nested((normal(1, *VIDEO, seed=0)[:, :, :0], latent["samples"].unbind()[1]))
    alone = sound(lab, model, {"samples": no_picture}, place, **settings)[1]
    seeing = sound(lab, model, latent, place, guidance_lips=1.0, **settings)[1]
    assert differ([alone], [seeing]) == [True]
    for lips in (0.25, 2.0):
        asked = sound(lab, model, latent, place, guidance_lips=lips, **settings)[1]
        assert rel(asked, alone + lips * (seeing - alone)) <= LIMIT


@pytest.mark.parametrize(("lips", "passes"), [(1.0, 1), (0.5, 2)])
def test_lips_as_trained_cost_one_pass(lab: Lab, lips: float, passes: int) -> None:
    names = ["video.blocks.0.ffn", "audio.blocks.0.ffn"]
    guider = lab.pack("nodes.guider").JointGuider.execute(lab.model, *lab.prompt(), 2.0, 2.5, 0.0, guidance_lips=lips)
    with lab.counted(names) as counts:
        sound(lab, lab.model, given(lab), "auto", guidance_lips=lips)
    assert [counts[name] for name in names] == [1, passes * STEPS]
    with lab.counted(names) as counts:
        lab.advanced(lab.random_noise(), guider.args[0], "euler", lab.sigmas(lab.model), given(lab))
    assert [counts[name] for name in names] == [1, passes * STEPS]
    with lab.counted(names) as counts:
        sound(lab, lab.model, lab.latent(), "auto", guidance_lips=lips)
    assert [counts[name] for name in names] == [STEPS, STEPS], "a picture that is generated is no given one"


def test_a_model_says_how_strictly_lips_are_followed(lab: Lab, loaded_lab: Lab) -> None:
    sampling = replace(loaded_lab.config.sampling, guidance_lips=0.5)
    own = loaded_lab.load(loaded_lab.write("lips.safetensors", loaded_lab.make_config(sampling=sampling)))
    latent = given(lab)
    asked, default, trained = (sound(lab, own, latent, "auto", guidance_lips=lips) for lips in (0.5, 0.0, 1.0))
    assert torch.equal(default[1], asked[1])
    assert differ(default, trained) == [False, True]
    with lab.counted(["audio.blocks.0.ffn"], own) as counts:
        lab.ksampler(own, lab.prompt(voice=False), latent)
    assert counts["audio.blocks.0.ffn"] == 2 * STEPS, "stock samplers follow the model"
    estimate = lab.pack("nodes.cost").estimate_cost
    both, one = (estimate(own, latent, 2, 8, keeps_picture=True, guidance_lips=lips).seconds for lips in (0.5, 1.0))
    assert 1.3 * one < both < 2 * one
