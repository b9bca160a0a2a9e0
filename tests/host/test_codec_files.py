"""Public audio codecs through Load UniTalking Model: two files or one, halves found by content, refusals by name."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from codec_forms import CONFIGS, Tensors, one_file, parametrised, raw_vae, stored, weight_norm
from graphs import FRAMES, HEIGHT, WIDTH, Clip, assert_refused, only_media
from safetensors.torch import save_file
from tiny_model import TINY_MODEL

if TYPE_CHECKING:
    from comfyui import ComfyUI

Pack = Callable[[str], ModuleType]
MEL = CONFIGS["16k"].mel
VAE, VOCODER = raw_vae(CONFIGS["16k"]), weight_norm(CONFIGS["16k"])
VAE_44K, VOCODER_44K = raw_vae(CONFIGS["44k"]), weight_norm(CONFIGS["44k"])


@pytest.fixture
def folder(comfy_imports: Path) -> Iterator[Path]:
    """The folder of codecs of the host in this process, emptied afterwards."""
    folder_paths = importlib.import_module("folder_paths")
    folder = Path(folder_paths.get_folder_paths("vae")[0])
    folder.mkdir(parents=True, exist_ok=True)
    folder_paths.filename_list_cache.clear()
    yield folder
    for path in folder.iterdir():
        path.unlink()


@pytest.fixture
def read(pack: Pack, folder: Path) -> Callable[[str], Tensors]:
    """The tensors of the audio codec that a file of that folder gives."""
    return lambda name: pack("nodes.vae").read_audio_codec(str(folder / name))[1]


@pytest.fixture
def load(pack: Pack, folder: Path) -> Iterator[Callable[[str], Any]]:
    """The audio VAE that the loader node makes of a file of that folder for the tiny model."""
    pack("nodes.files").register_folders()
    with torch.inference_mode():
        yield (
            lambda name: (
                pack("nodes.loaders")
                .LoadModel.execute(TINY_MODEL.name, "from model file", "from model file", name, "default")
                .args[3]
            )
        )


def write(path: Path, held: dict[str, Any]) -> None:
    """Safetensors or a pickle, as the name says."""
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in held.items()}, path)
    else:
        torch.save(held, path)


@pytest.fixture(scope="module")
def expected(pack: Pack) -> Tensors:
    """The tensors of the codec that the two published files make."""
    public = pack("unitalking.checkpoint.public_codecs")
    return public.join_codec(public.Source("vae", VAE), public.Source("vocoder", VOCODER))[1]


def assert_same(tensors: Tensors, expected: Tensors) -> None:
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert torch.equal(tensors[key], value), key


# Names that say nothing, or the opposite of what is inside.
PAIRS: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "pth and nested pt": (("a.pth", VAE), ("b.pt", {"generator": VOCODER})),
    "more beside the generator": (("a.pth", VAE), ("b.pt", {"generator": VOCODER, "steps": 5})),
    "safetensors in half precision": (
        ("vocoder_44k.safetensors", stored(torch.float16)(VAE)),
        ("vae_44k.safetensors", stored(torch.bfloat16)(VOCODER)),
    ),
    "parametrised": (("v1-44.safetensors", VAE), ("v1-16.safetensors", parametrised(VOCODER))),
}


@pytest.mark.parametrize("chosen", [0, 1], ids=["vae chosen", "vocoder chosen"])
@pytest.mark.parametrize("pair", PAIRS)
def test_the_other_half_is_found_by_its_content(
    read: Callable[[str], Tensors], expected: Tensors, folder: Path, pair: str, chosen: int
) -> None:
    for name, held in PAIRS[pair]:
        write(folder / name, held)
    # Neither fits: the other sample rate, a picture codec.
    write(folder / "vocoder.safetensors", VOCODER_44K)
    write(folder / "vae.pt", VAE_44K)
    write(folder / "picture.safetensors", {"decoder.mid.attn_1.qkv.weight": torch.zeros(3, 1, 1, 1)})
    assert_same(read(PAIRS[pair][chosen][0]), expected)


def test_one_file_needs_no_other(read: Callable[[str], Tensors], expected: Tensors, folder: Path) -> None:
    write(folder / "a.safetensors", one_file(VAE, VOCODER, MEL))
    for name in ("b.safetensors", "c.safetensors"):
        write(folder / name, VOCODER)
    assert_same(read("a.safetensors"), expected)


@pytest.mark.parametrize("files", ["two", "one"])
def test_the_loader_node_makes_the_codec(
    load: Callable[[str], Any], expected: Tensors, folder: Path, files: str
) -> None:
    if files == "two":
        write(folder / "a.pth", VAE)
        write(folder / "b.pt", {"generator": VOCODER})
    else:
        write(folder / "a.pth", one_file(VAE, VOCODER, MEL))
    audio_vae = load("a.pth")
    codec = audio_vae.first_stage_model.codec
    assert_same(codec.state_dict(), expected)
    latents = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(0))
    sound = audio_vae.decode(latents)
    assert sound.shape == (1, 6 * 512, 2)
    assert float(sound.std()) > 0.01
    torch.testing.assert_close(sound[..., 0], codec.decode(latents))


def test_where_the_other_half_came_from_is_said(pack: Pack, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(folder / "a.pth", VAE)
    write(folder / "b.pt", {"generator": VOCODER})
    said: list[str] = []
    pack("nodes.vae").read_audio_codec(str(folder / "a.pth"), said.append)
    assert said[0].startswith("a.pth is an MMAudio audio VAE for 16 kHz (80 mel bands)")
    assert said[0].endswith("a BigVGAN vocoder, is taken from b.pt.")
    assert "CC BY-NC 4.0" in said[1]
    with caplog.at_level(logging.INFO):
        pack("nodes.vae").read_audio_codec(str(folder / "a.pth"))
    assert all(any(text in message for message in caplog.messages) for text in said)


def refused(pack: Pack, read: Callable[[str], Tensors], name: str) -> str:
    with pytest.raises(pack("unitalking.checkpoint.files").CheckpointError) as caught:
        read(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["vae", "vocoder"])
def test_a_missing_half_is_named_with_what_to_do(
    pack: Pack, read: Callable[[str], Tensors], folder: Path, kind: str
) -> None:
    chosen, said, missing = {
        "vae": (VAE, "is an MMAudio audio VAE for 16 kHz", "a BigVGAN vocoder of 80 mel bands, is missing: put MMAu"),
        "vocoder": (VOCODER, "is a BigVGAN vocoder for 16 kHz", "an MMAudio audio VAE of 80 mel bands, is missing"),
    }[kind]
    write(folder / "a.safetensors", chosen)
    write(folder / "other_rate.safetensors", VOCODER_44K)
    (folder / "cut.safetensors").write_bytes(b"\x00" * 100)
    write(folder / "both.safetensors", one_file(VAE, VOCODER, MEL))
    message = refused(pack, read, "a.safetensors")
    for part in (said, missing, str(folder), "choose one file that holds both", "there: both.safetensors."):
        assert part in message
    assert message.endswith("Could not be read: cut.safetensors.")
    assert "other_rate" not in message


def test_two_other_halves_are_both_named(pack: Pack, read: Callable[[str], Tensors], folder: Path) -> None:
    write(folder / "a.pth", VAE)
    write(folder / "b.pt", {"generator": VOCODER})
    write(folder / "c.safetensors", VOCODER)
    message = refused(pack, read, "a.pth")
    assert "2 files hold a fitting other half, a BigVGAN vocoder: b.pt, c.safetensors. Keep one of them" in message


def test_a_vocoder_for_22_khz_is_refused(pack: Pack, read: Callable[[str], Tensors], folder: Path) -> None:
    v2 = {key: value for key, value in VOCODER.items() if key != "conv_post.bias"}
    write(folder / "a.pt", {"generator": v2})
    write(folder / "b.pth", VAE)
    assert "which no MMAudio codec has" in refused(pack, read, "a.pt")
    assert "is missing: put MMAudio's best_netG" in refused(pack, read, "b.pth")


def test_a_codec_of_another_rate_is_refused(pack: Pack, load: Callable[[str], Any], folder: Path) -> None:
    write(folder / "a.safetensors", one_file(VAE_44K, VOCODER_44K, CONFIGS["44k"].mel))
    assert "is the sound codec of another model: got" in refused(pack, load, "a.safetensors")


def test_another_kind_of_file_is_refused(pack: Pack, read: Callable[[str], Tensors], folder: Path) -> None:
    write(folder / "a.safetensors", {"decoder.upsamples.0.residual.0.gamma": torch.ones(1)})
    assert "is a Wan video VAE, and holds no audio codec" in refused(pack, read, "a.safetensors")
    write(folder / "b.pt", {"steps": 5, "lr": [1.0]})
    assert "b.pt does not hold a list of tensors" in refused(pack, read, "b.pt")
    (folder / "c.pth").write_bytes((folder / "b.pt").read_bytes()[:-200])
    assert "c.pth is damaged or its download was cut off: fetch it again" in refused(pack, read, "c.pth")


class Code:
    """What a pickle can hold: a call of any function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def zipped(path: Path, held: Any) -> None:
    torch.save(held, path)


