"""Latents of every shape that reaches the model: with both streams, with one, plain, of other models."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from lab import Lab, equal, normal, rel
from plain_run import PlainRun, condition
from torch import Tensor

LIMIT = 1e-5


def watched_run(lab: Lab, latent: dict[str, Any]) -> tuple[list[Tensor], dict[str, Any]]:
    """KSampler's result at strength 1 and its first network call."""
    model, calls = lab.watched(lab.model)
    return lab.ksampler(model, lab.prompt(), latent, cfg=1.0), calls[0]


def test_sound_alone_is_the_audio_stream_alone(lab: Lab) -> None:
    with lab.counted(["video.patch_embedding", "video.blocks.0.cross_attn.k"]) as counts:
        out, call = watched_run(lab, lab.latent(streams="sound"))
    assert not counts
    assert [tuple(part.shape) for part in out] == [(1, 8, 0, 4, 4), (1, 6, 12)]
    expected = PlainRun(lab).velocity((None, call["latents"][1]), 1.0, condition(lab.prompt()[0]))
    assert rel(call["velocity"][1], expected[1]) <= LIMIT


def test_picture_alone_is_the_video_stream_alone(lab: Lab) -> None:
    with lab.counted(["audio.patch_embedding", "audio.blocks.0.cross_attn.k"]) as counts:
        out, call = watched_run(lab, lab.latent(streams="picture"))
    # The voice passes through the audio stream's input projection, once.
    assert counts["audio.blocks.0.cross_attn.k"] == 0
    assert [tuple(part.shape) for part in out] == [(1, 8, 3, 4, 4), (1, 6, 0)]
    expected = PlainRun(lab).velocity((call["latents"][0], None), 1.0, condition(lab.prompt()[0]))
    assert rel(call["velocity"][0], expected[0]) <= LIMIT


def test_a_plain_video_latent_is_the_picture_alone(lab: Lab) -> None:
    nested = lab.latent(streams="picture")
    plain, _ = watched_run(lab, {"samples": nested["samples"].unbind()[0]})
    assert equal(plain, watched_run(lab, nested)[0][:1])


@pytest.mark.parametrize("streams", ["both", "sound", "picture"])
def test_joint_flow_sampler_takes_what_empty_av_latent_makes(lab: Lab, streams: str) -> None:
    latent = lab.latent(streams=streams, batch_size=2)
    out = lab.joint(lab.model, lab.prompt(), latent)
    assert [part.shape for part in out] == [part.shape for part in latent["samples"].unbind()]
    assert all(bool(part.isfinite().all()) for part in out)
    assert all(float(part.std()) > 0.1 for part in out if part.numel())


def test_a_portrait_without_sound_is_held(lab: Lab) -> None:
    latent = lab.held(lab.latent(streams="picture"))
    (out,) = lab.joint(lab.model, lab.prompt(), latent)
    assert torch.equal(out[:, :, 0], latent["samples"][:, :, 0])
    (stock,) = lab.ksampler(lab.model, lab.prompt(), latent)
    assert torch.allclose(stock[:, :, 0], latent["samples"][:, :, 0], atol=1e-5)


def test_sides_that_cut_a_token_are_padded_and_cropped(lab: Lab) -> None:
    video = torch.zeros(1, 8, 3, 5, 3)
    out, call = watched_run(lab, {"samples": lab.nested((video, torch.zeros(1, 6, 12)))})
    assert tuple(out[0].shape) == (1, 8, 3, 5, 3)
    padded = torch.nn.functional.pad(call["latents"][0], (0, 1, 0, 1, 0, 0), mode="circular")
    expected = PlainRun(lab).velocity((padded, call["latents"][1]), 1.0, condition(lab.prompt()[0]))
    assert rel(call["velocity"][0], expected[0][..., :5, :3]) <= LIMIT


