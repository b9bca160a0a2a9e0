"""Trains the judges of pictures, the mouth's opening and the attributes of a face, on drawn people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..synthetic.draws import between, draw
from ..synthetic.face import Face, Pose
from ..synthetic.look import Look, identity_of, look_of
from ..synthetic.palette import HAIR, PAINT, SKIN
from .attributes import SIDE, AttributeConfig, AttributeNetwork
from .lessons import Course, autocast, generator, learn
from .mouth import HEIGHT, WIDTH, MouthConfig, MouthNetwork, mouth_box
from .sight import blemished, scaled, shifted
from .sync import correlation

MOUTH_CONFIG = MouthConfig(widths=(16, 24, 32, 48), hidden=64)
MOUTH_COURSE = Course(steps=1200, batch=64, rate=2e-3)
ATTRIBUTE_CONFIG = AttributeConfig(widths=(24, 48, 64, 96), narrow=24, hidden=192, values={})
ATTRIBUTE_COURSE = Course(steps=1500, batch=48, rate=2e-3)
POSES = 8
CLOSED_SHARE = 0.2
SHIFT = 0.03
TILT_DEG = 4.0
CHECK_EVERY = 250

# What captions name and pictures show: that somebody is young is not drawn, and a tie's colour is too small to see.
VALUES: dict[str, tuple[str, ...]] = {
    "gender": ("man", "woman"),
    "age": ("", "old"),
    "hair": (
        *("short", "side parted", "swept up", "buzz cut", "bald", "curly", "receding", "afro", "shoulder length"),
        *("long straight", "long wavy", "bob", "bun", "ponytail", "fringe", "head scarf"),
    ),
    "hair_color": tuple(HAIR),
    "skin": tuple(SKIN),
    "beard": ("none", "stubble", "moustache", "goatee", "full beard"),
    "glasses": ("none", "round", "square", "sunglasses on the head"),
    "shirt": tuple(PAINT),
    "collar": ("crew", "v", "shirt", "suit", "turtleneck", "hoodie"),
    "pattern": ("plain", "striped", "dotted"),
    "background": tuple(PAINT),
    "scene": ("plain", "gradient", "wall", "window", "hills", "shelf", "curtain"),
}
UNSEEN = -100


@dataclass(frozen=True)
class Sitting:
    """One drawn person.

    Attributes:
        look: who.
        picture: (128, 128, 3) uint8, in one pose.
        mouths: (poses, h, w, 3) uint8, the box that the mouth moves in.
        openness: (poses,) true opening.
    """

    look: Look
    picture: Tensor
    mouths: Tensor
    openness: Tensor


def sit(chosen: Sequence[int], split: str, seed: int) -> list[Sitting]:
    """People of a split, each in several poses."""
    found = []
    for index in chosen:
        random = draw("sitting", seed, split, index)
        gender = random.choice(("man", "woman"))
        look = look_of(identity_of(random.getrandbits(40), split, gender))
        poses = [
            Pose(
                openness=0.0 if random.random() < CLOSED_SHARE else random.random(),
                width=between(random, -1, 1),
                blink=random.choice((0.0, 0.0, 1.0)),
                gaze=(between(random, -0.8, 0.8), between(random, -0.4, 0.4)),
                lift=random.random(),
                shift=(between(random, -SHIFT, SHIFT), between(random, -SHIFT, SHIFT)),
                tilt_deg=between(random, -TILT_DEG, TILT_DEG),
            )
            for _ in range(POSES)
        ]
        frames = torch.from_numpy(Face(look, SIDE).frames(poses))
        openness = torch.tensor([pose.openness for pose in poses])
        found.append(Sitting(look, frames[0].clone(), mouth_box(frames).clone(), openness))
    return found


def labels_of(look: Look) -> dict[str, int]:
    """The number of each attribute's value; UNSEEN where the look does not show it."""
    labels = {
        name: values.index(value) if (value := getattr(look, name)) in values else 0 for name, values in VALUES.items()
    }
    if look.hair in ("bald", "head scarf"):
        labels["hair_color"] = UNSEEN
    if look.collar == "suit":
        labels["pattern"] = UNSEEN
    return labels


