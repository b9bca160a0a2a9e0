"""Attention View: one watched pass over a finished clip, that changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lab import Lab, normal

NAMES = ("images", "heat", "timing", "report")


def view(lab: Lab, model: Any, latent: dict[str, Any], **changes: Any) -> dict[str, Any]:
    settings = {"sigma": 0.8, "first_block": 0, "last_block": 999, "seed": 1, **changes}
    node = lab.pack("nodes.attention_view").AttentionView
    positive = settings.pop("positive", None) or lab.prompt()[0]
    pictures = torch.full((9, 64, 64, 3), 0.5)
    return dict(zip(NAMES, node.execute(model, positive, latent, pictures, **settings).args, strict=True))


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
    view(lab, model, finished(lab, batch=2))
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
