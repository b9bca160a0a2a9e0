"""A model that says what it knows: Portrait Image and Text Prompt warn of the rest, and go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import TINY_MODEL
from torch import Tensor

from unitalking.checkpoint.files import config_tensors
from unitalking.checkpoint.random_model import TINY
from unitalking.codec.video_vae import VideoVAE, VideoVAEConfig
from unitalking.domain import Domain
from unitalking.evaluation.mouth import MOUTH_BOX, pixels_of
from unitalking.mapping import from_mapping
from unitalking.synthetic.face import Face, Pose
from unitalking.synthetic.look import HELD_OUT_FROM, look_of

pytestmark = pytest.mark.usefixtures("as_nodes_run")

Pack = Callable[[str], ModuleType]
SIDE = 64
DESCRIPTION = "a model of drawn faces"
LETTERS = "abcdefghijklmnopqrstuvwxyz',.-"


def face(identity: int, side: int = SIDE) -> Tensor:
    """A drawn portrait as IMAGE, (1, side, side, 3)."""
    return torch.from_numpy(Face(look_of(identity), side).frames([Pose()])).float() / 255


@pytest.fixture(scope="module")
def parts(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """MODEL, CLIP and VAE of the tiny random model, in a file that says what it knows: 300 drawn faces, English."""
    tensors = load_file(TINY_MODEL)
    codec = VideoVAE(from_mapping(VideoVAEConfig, TINY.video_vae)).eval()
    prefix = "video_vae."
    codec.load_state_dict({name.removeprefix(prefix): tensors[name].float() for name in tensors if prefix in name})
    with torch.no_grad():
        shown = [codec.encode(2 * face(number).movedim(-1, 1)[:, :, None] - 1)[:, :, 0] for number in range(300)]
    tensors |= Domain.measured(torch.cat(shown)).tensors()
    trained = replace(TINY.trained, description=DESCRIPTION, characters=LETTERS)
    text, tensors["unitalking.config"] = config_tensors(replace(TINY, trained=trained))
    path = tmp_path_factory.mktemp("models") / "knows.safetensors"
    save_file(tensors, path, {"unitalking": text})
    file, _ = pack("nodes.loading").read_model_file(str(path))
    model = pack("nodes.loading").patch_model(file, str(path), {})
    return model, pack("nodes.clip").load_bundled_clip(file), pack("nodes.vae").load_bundled_video_vae(file)


def portrait(pack: Pack, parts: tuple[Any, ...], image: Tensor, *, side: int = SIDE, vae: Any = None) -> Any:
    """Portrait Image on an empty clip; its LATENT."""
    latents = pack("nodes.latents")
    clip = latents.EmptyLatent.execute(parts[0], side, side, 9, 1, "both").args[0]
    return latents.Portrait.execute(clip, vae or parts[2], "none", "crop", image).args[0]


@pytest.mark.parametrize(("given", "side"), [(SIDE, SIDE), (200, SIDE), (200, 96)])
def test_pictures_of_the_kind_it_knows_pass_in_silence(
    pack: Pack, parts: tuple[Any, ...], said: Callable[[], str], given: int, side: int
) -> None:
    for identity in range(HELD_OUT_FROM, HELD_OUT_FROM + 6):
        portrait(pack, parts, face(identity, given), side=side)
    assert "far from" not in said()


FOREIGN: dict[str, Callable[[Tensor], Tensor]] = {
    "noise": lambda face: torch.rand(face.shape, generator=torch.Generator().manual_seed(0)),
    "stripes": lambda face: (torch.arange(SIDE) // 4 % 2).float()[:, None].expand(1, SIDE, SIDE, 3),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_picture_is_said_with_what_fits_and_held_all_the_same(
    pack: Pack, parts: tuple[Any, ...], said: Callable[[], str], name: str
) -> None:
    image = FOREIGN[name](face(HELD_OUT_FROM))
    held = portrait(pack, parts, image)
    assert f"it is {DESCRIPTION}, so the face will look wrong" in said()
    assert "for photographs load a full-size UniTalking model" in said()
    assert torch.equal(held["samples"].unbind()[0][:, :, :1], parts[2].encode(image))


def test_a_model_without_statistics_knows_every_picture(
    pack: Pack, parts: tuple[Any, ...], said: Callable[[], str]
) -> None:
    file, _ = pack("nodes.loading").read_model_file(str(TINY_MODEL))
    assert file.domain is None
    portrait(pack, parts, FOREIGN["noise"](face(0)), vae=pack("nodes.vae").load_bundled_video_vae(file))
    assert "far from" not in said()


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"speech": "Hello, it's me.", "scene": "A well-lit face", "sound": "Clear speech."}, ""),
        ({"speech": "Room 12"}, "1 2"),
        ({"speech": "Hi.", "scene": "une fée"}, "é"),
        ({"speech": "Здравствуйте!"}, "З д р а в с т у ..."),
    ],
)
def test_text_prompt_says_what_was_not_learned(
    pack: Pack, parts: tuple[Any, ...], said: Callable[[], str], fields: dict[str, str], shown: str
) -> None:
    given = {"scene": "", "sound": "", "negative_picture": "", "negative_sound": "", "prompt_style": "auto", **fields}
    out = pack("nodes.conditioning").TextPrompt.execute(parts[0], parts[1], **given)
    assert out.args[3] >= 25
    assert (f"has not learned {shown} and will guess: it is {DESCRIPTION}" in said()) == bool(shown)
    assert ("not learned" in said()) == bool(shown)


def test_a_damaged_domain_is_named(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({**load_file(TINY_MODEL), "domain.mean": torch.zeros(24, 4, 4)}, path)
    with pytest.raises(ValueError, match=r"half\.safetensors: domain\.precision, domain\.limit: missing"):
        pack("nodes.loading").read_model_file(str(path))


@pytest.mark.parametrize("foreign", [False, True])
def test_the_lips_of_a_foreign_clip_tell_nothing(
    pack: Pack, parts: tuple[Any, ...], said: Callable[[], str], foreign: bool
) -> None:
    openness = 0.5 - 0.5 * torch.arange(21).cos()
    drawn = Face(look_of(HELD_OUT_FROM), SIDE).frames([Pose(openness=float(value)) for value in openness])
    pictures = torch.from_numpy(drawn).float() / 255
    if foreign:  # all but the lips
        left, top, right, bottom = pixels_of(MOUTH_BOX, SIDE, SIDE)
        lips = pictures[:, top:bottom, left:right].clone()
        pictures = FOREIGN["noise"](pictures[:1]).repeat(21, 1, 1, 1)
        pictures[:, top:bottom, left:right] = lips
    sizes = {"fps": 24.0, "start_s": 0.0, "width": SIDE, "height": SIDE, "fit": "crop"}
    driven = pack("nodes.driving").DrivingVideo.execute(parts[0], parts[2], "none", **sizes, images=pictures)
    assert ("far from" in said()) == foreign
    assert ("The lips speak" in said()) == (not foreign)
    assert (driven.args[5] > 0) == (not foreign)