FOREIGN = {
    "an image": normal(1, 4, 8, 8, seed=1),
    "another video model's": normal(1, 16, 3, 4, 4, seed=1),
    "sound alone, not nested": normal(1, 6, 12, seed=1),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_plain_latent_of_another_model_is_refused(lab: Lab, kind: str) -> None:
    latent = {"samples": FOREIGN[kind]}
    for node in (lab.ksampler, lab.joint):
        with pytest.raises(ValueError, match=r"The LATENT has shape .*8 channels.*6 channels: use Empty AV Latent"):
            node(lab.model, lab.prompt(), latent)


PAIRS = {
    "another picture": ((1, 16, 3, 4, 4), (1, 6, 12), "belongs to another model"),
    "another sound": ((1, 8, 3, 4, 4), (1, 7, 12), "belongs to another model"),
    "an image for a video": ((1, 8, 4, 4), (1, 6, 12), "The LATENT has shape"),
    "sound with two axes": ((1, 8, 3, 4, 4), (1, 6, 12, 16), "The LATENT has shape"),
    "nothing": ((1, 8, 0, 4, 4), (1, 6, 0), "neither picture nor sound"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_nested_latent_of_another_model_is_refused(lab: Lab, kind: str) -> None:
    video, audio, message = PAIRS[kind]
    latent = {"samples": lab.nested((normal(*video, seed=1), normal(*audio, seed=2)))}
    for node in (lab.ksampler, lab.joint):
        with pytest.raises(ValueError, match=message):
            node(lab.model, lab.prompt(), latent)


def test_stock_nodes_separate_and_join_our_latents(lab: Lab) -> None:
    nodes = importlib.import_module("comfy_extras.nodes_lt")
    latent = {"samples": lab.nested(lab.joint(lab.model, lab.prompt(), lab.latent()))}
    video, audio = nodes.LTXVSeparateAVLatent.execute(latent).args
    joined = nodes.LTXVConcatAVLatent.execute(video, audio).args[0]
    assert equal(joined["samples"].unbind(), latent["samples"].unbind())


# Latent format and previews


def test_latents_survive_normalising_and_back_in_every_packing(lab: Lab) -> None:
    format_of, utils = lab.model.model.latent_format, importlib.import_module("comfy.utils")
    streams = [normal(2, 8, 3, 4, 4, seed=1), normal(2, 6, 12, seed=2)]
    normalised = [format_of.video.normalise(streams[0]), format_of.audio.normalise(streams[1])]
    packed, shapes = utils.pack_latents(streams)
    nested = format_of.process_in(lab.nested(streams))
    assert equal(nested.unbind(), normalised)
    assert torch.equal(format_of.process_in(streams[0]), normalised[0])
    format_of.packed_shapes = shapes
    try:
        inside = format_of.process_in(packed)
        assert equal(utils.unpack_latents(inside, shapes), normalised)
        assert torch.allclose(format_of.process_out(inside), packed, atol=1e-6)
    finally:
        format_of.packed_shapes = None
    back = format_of.process_out(nested).unbind()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(back, streams, strict=True))


def test_a_preview_of_every_step_shows_the_picture(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    preview, utils = importlib.import_module("latent_preview"), importlib.import_module("comfy.utils")
    monkeypatch.setattr(preview.args, "preview_method", preview.LatentPreviewMethod.Latent2RGB)
    shown: list[Any] = []
    monkeypatch.setattr(utils, "PROGRESS_BAR_HOOK", lambda value, total, image, **_: shown.append(image))
    lab.ksampler(lab.model, lab.prompt(), lab.latent())
    images = [image[1] for image in shown if image is not None]
    assert images
    assert all(image.size == (4, 4) for image in images)


@pytest.mark.parametrize("packed", [False, True], ids=["nested", "packed"])
def test_previews_are_the_files_linear_map_of_the_first_frame(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, packed: bool
) -> None:
    """Hosts before 0.30 hand the previewer the packed latent."""
    preview, utils = importlib.import_module("latent_preview"), importlib.import_module("comfy.utils")
    monkeypatch.setattr(preview.args, "preview_method", preview.LatentPreviewMethod.Latent2RGB)
    format_of = lab.model.model.latent_format
    previewer = preview.get_previewer(torch.device("cpu"), format_of)
    streams = [0.3 * normal(1, 8, 3, 4, 4, seed=1), normal(1, 6, 12, seed=2)]
    given, shapes = utils.pack_latents(streams) if packed else (streams[0], None)
    monkeypatch.setattr(format_of, "packed_shapes", shapes)
    image = previewer.decode_latent_to_preview(given)
    factors = lab.tensors()["latents.video.rgb"].float()
    colours = torch.einsum("chw,cr->hwr", streams[0][0, :, 0], factors[:-1]) + factors[-1]
    expected = ((colours + 1) / 2).clamp(0, 1).mul(255)
    pixels = torch.tensor(list(image.tobytes())).reshape(4, 4, 3)
    assert float((pixels - expected).abs().max()) <= 1.01
    assert float(expected.std()) > 10
