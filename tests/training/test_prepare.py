"""`python -m unitalking.training.prepare`: what inference encodes, the same from any run, and what is left out."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from clip_files import RATE, pictures, tone, write_sound, write_video
from safetensors.torch import load_file, save_file
from tiny_model import TINY_MODEL as MODEL

from unitalking import timeline
from unitalking.checkpoint.files import config_tensors, read_model
from unitalking.checkpoint.parts import build_part
from unitalking.mapping import to_mapping
from unitalking.prompt import compose_prompt
from unitalking.training import shard_writer
from unitalking.training.dataset import DataError, check_model, encoder_info
from unitalking.training.prepare import unit
from unitalking.training.prepare.__main__ import main, parser, settings_of
from unitalking.training.prepare.clips import nearest_size
from unitalking.training.prepare.encoders import EncoderFiles, load_encoders
from unitalking.training.prepare.run import Summary, prepare
from unitalking.training.prepare.sums import mean_colours
from unitalking.training.shards import CachedClip, Shards

ROOT = Path(__file__).resolve().parent.parent.parent


# Pictures of the clips of `folder`.
LENGTHS = {0: 25, 1: 25, 2: 31, 3: 49}


def run(source: Path | str, out: Path, *options: str, model: Path = MODEL) -> Summary:
    """Makes a data set of clips of 64 x 64 pixels in this process."""
    arguments = [str(source), str(out), "--model", str(model), "--size", "64x64", *options]
    return prepare(settings_of(parser().parse_args(arguments)), out)


def noise(frames: int, seed: int = 0, side: int = 64) -> np.ndarray:
    """Pictures of coarse noise."""
    small = np.random.default_rng(seed).integers(0, 255, (frames, side // 8, side // 8, 3), np.uint8)
    return small.repeat(8, 1).repeat(8, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five good clips: video with sound, three of them of another length; one of sound alone."""
    folder = tmp_path / "clips"
    for number, frames in LENGTHS.items():
        write_video(folder / f"{number}.mkv", noise(frames, number), tone(frames / 24, pitch=150 + 30 * number))
        (folder / f"{number}.txt").write_text(f"This is clip {number}.")
    write_sound(folder / "voice.wav", tone(1.0))
    (folder / "voice.json").write_text(json.dumps({"speech": "Only heard.", "sound": "warm", "speaker": "ann"}))
    return folder


def read_all(out: Path) -> list[CachedClip]:
    """Every clip of a data set."""
    shards = Shards(out)
    return [shards.read(position) for position in range(len(shards))]


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a data set, without the records, which hold timings."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


# ---- what is cached


def test_latents_are_what_inference_encodes(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "set", "--dtype", "float32")
    file = read_model(load_file(MODEL), None, "model")
    video_vae, codec = (build_part(file.config, part) for part in ("video_vae", "audio_vae"))
    for part, name in ((video_vae, "video_vae"), (codec, "audio_vae")):
        part.load_state_dict({key: value.float() for key, value in file.parts[name].items()})
        part.eval().requires_grad_(False)
    clips = {clip.source: clip for clip in read_all(tmp_path / "set")}
    for number, frames in enumerate((25, 25, 29, 49)):  # 31 pictures make a clip of 29
        clip = clips[f"{number}.mkv"]
        shown = torch.from_numpy(noise(31, 2)[:29] if number == 2 else noise(frames, number))
        expected = video_vae.encode((shown.float() / 255 * 2 - 1).permute(3, 0, 1, 2)[None])[0]
        torch.testing.assert_close(clip.video, expected, rtol=0, atol=1e-5)
        latents = timeline.audio_latents(frames, 24, RATE, 512)
        sound = torch.from_numpy(tone(len(noise(31) if number == 2 else shown) / 24, pitch=150 + 30 * number))
        sound = (sound * 32767).round() / 32768  # as the file holds it
        sound = torch.nn.functional.pad(sound, (0, 512 * 100))[: 512 * latents]
        torch.testing.assert_close(clip.audio, codec.encode(sound[None])[0], rtol=0, atol=1e-4)
        assert clip.audio.shape[1] == latents
        assert clip.frames == frames
        assert clip.prompt == compose_prompt(f"This is clip {number}.", style=file.config.prompt_style)