def legacy(path: Path, held: Any) -> None:
    torch.save(held, path, _use_new_zipfile_serialization=False)


def plain(path: Path, held: Any) -> None:
    path.write_bytes(pickle.dumps(held))


@pytest.mark.parametrize("save", [zipped, legacy, plain])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickled_code_is_never_run(
    pack: Pack, read: Callable[[str], Tensors], folder: Path, tmp_path: Path, save: Callable[[Path, Any], None]
) -> None:
    sign = tmp_path / "was run"
    save(folder / "a.pt", {"generator": VOCODER, "code": Code(sign)})
    message = refused(pack, read, "a.pt")
    assert "pickled code, which is never run: take the codec's weights from where they were published" in message
    assert "weights_only" not in message
    assert not sign.exists()
    # Nor while another file's half is looked for.
    write(folder / "b.pth", VAE)
    assert refused(pack, read, "b.pth").endswith("Could not be read: a.pt.")
    assert not sign.exists()


def test_codec_files_of_our_own_still_load(load: Callable[[str], Any], folder: Path) -> None:
    (folder / "bundle.safetensors").write_bytes(TINY_MODEL.read_bytes())
    bundled = load("from model file").first_stage_model.codec.state_dict()
    assert_same(load("bundle.safetensors").first_stage_model.codec.state_dict(), bundled)


def test_a_graph_runs_with_a_codec_of_two_files(host: ComfyUI) -> None:
    folder = host.base_directory / "models" / "vae"
    folder.mkdir(parents=True, exist_ok=True)
    names = "a.pth", "b.pt"
    try:
        write(folder / names[0], VAE)
        clip = Clip(host, loader={"audio_codec": names[0]})
        clip.finish(clip.joint()[0])
        assert_refused(clip, "UniTalkingModelLoader", "a.pth is an MMAudio audio VAE .* is missing: put MMAudio's best")
        write(folder / names[1], {"generator": VOCODER})
        assert only_media(host, clip.run()).pictures.shape == (FRAMES, HEIGHT, WIDTH, 3)
    finally:
        for name in names:
            (folder / name).unlink(missing_ok=True)
