"""Attention View: one watched pass over a finished clip, that changes nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest
import torch
from graphs import Clip, texts
from lab import Lab, normal
from torch import Tensor

if TYPE_CHECKING:
    from comfyui import ComfyUI

NAMES = ("images", "heat", "timing", "report")


def view_all(lab: Lab, model: Any, latent: dict[str, Any], images: list[Tensor], **changes: Any) -> dict[str, Any]:
    """Lists of every output, as the host takes and gives them."""
    settings = {"sigma": 0.8, "first_block": 0, "last_block": 999, "seed": 1, **changes}
    settings.setdefault("positive", lab.prompt()[0])
    given = {"model": model, "latent": latent, **settings}
    node = lab.pack("nodes.attention_view").AttentionView
    result = node.execute(images=images, **{name: [value] for name, value in given.items()}).args
    return dict(zip(NAMES, result, strict=True))


def view(
    lab: Lab, model: Any, latent: dict[str, Any], pictures: Tensor | None = None, **changes: Any
) -> dict[str, Any]:
    """The outputs for one clip."""
    pictures = torch.full((9, 64, 64, 3), 0.5) if pictures is None else pictures
    return {name: one for name, (one,) in view_all(lab, model, latent, [pictures], **changes).items()}


def finished(lab: Lab, batch: int = 1) -> dict[str, Any]:
    video, audio = normal(batch, 8, 3, 4, 4, seed=4), normal(batch, 6, 12, seed=5)
    return {"samples": lab.nested((video, audio))}


def test_it_draws_over_the_pictures(lab: Lab) -> None:
    found = view(lab, lab.model, finished(lab))
    assert found["images"].shape == (9, 64, 64, 3)
    assert found["heat"].shape == (3, 2, 2)
    assert float(found["heat"].max()) == 1.0
    assert found["timing"].shape[0] == 1
    assert float(found["images"].std()) > 0.01
    assert "the picture listens" in found["report"]


def test_the_network_runs_once_and_only_for_the_view(lab: Lab) -> None:
    model, calls = lab.watched(lab.model)
    view_all(lab, model, finished(lab, batch=2), [torch.zeros(9, 64, 64, 3)] * 2)
    assert [call["batch"] for call in calls] == [2]
    assert float(calls[0]["timestep"][0]) == pytest.approx(800.0)
    assert "optimized_attention_override" not in lab.model.model_options["transformer_options"]
    before = lab.joint(lab.model, lab.prompt(), lab.latent())
    view(lab, lab.model, finished(lab))
    after = lab.joint(lab.model, lab.prompt(), lab.latent())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_blocks_steps_words_and_the_clip_are_what_is_looked_at(lab: Lab) -> None:
    whole = view(lab, lab.model, finished(lab))["heat"]
    for changes in (
        {"last_block": 0},
        {"first_block": 1},
        {"sigma": 0.2},
        {"positive": lab.prompt(speech="Bye", scene="a cat")[0]},
    ):
        assert not torch.allclose(view(lab, lab.model, finished(lab), **changes)["heat"], whole, atol=1e-4), list(
            changes
        )
    other = {"samples": lab.nested((normal(1, 8, 3, 4, 4, seed=9), normal(1, 6, 12, seed=5)))}
    assert not torch.allclose(view(lab, lab.model, other)["heat"], whole, atol=1e-4)
    assert torch.equal(view(lab, lab.model, finished(lab, batch=1))["heat"], whole)


def test_every_clip_of_a_batch_has_its_own_heat(lab: Lab) -> None:
    both = finished(lab, batch=2)
    first = {"samples": lab.nested([part[:1] for part in both["samples"].unbind()])}
    twice = {"samples": lab.nested([part[:1].repeat(2, *[1] * (part.ndim - 1)) for part in both["samples"].unbind()])}
    pictures = [torch.full((9, 64, 64, 3), grey) for grey in (0.5, 0.2)]
    found = view_all(lab, lab.model, both, pictures)
    assert [len(values) for values in found.values()] == [2] * 4
    torch.testing.assert_close(found["heat"][0], view(lab, lab.model, first)["heat"])
    assert not torch.allclose(*found["heat"], atol=1e-4)
    assert not torch.allclose(*found["timing"], atol=1e-4)
    assert found["images"][1].mean() < found["images"][0].mean()
    same = view_all(lab, lab.model, twice, [pictures[0]] * 2)
    assert not torch.equal(*same["heat"]), "each clip has noise of its own"


def test_a_held_reference_is_not_drawn_over_the_pictures_that_follow(lab: Lab) -> None:
    whole, pictures = finished(lab), torch.rand(9, 64, 64, 3, generator=torch.Generator().manual_seed(2))
    after = view(lab, lab.model, {**whole, "unitalking": {"cut": 5}}, pictures[5:])["images"]
    shown = view(lab, lab.model, whole, pictures)["images"]
    assert torch.equal(after, shown[5:])
    assert not torch.allclose(after, view(lab, lab.model, whole, pictures[5:])["images"], atol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"fusion": "cross", "audio_stem": "conv", "reference_tokens": 0}])
def test_a_given_picture_hears_nothing(lab: Lab, changes: dict[str, Any]) -> None:
    model = lab.load(lab.write("given.safetensors", lab.make_config(**changes))) if changes else lab.model
    streams = [normal(1, 8, 3, 6, 4, seed=4), normal(1, 6, 12, seed=5)]
    latent = lab.masked(*streams, torch.zeros(1, 1, 3, 6, 4), torch.ones(1, 1, 12))
    found = view(lab, model, latent, positive=lab.prompt(voice=False)[0])
    assert found["timing"] is lab.pack("nodes.attention_view").NO_TIMING
    assert "the picture is given and hears nothing" in found["report"]
    assert "from its own moment" not in found["report"]
    assert "the sound looks most at" in found["report"]
    assert float(found["heat"].std()) > 0


def test_a_model_that_never_sees_the_whole_clip_is_refused(lab: Lab) -> None:
    window = importlib.import_module("comfy_extras.nodes_context_windows").ContextWindowsManualNode
    settings = {"context_stride": 1, "closed_loop": False, "fuse_method": "flat", "dim": 2, "freenoise": False}
    model = window.execute(
        lab.model, context_length=2, context_overlap=1, context_schedule="standard_static", **settings
    ).args[0]
    with pytest.raises(ValueError, match="never ran over the whole clip at once, as with context windows"):
        view(lab, model, finished(lab))


def test_another_override_of_attention_still_runs(lab: Lab) -> None:
    calls = []

    def override(function: Any, *given: Any, **more: Any) -> Any:
        calls.append(len(given))
        return function(*given, **more)

    model = lab.model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = override
    assert torch.equal(view(lab, model, finished(lab))["heat"], view(lab, lab.model, finished(lab))["heat"])
    assert calls


def test_what_cannot_be_looked_at_is_refused(lab: Lab) -> None:
    with pytest.raises(
        ValueError, match="the streams do not meet in blocks 7 to 999: this model has 2 blocks, and they"
    ):
        view(lab, lab.model, finished(lab), first_block=7)
    with pytest.raises(ValueError, match="the LATENT has no picture stream"):
        view(lab, lab.model, lab.latent(streams="sound"))
    with pytest.raises(ValueError, match="the LATENT has no sound"):
        view(lab, lab.model, {"samples": normal(1, 8, 3, 4, 4, seed=4)})
    with pytest.raises(ValueError, match="the LATENT has no sound"):
        view(lab, lab.model, lab.latent(streams="picture"))
    with pytest.raises(ValueError, match="got the pictures of 1 clips, the LATENT holds 2: wire images of Decode AV"):
        view(lab, lab.model, finished(lab, batch=2))
    node = lab.pack("nodes.attention_view").AttentionView
    with pytest.raises(ValueError, match="got a list of 2 for sigma, expected one"):
        node.execute([lab.model], [[]], [finished(lab)], [torch.zeros(9, 64, 64, 3)], [0.8, 0.2], [0], [9], [1])


@pytest.mark.parametrize("held", [False, True])
def test_in_the_host_a_batch_comes_as_a_list_and_a_picture_that_hears_nothing_stops_its_timing(
    host: ComfyUI, held: bool
) -> None:
    graph = Clip(host, batch_size=2)
    latent = graph.empty[0]
    if held:
        images = graph.add("EmptyImage", width=64, height=64, batch_size=9)
        video = graph.add("CreateVideo", images=images[0], fps=24.0)
        vae = {"model": graph.model[0], "vae": graph.model[2]}
        latent = graph.add("UniTalkingDrivingVideo", **vae, video=video[0], sample_video="none")[0]
    sampled = graph.joint(latent)
    view = graph.add(
        "UniTalkingAttentionView",
        **{"model": graph.model[0], "positive": graph.text[0], "latent": sampled[0]},
        images=graph.decode(sampled[0])[0],
    )
    shown, timing = (graph.add("PreviewImage", images=view[slot]) for slot in (0, 2))
    result = graph.run()
    (said,) = texts(result, view)
    clips = 1 if held else 2
    assert said.count("the sound looks most at") == clips
    assert said.count("the picture is given and hears nothing") == held
    assert len(result.outputs[shown.id]["images"]) == 9 * clips
    assert len(result.outputs.get(timing.id, {}).get("images", [])) == (0 if held else 2)