def test_a_clip_of_sound_alone_has_a_length_that_inference_plans(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "set")
    clip = next(clip for clip in read_all(tmp_path / "set") if clip.source == "voice.wav")
    assert clip.video is None
    assert clip.frames == 0
    assert clip.audio.shape == (20, timeline.audio_latents(25, 24, RATE, 512))  # 1 s: 25 pictures
    assert (clip.speech, clip.sound, clip.speaker) == ("Only heard.", "warm", "ann")
    assert clip.prompt == "<S>Only heard.<E> <AUDCAP>warm<ENDAUDCAP>"


def test_without_pictures_all_clips_are_sound_alone(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "set", "--audio-only")
    shards = Shards(tmp_path / "set")
    assert len(shards) == 5
    assert not shards.table.latent_frames.any()
    assert shards.info.video is None
    assert shards.info.rgb is None
    assert shards.info.video_codec is None


def test_description_says_what_made_it_and_fits_its_model_alone(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "set")
    info = Shards(tmp_path / "set").info
    file = read_model(load_file(MODEL), None, "model")
    own = [encoder_info(part, file.config, file.parts[part]) for part in ("video_vae", "audio_vae")]
    check_model(tmp_path, info, file.config, *own)
    changed = dict(file.parts["video_vae"])
    changed["encoder.conv_in.bias"] = changed["encoder.conv_in.bias"] + 0.1
    with pytest.raises(DataError, match=r"picture codec's weights .*tiny_random\.safetensors"):
        check_model(tmp_path, info, file.config, encoder_info("video_vae", file.config, changed))


def test_statistics_and_preview_factors_are_those_of_the_data(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "set", "--shard-clips", "2")
    info = Shards(tmp_path / "set").info
    clips = read_all(tmp_path / "set")
    for stream in ("video", "audio"):
        values = [getattr(clip, stream).double().flatten(1) for clip in clips if getattr(clip, stream) is not None]
        every = torch.cat(values, dim=1)
        statistics = getattr(info, stream)
        assert statistics.mean == pytest.approx(every.mean(1).tolist(), abs=1e-9)
        assert statistics.std == pytest.approx(every.std(1, correction=0).tolist(), rel=1e-6)
    shown = {
        f"{number}.mkv": noise(frames, number)[: frames - 2 * (frames == 31)] for number, frames in LENGTHS.items()
    }
    colours = [
        mean_colours(torch.from_numpy(shown[clip.source]), *shape)
        for clip in clips
        if clip.video is not None and (shape := (tuple(clip.video.shape[1:]), 4))
    ]
    values = [clip.video.double().flatten(1).T for clip in clips if clip.video is not None]
    mean, std = (torch.tensor(part, dtype=torch.float64) for part in (info.video.mean, info.video.std))
    cells = torch.nn.functional.pad((torch.cat(values) - mean) / std, (0, 1), value=1.0)
    expected = torch.linalg.lstsq(cells, torch.cat([part.reshape(-1, 3) for part in colours])).solution
    torch.testing.assert_close(info.tensors()["latents.video.rgb"].double(), expected, rtol=0, atol=1e-4)


