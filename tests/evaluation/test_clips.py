"""Clips read from files, with what was asked for beside them."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
import torch

from unitalking.evaluation.clips import ClipError, JudgedClip, find_clips, read_clip, read_media
from unitalking.evaluation.write_clip import write_clip, write_media

FRAMES, FPS, CLICK = 25, 24.0, 9


def clip(name: str = "a") -> JudgedClip:
    """A picture that turns bright at frame 9, and a tone that starts with it."""
    frames = torch.full((FRAMES, 32, 32, 3), 20, dtype=torch.uint8)
    frames[CLICK:] = 220
    time = torch.arange(int(FRAMES / FPS * 16000)) / 16000
    sound = 0.3 * torch.sin(2 * torch.pi * 700 * time) * (time >= CLICK / FPS)
    portrait = torch.zeros(32, 32, 3, dtype=torch.uint8)
    portrait[:16] = torch.tensor([200, 30, 90], dtype=torch.uint8)
    return JudgedClip(
        name, sound, frames, FPS, "Hello there.", "a room", ("h", "@", "l", "oU"), {"there": ["D e@"]},
        sound[:8000] * 0.5, portrait, {"hair": "red"}, 7, (1, 2, 30, 31),
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    read = read_clip(write_clip(tmp_path, clip()))
    for name in ("name", "fps", "speech", "scene", "phonemes", "attributes", "seed", "face"):
        assert getattr(read, name) == getattr(clip(), name), name
    assert {word: tuple(said) for word, said in read.lexicon.items()} == {"there": ("D e@",)}
    assert torch.equal(read.portrait, clip().portrait)
    torch.testing.assert_close(read.reference, clip().reference, atol=1e-4, rtol=0)
    assert read.frames.shape == clip().frames.shape
    assert (read.frames.float() - clip().frames.float()).abs().mean() < 3


def test_sound_and_picture_stay_together_in_a_file(tmp_path: Path) -> None:
    """AAC puts 1,024 samples in front, which a reader has to drop."""
    read = read_clip(write_clip(tmp_path, clip()))
    started = (read.sound.abs() > 0.1).nonzero()[0].item() / 16000
    assert started == pytest.approx(CLICK / FPS, abs=0.005)
    assert (read.frames.float().mean(dim=(1, 2, 3)) > 120).nonzero()[0].item() == CLICK


def test_a_clip_without_sidecar_stands_for_itself(tmp_path: Path) -> None:
    write_media(tmp_path / "lonely.mp4", clip().sound, clip().frames, FPS)
    write_clip(tmp_path, clip("b"))
    found = [read_clip(path) for path in find_clips(tmp_path)]
    assert [(each.name, each.speech) for each in found] == [("b", "Hello there."), ("lonely", "")]


def test_a_manifest_lists_sidecars_in_its_order(tmp_path: Path) -> None:
    for name in "abc":
        write_clip(tmp_path, clip(name))
    (tmp_path / "list.txt").write_text("c.json\n\na.json\n")
    assert [path.name for path in find_clips(tmp_path / "list.txt")] == ["c.json", "a.json"]


def test_two_channels_are_as_loud_as_one(tmp_path: Path) -> None:
    tone = 0.3 * torch.sin(torch.arange(16000) * 0.1).repeat(2, 1).numpy()
    for layout, channels in (("mono", tone[:1]), ("stereo", tone)):
        with av.open(str(tmp_path / f"{layout}.wav"), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=16000, layout=layout)
            frame = av.AudioFrame.from_ndarray(channels.astype("float32"), format="fltp", layout=layout)
            frame.sample_rate = 16000
            container.mux([*stream.encode(frame), *stream.encode(None)])
    mono, stereo = (read_media(tmp_path / f"{layout}.wav")[0] for layout in ("mono", "stereo"))
    assert stereo.shape == mono.shape
    assert (stereo - mono).abs().max() < 1e-3


def test_another_rate_is_resampled_to_16_khz(tmp_path: Path) -> None:
    from scipy.io import wavfile

    path = write_clip(tmp_path, clip())
    time = torch.arange(44100) / 44100
    wavfile.write(tmp_path / "a.reference.wav", 44100, (0.4 * torch.sin(2 * torch.pi * 400 * time)).numpy())
    reference = read_clip(path).reference
    assert abs(len(reference) - 16000) < 64
    assert ((reference[1000:-1000].diff().sign().diff() != 0).sum() / (len(reference) - 2000) * 8000).round() == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speach": "x"}, "unknown key.*speach"),
        ({"seed": "seven"}, "seed: got 'seven', expected a whole number"),
        ({"reference": "gone.wav"}, "gone.wav: cannot be read"),
        ({"portrait": "a.json"}, "a.json: cannot be read"),
        ({"clip": "gone.mp4"}, "gone.mp4: cannot be read"),
    ],
)
def test_a_bad_sidecar_is_named_with_what_is_wrong(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = write_clip(tmp_path, clip())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ClipError, match=message):
        read_clip(path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = write_clip(tmp_path, clip())
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(ClipError, match=r"a\.mp4: cannot be read"):
        read_clip(path)


def test_a_silent_movie_is_refused(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for pixels in clip().frames.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(ClipError, match="no sound"):
        read_clip(tmp_path / "a.mp4")


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="no clips"):
        find_clips(tmp_path)
    with pytest.raises(ClipError, match="expected a folder of clips"):
        find_clips(tmp_path / "gone")


def test_colours_survive_a_file(tmp_path: Path) -> None:
    frames = torch.zeros(FRAMES, 32, 32, 3, dtype=torch.uint8)
    frames[...] = torch.tensor([220, 40, 20], dtype=torch.uint8)
    write_media(tmp_path / "red.mp4", clip().sound, frames, FPS)
    read = read_clip(tmp_path / "red.mp4").frames[10, 16, 16].int()
    assert (read - frames[10, 16, 16].int()).abs().max() < 12
