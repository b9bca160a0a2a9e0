"""Faces against portraits, and pictures against patches."""

from __future__ import annotations

import torch

from unitalking.evaluation.identity import face_distance, nearest
from unitalking.evaluation.mouth import MOUTH_BOX, mouth_box, pixels_of
from unitalking.evaluation.patches import blotchiness, patchiness

SIDE = 64


def face(seed: int) -> torch.Tensor:
    """A smooth picture of its own, (64, 64, 3)."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 255
    return (
        torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 255).byte()
    )


def gentle(seed: int) -> torch.Tensor:
    """A smooth picture that knows no grid: waves of any direction and colour, (64, 64, 3)."""
    random = torch.Generator().manual_seed(seed)
    down, right = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    turns = (torch.rand(2, 8, 1, 1, 3, generator=random) - 0.5) * 0.2
    phases = torch.rand(8, 1, 1, 3, generator=random) * 6.3
    waves = torch.sin(down[None, :, :, None] * turns[0] + right[None, :, :, None] * turns[1] + phases)
    return (128 + 15 * waves.sum(dim=0)).clamp(0, 255).byte()


def clip(seed: int, right: int = 0) -> torch.Tensor:
    """Five frames of a face that moves to the right in the end, and whose mouth is any colour."""
    frames = face(seed)[None].repeat(5, 1, 1, 1)
    frames[2:] = frames[2:].roll(right, dims=2)
    mouth_box(frames).random_(0, 256, generator=torch.Generator().manual_seed(seed))
    return frames


def test_the_same_face_has_no_distance_whatever_its_mouth_does() -> None:
    assert face_distance(clip(0), face(0)) == 0


def test_a_moved_head_is_found_again() -> None:
    assert face_distance(clip(0, right=2), face(0)) < 1
    assert face_distance(clip(0, right=12), face(0)) > 10


def test_another_face_is_far() -> None:
    assert face_distance(clip(0), face(1)) > 20


def test_the_nearest_portrait_is_the_clips_own_and_swapped_ones_are_not() -> None:
    portraits = torch.stack([face(seed) for seed in range(6)])
    assert [nearest(clip(seed, right=2), portraits) for seed in range(6)] == list(range(6))
    assert nearest(clip(3), portraits.roll(1, dims=0)) == 4


def test_mouth_box_is_a_share_of_the_picture() -> None:
    assert pixels_of(MOUTH_BOX, 100, 200) == (60, 55, 140, 82)
    frames = torch.zeros(2, 100, 200, 3)
    assert mouth_box(frames).shape == (2, 27, 80, 3)


def test_cells_of_different_colour_are_seen_and_smooth_pictures_are_not() -> None:
    smooth = torch.stack([gentle(seed) for seed in range(20)])
    shades = torch.randint(-25, 26, (20, 4, 4, 3), generator=torch.Generator().manual_seed(0))
    tiles = shades.repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
    tiled = (smooth.int() + tiles).clamp(0, 255).byte()
    plain, broken = ([patchiness(picture[None]) for picture in pictures] for pictures in (smooth, tiled))
    assert abs(torch.tensor(plain).mean()) < 0.5
    assert torch.tensor(broken).mean() > 8


def drawn(seed: int) -> torch.Tensor:
    """A picture of few areas, each of one colour and lit from above, (128, 128, 3)."""
    random = torch.Generator().manual_seed(seed)
    picture = torch.rand(3, generator=random) * 200 + torch.zeros(128, 128, 3)
    for _ in range(6):
        top, left = torch.randint(0, 96, (2,), generator=random).tolist()
        picture[top : top + 40, left : left + 50] = torch.rand(3, generator=random) * 200
    return picture + torch.linspace(40, 0, 128)[:, None, None]


def test_blotches_are_seen_and_areas_of_one_colour_are_not_whatever_their_edges() -> None:
    clean = [drawn(seed) for seed in range(12)]
    noise = torch.randn(12, 3, 10, 10, generator=torch.Generator().manual_seed(0)) * 15
    blots = torch.nn.functional.interpolate(noise, (128, 128), mode="bicubic").permute(0, 2, 3, 1)
    blotched = [picture + blot for picture, blot in zip(clean, blots, strict=True)]
    figures = [
        torch.tensor([blotchiness(picture[None].clamp(0, 255).byte()) for picture in pictures])
        for pictures in (clean, blotched)
    ]
    assert figures[0].max() < 0.6
    assert figures[1].min() > 2
    assert abs(torch.tensor([patchiness(picture[None]) for picture in blotched]).mean()) < 1, "the other judge is blind"


def test_brighter_and_darker_of_one_colour_is_no_blotch() -> None:
    grey = torch.rand(64, 64, 1, generator=torch.Generator().manual_seed(0)).expand(64, 64, 3) * 255
    assert blotchiness(grey[None].byte()) < 1e-3


def test_blotches_of_a_larger_picture_count_the_same() -> None:
    small = gentle(0)
    large = small.repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)
    assert blotchiness(small[None]) > 1
    assert abs(blotchiness(large[None]) - blotchiness(small[None])) < 1e-3