def test_references_are_encoded_and_a_bad_one_is_a_reason(folder: Path, tmp_path: Path) -> None:
    write_sound(tmp_path / "refs" / "long.wav", tone(5.0, 44100), 44100)
    write_sound(tmp_path / "refs" / "silent.wav", np.zeros(RATE, np.float32))
    rows = [
        {"video": "clips/0.mkv", "speech": "a", "references": ["refs/long.wav", "clips/voice.wav"]},
        {"video": "clips/1.mkv", "speech": "b", "references": ["refs/silent.wav"]},
        {"video": "clips/3.mkv", "speech": "c", "references": ["refs/none.wav"]},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    summary = run(tmp_path / "m.jsonl", tmp_path / "set")
    (clip,) = read_all(tmp_path / "set")
    # The best stretch of what the model's reference holds, 96 latents of 32 ms; and all of a shorter one.
    lengths = [latents.shape[1] for latents in clip.references]
    assert 90 <= lengths[0] <= 96
    assert lengths[1] == 31
    assert [line["reason"] for line in summary.skipped][1] == "reference none.wav: none.wav is missing"
    assert summary.skipped[0]["reason"].startswith("reference silent.wav: The voice clip is silent")


@pytest.mark.parametrize(
    ("width", "height", "chosen"),
    [
        (1920, 1080, (128, 64)),
        (1080, 1920, (64, 128)),
        (500, 480, (128, 128)),
        (100, 100, (64, 64)),
        (20, 20, (64, 64)),
    ],
)
def test_of_several_sizes_the_nearest_in_shape_is_taken(width: int, height: int, chosen: tuple[int, int]) -> None:
    sizes = ((128, 64), (64, 128), (64, 64), (128, 128))
    assert nearest_size(sizes, width, height) == chosen


# ---- the same from any run


def command(*arguments: str | Path) -> list[str]:
    """The command line in a process of its own."""
    return [sys.executable, "-m", "unitalking.training.prepare", *map(str, arguments), "--model", str(MODEL)]


def test_any_number_of_processes_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    options = ("--size", "64x64", "--shard-clips", "2")
    run(folder, tmp_path / "one", "--shard-clips", "2")
    done = subprocess.run(
        command(folder, tmp_path / "two", *options, "--workers", "2"), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "5 clips in 3 shards" in done.stdout
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_killed_and_started_again_it_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    write_video(folder / "00.mkv", noise(49), tone(49 / 24))
    for number in range(12):
        if number:
            os.link(folder / "00.mkv", folder / f"{number:02d}.mkv")
        (folder / f"{number:02d}.txt").write_text(f"Clip {number}.")
    out = tmp_path / "set"
    options = ("--size", "64x64", "--shard-clips", "1")
    process = subprocess.Popen(command(folder, out, *options), cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.tar"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert 2 <= len(kept) < 12, "killed too early or too late to show anything"
    assert not (out / "dataset.json").exists()
    (out / "000011-00.tar.1.part").write_bytes(b"left by the killed run")
    records = {path.stem for path in (out / "work").glob("0*.json")}
    summary = run(folder, out, "--shard-clips", "1")
    assert summary.clips_made == 12 - len(records)
    assert all(path.stat().st_mtime_ns == made for path, made in kept.items() if path.stem[:6] in records)
    run(folder, tmp_path / "whole", "--shard-clips", "1")
    assert contents(out) == contents(tmp_path / "whole")


def test_a_finished_data_set_is_left_alone(folder: Path, tmp_path: Path) -> None:
    first = run(folder, tmp_path / "set", "--shard-clips", "2")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").glob("*.tar")}
    again = run(folder, tmp_path / "set", "--shard-clips", "2")
    assert (first.clips_made, again.clips_made) == (5, 0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").glob("*.tar")} == before


@pytest.mark.parametrize("damage", ["cut off", "deleted", "index deleted"])
def test_a_damaged_shard_is_made_again_and_no_other(damage: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    run(folder, out, "--shard-clips", "2")
    whole = contents(out)
    path = out / "000001-00.tar"
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.with_suffix(".json" if damage == "index deleted" else ".tar").unlink()
    assert run(folder, out, "--shard-clips", "2").clips_made == 2
    assert contents(out) == whole


def test_a_full_disk_is_named_and_the_run_goes_on_later(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    sync, calls = os.fsync, []

    def full(file: int) -> None:
        calls.append(file)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    arguments = [str(folder), str(out), "--model", str(MODEL), "--size", "64x64", "--shard-clips", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(shard_writer.os, "fsync", full)
        assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "disk is full" in said
    assert str(out) in said
    assert sorted(path.name for path in out.glob("0*")) == ["000000-00.json", "000000-00.tar"]
    assert main(arguments) == 0
    assert len(Shards(out)) == 5


def test_a_disk_that_is_full_for_the_record_is_named_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(unit, "write_json", full)
        with pytest.raises(OSError, match="disk is full"):
            run(folder, tmp_path / "set")
    assert run(folder, tmp_path / "set").clips_made == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--shard-clips", "3"), "begun with other storage"),
        (("--dtype", "bfloat16"), "begun with other storage"),
        (("--too-long", "cut"), "begun with other reading"),
        (("--no-silence",), "begun with other filters"),
        (("--limit", "3"), "begun with other clips"),
    ],
)
def test_a_data_set_is_not_continued_with_other_settings(
    change: tuple[str, ...], message: str, folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path / "set")
    with pytest.raises(DataError, match=f"{message}: give another folder"):
        run(folder, tmp_path / "set", *change)


def test_a_data_set_is_not_continued_with_another_codec(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "set")
    tensors = load_file(MODEL)
    tensors["video_vae.encoder.conv_in.bias"] = tensors["video_vae.encoder.conv_in.bias"] + 1
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="begun with other encoders"):
        run(folder, tmp_path / "set", model=tmp_path / "other.safetensors")


def test_a_folder_that_holds_something_else_is_not_written_to(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not empty and no data set"):
        run(folder, folder)


# ---- what is left out


def make_bad_clips(folder: Path) -> None:
    """One clip for every reason."""
    good = write_video(folder / "good.mkv", noise(25), tone(25 / 24))
    write_video(folder / "no_sound.mkv", noise(25))
    write_video(folder / "slow.mkv", noise(12), tone(1.5), fps=8)
    write_video(folder / "short.mkv", noise(5), tone(5 / 24))
    write_video(folder / "long.mkv", noise(73), tone(73 / 24))
    with wave.open(str(folder / "empty_sound.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
    (folder / "no_text.mkv").write_bytes(good.read_bytes())
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.mkv").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "text.mp4").write_bytes(b"these are words" * 99)
    for path in list(folder.iterdir()):
        if path.stem != "no_text":
            path.with_suffix(".txt").write_text("Hello there.")


def test_every_bad_clip_is_listed_with_its_reason(tmp_path: Path) -> None:
    make_bad_clips(tmp_path / "clips")
    summary = run(tmp_path / "clips", tmp_path / "set", "--longest", "2.5")
    assert [clip.source for clip in read_all(tmp_path / "set")] == ["good.mkv"]
    reasons = {line["source"]: line["reason"] for line in summary.skipped}
    expected = {
        "cut.mkv": "cut.mkv was cut off: it says that it lasts 1.0",
        "empty.mp4": "empty.mp4 is empty",
        "empty_sound.wav": "empty_sound.wav ",
        "long.mkv": "lasts 3.04 s, expected at most 2.5",
        "no_sound.mkv": "no_sound.mkv has no sound",
        "no_text.mkv": "no text: expected speech",
        "short.mkv": "lasts 0.21 s, expected at least 0.5",
        "slow.mkv": "slow.mkv has 8 pictures per second, expected at least 15",
        "text.mp4": "text.mp4 cannot be read; it is damaged, cut off, or no media file",
    }
    assert list(reasons) == list(expected)
    assert {name: reasons[name].startswith(start) for name, start in expected.items()} == dict.fromkeys(expected, True)
    listed = [json.loads(line) for line in (tmp_path / "set" / "skipped.jsonl").read_text().splitlines()]
    assert listed == list(summary.skipped)
    assert Shards(tmp_path / "set").info.skipped == 9


def test_filters_list_what_they_leave_out(folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "set", "--max-cuts", "0", "--no-silence")
    assert [clip.source for clip in read_all(tmp_path / "set")] == ["voice.wav"]
    assert [line["reason"].endswith("scene cuts, at most 0 are allowed") for line in summary.skipped] == [True] * 4
    with pytest.raises(DataError, match="0% of it is speech, at least 30% are wanted"):
        run(folder, tmp_path / "speech", "--require-speech")


def test_silent_clips_and_clips_without_text_are_kept_if_allowed(tmp_path: Path) -> None:
    make_bad_clips(tmp_path / "clips")
    run(tmp_path / "clips", tmp_path / "set", "--allow-silent", "--allow-no-speech", "--longest", "2.5")
    clips = {clip.source: clip for clip in read_all(tmp_path / "set")}
    assert set(clips) == {"good.mkv", "no_sound.mkv", "no_text.mkv"}
    assert clips["no_sound.mkv"].audio is None
    assert clips["no_text.mkv"].prompt == ""


def test_a_long_clip_is_cut_into_parts_that_follow_each_other(tmp_path: Path) -> None:
    write_video(tmp_path / "clips" / "long.mkv", pictures(60, 64, 64), tone(2.5))
    (tmp_path / "clips" / "long.txt").write_text("Hello.")
    run(tmp_path / "clips", tmp_path / "set", "--longest", "1.0", "--too-long", "cut", "--dtype", "float32")
    clips = read_all(tmp_path / "set")
    # The longest valid clip within a second has 21 pictures; 60 are two of them, and 18 that make 17.
    assert [(clip.key, clip.frames) for clip in clips] == [
        *(("00000000-000", 21), ("00000000-001", 21), ("00000000-002", 17)),
    ]
    run(tmp_path / "clips", tmp_path / "whole", "--longest", "3", "--dtype", "float32")
    (whole,) = read_all(tmp_path / "whole")
    torch.testing.assert_close(clips[0].video, whole.video[:, :6], rtol=0, atol=1e-5)
    assert not torch.equal(clips[1].video, clips[0].video)


def test_nothing_to_keep_is_an_error_with_reasons(tmp_path: Path) -> None:
    write_video(tmp_path / "clips" / "a.mkv", noise(25))
    (tmp_path / "clips" / "a.txt").write_text("Hello.")
    with pytest.raises(DataError, match=r"None of the 1 clips can be used\. a\.mkv: a\.mkv has no sound"):
        run(tmp_path / "clips", tmp_path / "set")


# ---- files that do not fit


def without(prefix: str, path: Path, **config: object) -> Path:
    """The tiny random model without a part, and with another config."""
    tensors = {name: value for name, value in load_file(MODEL).items() if not name.startswith(prefix)}
    file = read_model(load_file(MODEL), None, "model")
    text, tensors["unitalking.config"] = config_tensors(replace(file.config, **config))
    save_file(tensors, path, metadata={"unitalking": text})
    return path


@pytest.mark.parametrize(
    ("prefix", "config", "options", "message"),
    [
        ("video_vae.", {"video_vae": None}, (), r"m\.safetensors carries no video_vae.*--video-vae FILE, or --comfyui"),
        ("audio_vae.", {"audio_codec": None}, (), r"carries no audio_vae.*give --audio-codec FILE"),
        ("text_encoder.", {"text_encoder": None}, (), r"carries no text encoder.*--comfyui FOLDER --text-encoder FILE"),
        ("text_encoder.", {"fps": 25.0}, (), "the model that the data"),
    ],
)
def test_a_model_without_a_part_says_what_to_give(
    prefix: str, config: dict[str, object], options: tuple[str, ...], message: str, folder: Path, tmp_path: Path
) -> None:
    model = without(prefix, tmp_path / "m.safetensors", **config)
    if "fps" in config:
        run(folder, tmp_path / "set", model=model)  # the text encoder is not needed: training encodes prompts itself
        assert Shards(tmp_path / "set").info.fps == 25
        return
    with pytest.raises(ValueError, match=message):
        run(folder, tmp_path / "set", *options, model=model)


def test_parts_may_come_from_other_files_of_the_same_rates(folder: Path, tmp_path: Path) -> None:
    bare = without("video_vae.", tmp_path / "bare.safetensors", video_vae=None)
    run(folder, tmp_path / "a", "--video-vae", str(MODEL), model=bare)
    run(folder, tmp_path / "b")
    assert {n: d for n, d in contents(tmp_path / "a").items() if n.endswith(".tar")} == {
        n: d for n, d in contents(tmp_path / "b").items() if n.endswith(".tar")
    }
    other = without("nothing", tmp_path / "other.safetensors", hop=128)
    with pytest.raises(ValueError, match=r"other\.safetensors: its audio_vae is for another model \(hop 128"):
        run(folder, tmp_path / "c", "--audio-codec", str(other))


def write_recipe(path: Path, **model: object) -> Path:
    """A recipe of a model that does not exist yet."""
    trainer = {"steps": 1, "batch_size": 1}
    recipe = {"kind": "flow", "data": "d", "folder": "r", "tasks": {"tts": {"weight": 1}}, "trainer": trainer}
    path.write_text(yaml.safe_dump(recipe | {"model": model}))
    return path


def test_a_recipe_says_what_a_data_set_is_for(folder: Path, tmp_path: Path) -> None:
    """As the file that it starts from, or as the config of a fresh model with the codecs of a bundle."""
    config = to_mapping(read_model(load_file(MODEL), None, "model").config)
    fresh = {**config, "dim": 48, "video_vae": None, "audio_codec": None}
    run(folder, tmp_path / "file")
    for name, model in (("start", {"start": str(MODEL)}), ("fresh", {"config": fresh, "codecs": str(MODEL)})):
        run(folder, tmp_path / name, model=write_recipe(tmp_path / f"{name}.yaml", **model))
        assert contents(tmp_path / name) == contents(tmp_path / "file")
    bare = write_recipe(tmp_path / "bare.yaml", config=fresh)
    with pytest.raises(ValueError, match="recipe's model has no codecs: give --video-vae FILE"):
        run(folder, tmp_path / "bare", model=bare)
    with pytest.raises(RuntimeError, match=r"nothing: no such recipe"):
        run(folder, tmp_path / "none", model=Path("nothing"))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "there is no such file"),
        (b"", "cannot be read as safetensors"),
        (b"x" * 5000, "cannot be read as safetensors"),
        ({"decoder.upsamples.0.x": torch.zeros(1)}, "is a Wan video VAE, without a UniTalking config"),
    ],
)
def test_a_file_that_is_no_model_is_named(
    contents: bytes | dict[str, torch.Tensor] | None, message: str, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    if isinstance(contents, dict):
        save_file(contents, path)
    elif contents is not None:
        path.write_bytes(contents)
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{message}"):
        run(folder, tmp_path / "set", model=path)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "100x64"), "--size 100x64: expected multiples of 32 pixels"),
        (("--size", "big"), "--size big: expected WIDTHxHEIGHT"),
        (("--shard-clips", "0"), "--shard-clips: got 0, expected at least 1"),
        (("--longest", "0.1"), "--longest: got 0.1, expected at least --shortest = 0.5"),
        (("--comfyui", "/nowhere"), "expected the folder of a ComfyUI"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error_before_anything_is_written(
    options: tuple[str, ...], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), str(tmp_path / "set"), "--model", str(MODEL), *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_missing_library_is_named_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    assert main([str(folder), str(tmp_path / "set"), "--model", str(MODEL), "--size", "64x64"]) == 1
    assert "pip install -r requirements-train.txt" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_rows_of_zeros_after_an_embedding_are_not_stored() -> None:
    embedded = torch.zeros(6, 4)
    embedded[[0, 2]] = 1.5  # a row of zeros between stays
    encoders = load_encoders(EncoderFiles(str(MODEL)), audio_only=True)
    assert encoders.encode_text("training encodes the prompts of this model itself") is None
    cached = replace(encoders, text=lambda prompt: embedded * len(prompt)).encode_text("ab")
    assert torch.equal(cached, embedded[:3].half() * 2)
    assert replace(encoders, text=lambda prompt: torch.zeros(5, 4)).encode_text("").shape == (1, 4)


def test_the_command_says_what_it_made(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "3.txt").unlink()
    assert main([str(folder), str(tmp_path / "set"), "--model", str(MODEL), "--size", "64x64"]) == 0
    said = capsys.readouterr().out
    assert "4 clips in 1 shards" in said
    assert "per second" in said
    assert "1 clips left out" in said
    assert "1 x no text" in said
