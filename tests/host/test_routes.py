"""What the server answers the editor while somebody types."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import wave
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import torch
from graphs import fetch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torchaudio.functional import resample

from unitalking.evaluation.judges import load_judges
from unitalking.speech_timing import speech_duration_s

if TYPE_CHECKING:
    from comfyui import ComfyUI

ASSETS = Path(__file__).resolve().parents[2] / "assets"
WORDS = "I have never said so many words in one clip before."


def length_of(host: ComfyUI, words: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{host.url}/unitalking/speech", words.encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def refusal(host: ComfyUI, route: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(host, route)
    return caught.value.code, json.loads(caught.value.read())["error"]


def sample_at_16_khz(name: str) -> Tensor:
    with av.open(ASSETS / "voices" / f"{name}.flac") as container:
        rate = container.streams.audio[0].rate
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    return resample(torch.from_numpy(samples).float() / 32768, rate, 16000)


def test_a_speech_lasts_as_long_as_it_is_planned(host: ComfyUI) -> None:
    assert length_of(host, WORDS)["seconds"] == pytest.approx(speech_duration_s(WORDS), abs=0.01)
    assert length_of(host, "¿Qué tal?")["seconds"] == pytest.approx(speech_duration_s("¿Qué tal?"), abs=0.01)
    assert length_of(host, "") == {"seconds": 0}


def test_a_book_is_not_a_speech(host: ComfyUI) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        length_of(host, "word " * 5000)
    assert caught.value.code == 413


def test_a_sample_voice_is_judged_and_can_be_heard(host: ComfyUI) -> None:
    report = host.get("/unitalking/voice?sample=clara_calm")["report"]
    assert "Verdict: good" in report
    assert "Used" not in report, "which part is used depends on the model"
    heard = fetch(host, "/unitalking/voice/sound?sample=clara_calm")
    assert heard == (ASSETS / "voices" / "clara_calm.flac").read_bytes()


def test_a_recording_and_a_voice_file_are_judged(host: ComfyUI, upload: Callable[[Path], str], tmp_path: Path) -> None:
    with av.open(ASSETS / "voices" / "clara_calm.flac") as container:
        rate = container.streams.audio[0].rate
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    quiet = tmp_path / "quiet voice.wav"
    with wave.open(str(quiet), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 0.03).astype("<i2").tobytes())
    name = urllib.parse.quote(upload(quiet))
    assert "too quiet" in host.get(f"/unitalking/voice?recording={name}")["report"]
    kept = next((ASSETS / "voice_files").iterdir()).name
    assert "Verdict" in host.get(f"/unitalking/voice?file={kept}")["report"]


def test_a_kept_voice_can_be_heard(host: ComfyUI) -> None:
    kept = ASSETS / "voice_files" / "clara_calm.safetensors"
    with safe_open(kept, framework="pt") as file:
        latents = file.get_tensor("latents").shape[2]
    with wave.open(BytesIO(fetch(host, f"/unitalking/voice/sound?file={kept.name}"))) as heard:
        assert (heard.getframerate(), heard.getnchannels()) == (16000, 1)
        samples = np.frombuffer(heard.readframes(heard.getnframes()), "<i2") / 32768
    assert len(samples) == 512 * latents
    own, other = (sample_at_16_khz(name) for name in ("clara_calm", "martin_deep"))
    heard = torch.from_numpy(samples).float()
    assert 0.5 < heard.std() / own.std() < 2
    speaker = load_judges(ASSETS / "judges").speaker
    assert speaker.cosine(heard, own) > 0.65
    assert speaker.cosine(heard, other) < 0.3


def test_a_voice_of_another_sound_codec_cannot_be_heard(host: ComfyUI) -> None:
    with safe_open(ASSETS / "voice_files" / "clara_calm.safetensors", framework="pt") as file:
        described, latents = json.loads(file.metadata()["unitalking_voice"]), file.get_tensor("latents")
    path = host.base_directory / "models" / "voices" / "full size.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({"latents": latents}, path, {"unitalking_voice": json.dumps({**described, "codec": "44100-40-2048"})})
    code, said = refusal(host, "/unitalking/voice/sound?file=full%20size.safetensors")
    assert code == 404
    assert "full size.safetensors was kept with the sound codec of another model (44100-40-2048" in said
    path.unlink()


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("/unitalking/voice", "expected a sample"),
        ("/unitalking/voice?sample=nobody", "expected a sample"),
        ("/unitalking/voice?sample=none", "expected a sample"),
        ("/unitalking/voice/sound?sample=nobody", "'nobody' is no sample voice"),
        ("/unitalking/voice/sound?sample=../portraits/amara", "is no sample voice"),
        ("/unitalking/voice/sound?file=nobody", "nobody was not found"),
        ("/unitalking/voice?recording=none.wav", "'none.wav' is no file of the input folder"),
        ("/unitalking/voice?recording=../comfyui.log", "file"),
        ("/unitalking/voice?recording=a.mp4%20%5Boutput%5D", "no file of the input folder"),
        ("/unitalking/voice?file=nobody", "nobody was not found"),
    ],
)
def test_what_is_no_voice_is_named(host: ComfyUI, route: str, message: str) -> None:
    code, said = refusal(host, route)
    assert code == 404
    assert message in said
