"""A voice kept as a file: the same samples after a restart, and refusals of names and files that are none."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from graphs import Clip, Graph, assert_refused, read_sound, texts
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_model import add_tiny_model

if TYPE_CHECKING:
    from comfyui import ComfyUI

ROOT = Path(__file__).resolve().parents[2]
Pack = Callable[[str], ModuleType]
ABOUT = "Anna's own voice; she agrees."


def sound_of(host: ComfyUI, kept: bool) -> tuple[np.ndarray, str]:
    """A clip's samples, spoken by a sample voice that is saved on the way, or by the saved one; and the report."""
    clip = Clip(host)
    if kept:
        voice = clip.add("UniTalkingLoadVoice", voice_file="friends/anna.safetensors")
    else:
        encoded = clip.add("UniTalkingEncodeVoiceReference", audio_vae=clip.model[3])
        voice = clip.add("UniTalkingSaveVoice", voice=encoded[0], name="friends/anna", about=ABOUT)
    clip.speak_as(voice)
    decoded = clip.decode(clip.joint()[0])
    saved = clip.add("SaveAudio", audio=decoded[1], filename_prefix="voiced")
    result = clip.run()
    return read_sound(host, result, saved), texts(result, voice)[0]


@pytest.mark.host
def test_a_saved_voice_makes_the_same_samples_after_a_restart(comfyui_path: Path, tmp_path: Path) -> None:
    from comfyui import ComfyUI

    add_tiny_model(tmp_path)
    with ComfyUI(comfyui_path, tmp_path) as server:
        before, said = sound_of(server, kept=False)
        path = server.base_directory / "models" / "voices" / "friends" / "anna.safetensors"
        assert str(path) in said
    assert path.stat().st_size < 100_000
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with ComfyUI(comfyui_path, tmp_path) as server:
        after, report = sound_of(server, kept=True)
        assert report.startswith(ABOUT)
        assert "good" in report
        again = Graph(server)
        model = again.add("UniTalkingModelLoader")
        voice = again.add("UniTalkingEncodeVoiceReference", audio_vae=model[3])
        again.add("UniTalkingSaveVoice", voice=voice[0], name="friends/anna")
        assert_refused(again, "UniTalkingSaveVoice", r"anna.safetensors is there already: choose another name")
    assert before.std() > 0
    assert np.array_equal(before, after)


@pytest.fixture
def voices(pack: Pack) -> Any:
    """The room of voice files, with its folder registered."""
    pack("nodes.files").register_folders()
    return pack("nodes.voice_files")


def made(pack: Pack) -> Any:
    latents = torch.randn(1, 20, 30, generator=torch.Generator().manual_seed(0))
    frames = torch.randn(80, 40, generator=torch.Generator().manual_seed(1)).half()
    return pack("nodes.voice").Voice(latents, "16000-20-512", 16000, "used 3.0 s; good", frames)


def test_a_voice_there_and_back_is_the_same(pack: Pack, voices: Any, tmp_path: Path) -> None:
    voice = made(pack)
    voices.write_voice(tmp_path / "a.safetensors", voice, ABOUT)
    again, about = voices.read_voice(tmp_path / "a.safetensors")
    assert torch.equal(again.latents, voice.latents)
    assert again.frames is not None
    assert torch.equal(again.frames, voice.frames)
    assert (again.codec, again.sample_rate, again.report, about) == (voice.codec, 16000, voice.report, ABOUT)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert sorted(file.keys()) == ["frames", "latents"]


def test_a_file_from_before_there_were_frames_is_read(pack: Pack, voices: Any, tmp_path: Path) -> None:
    voices.write_voice(tmp_path / "old.safetensors", replace(made(pack), frames=None), ABOUT)
    with safe_open(tmp_path / "old.safetensors", "pt") as file:
        assert list(file.keys()) == ["latents"]
    assert voices.read_voice(tmp_path / "old.safetensors")[0].frames is None


@pytest.mark.parametrize("name", ["", "  ", "../escape", "/etc/voice", "a/../../b", "what?", "folder/", "nul\x00"])
def test_a_name_that_is_none_or_leads_elsewhere_is_refused(voices: Any, name: str) -> None:
    with pytest.raises(ValueError, match=r"Save Voice: .* is no name for a file below .*voices"):
        voices._place(name)


def test_names_with_folders_and_endings_are_kept(voices: Any) -> None:
    assert voices._place("friends/anna").parts[-3:] == ("voices", "friends", "anna.safetensors")
    assert voices._place("my voice.safetensors").name == "my voice.safetensors"


@pytest.mark.parametrize("kind", ["damaged", "another file", "other fields", "nan", "misshapen", "bad frames"])
def test_a_file_that_is_no_voice_is_named(pack: Pack, voices: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.safetensors"
    told = {"codec": "16000-20-512", "sample_rate": 16000, "report": "", "about": ""}
    latents = torch.zeros(1, 20, 30)
    if kind == "damaged":
        path.write_bytes(b"no safetensors at all")
    elif kind == "another file":
        save_file({"weight": latents}, path)
    elif kind == "other fields":
        save_file({"latents": latents}, path, {"unitalking_voice": json.dumps({"codec": "a"})})
    elif kind == "bad frames":
        tensors = {"latents": latents, "frames": torch.full((80, 3), torch.nan)}
        save_file(tensors, path, {"unitalking_voice": json.dumps(told)})
    else:
        latents = latents * torch.nan if kind == "nan" else latents[0]
        save_file({"latents": latents}, path, {"unitalking_voice": json.dumps(told)})
    expected = {"damaged": "is damaged or no safetensors", "another file": "is not a voice", "other fields": "is not a"}
    with pytest.raises(ValueError, match=rf"bad.safetensors {expected.get(kind, 'is a damaged voice')}"):
        voices.read_voice(path)


def test_the_packs_own_voices_are_the_sample_voices_of_its_own_model(pack: Pack, voices: Any) -> None:
    """They are there on a fresh install, behind those of the user, and fit the model that ships."""
    folder_paths = importlib.import_module("folder_paths")
    listed = folder_paths.get_filename_list("voices")
    assert not Path(folder_paths.get_folder_paths("voices")[0]).is_relative_to(ROOT / "assets")
    names = sorted(path.stem for path in (ROOT / "assets" / "voices").glob("*.flac"))
    files = [f"{name}.safetensors" for name in names]
    assert [name for name in files if name not in listed] == []
    loading = pack("nodes.loading")
    file, _ = loading.read_model_file(str(ROOT / "models" / "unitalking_embedded.safetensors"))
    codec = pack("nodes.vae").load_audio_vae(file.config, file.parts["audio_vae"], "embedded", carried=True)
    own = pack("nodes.loading").SupportedModel(file).codec_id
    assert codec.codec_id == own
    for name in names:
        voice, about = voices.read_voice(ROOT / "assets" / "voice_files" / f"{name}.safetensors")
        pack("nodes.voice").check_voice(voice, own, "Load Voice")
        encoded = pack("nodes.conditioning").encode_voice(codec, pack("nodes.assets").load_voice(name), trim=True)
        assert torch.allclose(voice.latents, encoded.latents, atol=1e-3)
        assert voice.report == encoded.report
        assert about.startswith("Synthetic voice")