def train_mouth(
    sittings: list[Sitting], held_out: list[Sitting], course: Course = MOUTH_COURSE
) -> tuple[MouthNetwork, float]:
    """A judge of the mouth's opening, and the seconds that it took."""
    torch.manual_seed(course.seed)
    network = MouthNetwork(MOUTH_CONFIG)
    mouths = torch.cat([each.mouths for each in sittings])
    openness = torch.cat([each.openness for each in sittings])

    def loss_of(step: int) -> Tensor:
        random = generator(course.seed, step)
        chosen = torch.randint(len(mouths), (course.batch,), generator=random)
        pictures = blemished(scaled(mouths[chosen], HEIGHT, WIDTH), random)
        with autocast():
            seen = network(pictures)
        return functional.mse_loss(seen.float(), openness[chosen])

    def check() -> str:
        sharp, soft = (np.mean(mouth_correlations(network, held_out, blurred)) for blurred in (False, True))
        return f"correlation with the truth, held-out faces: {sharp:.4f}, blurred {soft:.4f}"

    return network, learn("mouth", network, loss_of, course, check, CHECK_EVERY)


@torch.no_grad()
def mouth_correlations(network: MouthNetwork, sittings: Sequence[Sitting], blurred: bool = False) -> list[float]:
    """Correlation of the seen and the true opening over each person's poses."""
    found = []
    for each in sittings:
        pictures = scaled(each.mouths, HEIGHT, WIDTH)
        if blurred:
            pictures = functional.interpolate(functional.avg_pool2d(pictures, 2), (HEIGHT, WIDTH), mode="bilinear")
        found.append(correlation(network(pictures).numpy(), each.openness.numpy()))
    return found


def train_attributes(
    sittings: list[Sitting], held_out: list[Sitting], course: Course = ATTRIBUTE_COURSE
) -> tuple[AttributeNetwork, float]:
    """A judge of attributes, and the seconds that it took."""
    torch.manual_seed(course.seed)
    network = AttributeNetwork(replace(ATTRIBUTE_CONFIG, values=VALUES)).to(memory_format=torch.channels_last)
    pictures = torch.stack([each.picture for each in sittings])
    labels = [labels_of(each.look) for each in sittings]
    numbers = {name: torch.tensor([label[name] for label in labels]) for name in VALUES}

    def loss_of(step: int) -> Tensor:
        random = generator(course.seed, step)
        chosen = torch.randint(len(pictures), (course.batch,), generator=random)
        seen = shifted(blemished(scaled(pictures[chosen], SIDE, SIDE), random), random)
        with autocast():
            scores = network(seen.contiguous(memory_format=torch.channels_last))
        losses = [
            functional.cross_entropy(scores[name].float(), numbers[name][chosen], ignore_index=UNSEEN, reduction="sum")
            for name in VALUES
        ]
        return torch.stack(losses).sum() / (course.batch * len(VALUES))

    def check() -> str:
        right = attribute_accuracy(network, held_out)
        listed = ", ".join(f"{name} {share:.2f}" for name, share in right.items())
        return f"right on held-out faces: {np.mean(list(right.values())):.3f} ({listed})"

    return network, learn("attributes", network, loss_of, course, check, CHECK_EVERY)


@torch.no_grad()
def attribute_accuracy(network: AttributeNetwork, sittings: Sequence[Sitting]) -> dict[str, float]:
    """The share of people for whom each attribute is named right, of those that show it."""
    scores = network(scaled(torch.stack([each.picture for each in sittings]), SIDE, SIDE))
    labels = [labels_of(each.look) for each in sittings]
    right = {}
    for name in VALUES:
        wanted = torch.tensor([label[name] for label in labels])
        seen = wanted != UNSEEN
        right[name] = float((scores[name].argmax(dim=1) == wanted)[seen].float().mean())
    return right
