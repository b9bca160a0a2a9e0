"""Shards of cached latents: what is written is read back, by position, by plain webdataset, and damage is named."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import webdataset
from dataset_files import INFO, make_clip, write_dataset

from unitalking.config import UniTalkingConfig
from unitalking.training import shard_writer
from unitalking.training.dataset import DataError, EncoderInfo, check_model, encoder_info, fingerprint
from unitalking.training.shard_writer import ShardWriter
from unitalking.training.shards import OPEN_SHARDS, CachedClip, Shards, decode_sample


def same(left: CachedClip, right: CachedClip) -> bool:
    """Whether two clips are equal bit by bit, dtypes included."""
    tensors = (left.tensors(), right.tensors())
    texts = [{f.name: value for f in fields(clip)
              if isinstance(value := getattr(clip, f.name), str | int) or f.name == "spoken"}
             for clip in (left, right)]  # fmt: skip
    return (
        texts[0] == texts[1]
        and list(tensors[0]) == list(tensors[1])
        and all(
            a.dtype == tensors[1][name].dtype and torch.equal(a, tensors[1][name]) for name, a in tensors[0].items()
        )
    )


@pytest.fixture
def clips() -> list[CachedClip]:
    """Seven clips, one without picture, one without references, one with a context, one in bfloat16."""
    made = [make_clip(number) for number in range(7)]
    made[1] = make_clip(1, video=False)
    made[2] = make_clip(2, references=0)
    made[3] = make_clip(3, references=3, context=6)
    made[4] = make_clip(4, dtype=torch.bfloat16)
    return made


def test_every_clip_comes_back_bit_by_bit_in_any_order(clips: list[CachedClip], tmp_path: Path) -> None:
    shards = Shards(write_dataset(tmp_path, clips))
    assert len(shards) == 7
    assert [shard.samples for shard in shards.info.shards] == [3, 3, 1]
    for position in (6, 0, 3, 3, 1, 5, 2, 4):
        assert same(shards.read(position), clips[position])


def test_table_tells_what_reading_would(clips: list[CachedClip], tmp_path: Path) -> None:
    shards = Shards(write_dataset(tmp_path, clips))
    table = shards.table
    for position, clip in enumerate(clips):
        video = (0, 0, 0) if clip.video is None else tuple(clip.video.shape[1:])
        assert (table.latent_frames[position], table.height[position], table.width[position]) == video
        assert table.frames[position] == clip.frames
        assert table.audio_latents[position] == clip.audio.shape[1]
        assert table.references[position] == len(clip.references)
        assert table.context_rows[position] == (0 if clip.context is None else len(clip.context))
        speaker = table.speaker[position]
        assert (shards.speakers[speaker] if speaker >= 0 else "") == clip.speaker
    assert shards.speakers == ("voice 0", "voice 1")


def test_plain_webdataset_reads_the_same_clips(clips: list[CachedClip], tmp_path: Path) -> None:
    write_dataset(tmp_path, clips)
    urls = sorted(str(path) for path in tmp_path.glob("*.tar"))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [clip.key for clip in clips]
    for sample, clip in zip(samples, clips, strict=True):
        assert same(decode_sample(sample["__key__"], sample), clip)


def test_the_same_clips_give_the_same_bytes(clips: list[CachedClip], tmp_path: Path) -> None:
    first, second = (write_dataset(tmp_path / name, clips) for name in ("first", "second"))
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 7
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_shard_is_complete_at_so_many_bytes(tmp_path: Path) -> None:
    clips = [make_clip(number) for number in range(6)]
    with ShardWriter(tmp_path, max_bytes=2500) as writer:
        for clip in clips:
            writer.add(clip)
    assert len(writer.written) > 1
    assert sum(shard.samples for shard in writer.written) == 6
    assert {path.suffix for path in tmp_path.iterdir()} == {".tar", ".json"}


def test_one_clip_larger_than_a_shard_has_a_shard_of_its_own(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, max_bytes=1) as writer:
        for number in range(3):
            writer.add(make_clip(number))
    assert [shard.samples for shard in writer.written] == [1, 1, 1]


def _read_all(shards: Shards, positions: list[int], results: multiprocessing.Queue) -> None:
    try:
        results.put([shards.read(position).speech for position in positions])
    except DataError as error:
        results.put([str(error)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on Unix alone")
def test_forked_processes_that_share_open_files_do_not_disturb_each_other(tmp_path: Path) -> None:
    shards = Shards(write_dataset(tmp_path, [make_clip(number) for number in range(40)], per_shard=40))
    shards.read(0)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    orders = [torch.randperm(40, generator=torch.Generator().manual_seed(seed)).tolist() * 5 for seed in range(3)]
    workers = [context.Process(target=_read_all, args=(shards, order, results)) for order in orders]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    expected = [[f"word {position}" for position in order] for order in orders]
    assert sorted(found) == sorted(expected)
    # The position is what processes share: reading must not use it.
    assert [os.lseek(file, 0, os.SEEK_CUR) for file in shards._files.values()] == [0]


def readable(shards: Shards, position: int, clip: CachedClip) -> bool:
    """Whether a clip comes back; not through a file number of another object."""
    try:
        return same(shards.read(position), clip)
    except (OSError, DataError):
        return False


def test_pickled_shards_open_their_own_files(clips: list[CachedClip], tmp_path: Path) -> None:
    shards = Shards(write_dataset(tmp_path, clips))
    shards.read(0)
    copy = pickle.loads(pickle.dumps(shards))
    shards.close()
    for position in (0, 6):
        assert readable(copy, position, clips[position])
        assert readable(shards, position, clips[position])


def test_only_so_many_files_are_open_at_once(tmp_path: Path) -> None:
    count = OPEN_SHARDS + 5
    shards = Shards(write_dataset(tmp_path, [make_clip(number) for number in range(count)], per_shard=1))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for position in [*range(count), *range(count)]:
        assert shards.read(position).speech == f"word {position}"
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) - before == OPEN_SHARDS


# ---- damage


def test_a_cut_off_shard_is_named_when_the_data_set_is_opened(clips: list[CachedClip], tmp_path: Path) -> None:
    write_dataset(tmp_path, clips)
    path = tmp_path / "000000-01.tar"
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(DataError, match=r"000000-01\.tar is damaged.*Delete it and run the command"):
        Shards(tmp_path)


def test_a_changed_byte_is_found_in_the_clip_that_it_is_in(clips: list[CachedClip], tmp_path: Path) -> None:
    shards = Shards(write_dataset(tmp_path, clips))
    path = tmp_path / "000000-01.tar"
    data = bytearray(path.read_bytes())
    position, size, _ = shards.table.members[4, 0]
    data[position + size - 3] ^= 1
    path.write_bytes(data)
    assert same(shards.read(3), clips[3])
    with pytest.raises(DataError, match=r"000000-01\.tar is damaged, found at clip 00000004: its contents changed"):
        shards.read(4)


def test_a_shard_cut_off_while_training_is_named_with_the_clip(clips: list[CachedClip], tmp_path: Path) -> None:
    shards = Shards(write_dataset(tmp_path, clips))
    path = tmp_path / "000000-02.tar"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"000000-02\.tar.*clip 00000006: the file ends too early"):
        shards.read(6)


def test_a_missing_shard_is_named(clips: list[CachedClip], tmp_path: Path) -> None:
    write_dataset(tmp_path, clips)
    (tmp_path / "000000-00.tar").unlink()
    with pytest.raises(DataError, match=r"000000-00\.tar is missing. Run the command"):
        Shards(tmp_path)


@pytest.mark.parametrize("change", ["removed", "no json", "of another shard"])
def test_a_wrong_index_is_named(clips: list[CachedClip], tmp_path: Path, change: str) -> None:
    write_dataset(tmp_path, clips)
    path = tmp_path / "000000-01.json"
    if change == "removed":
        path.unlink()
    elif change == "no json":
        path.write_text(path.read_text()[:-20])
    else:
        path.write_bytes((tmp_path / "000000-02.json").read_bytes())
    with pytest.raises(DataError, match=r"000000-01\.json"):
        Shards(tmp_path)


def test_two_clips_of_one_name_are_refused_in_a_shard_and_in_a_data_set(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        writer.add(make_clip(1))
        with pytest.raises(ValueError, match=r"00000001.*keys must differ"):
            writer.add(make_clip(1))
    write_dataset(tmp_path / "set", [make_clip(number) for number in (1, 2, 3, 1)])
    with pytest.raises(DataError, match="named twice: 00000001"):
        Shards(tmp_path / "set")


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (replace(make_clip(1), key="a.b"), "without dots"),
        (replace(make_clip(1), video=None, audio=None), "neither picture nor sound"),
        (replace(make_clip(1), audio=torch.full((2, 3), float("inf"))), "NaN or Inf.*dtype bfloat16"),
        (replace(make_clip(1), video=torch.zeros(3, 2, 2)), "video latents of shape"),
        (replace(make_clip(1), audio=torch.zeros(2, 0)), "audio latents of shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_clip_that_training_could_not_use_is_not_written(clip: CachedClip, message: str, tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer, pytest.raises(ValueError, match=message):
        writer.add(clip)
    assert not writer.written


class FullDisk:
    """A file on a disk with room for so many bytes; the rest fails as the system fails."""

    def __init__(self, path: Path, room: int) -> None:
        self.file, self.room = path.open("wb", buffering=0), room

    def write(self, data: bytes) -> int:
        """Writes, while there is room."""
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


def _write(writer: ShardWriter, clips: list[CachedClip]) -> None:
    for clip in clips:
        writer.add(clip)
    writer.close()


def test_a_full_disk_is_named_and_complete_shards_survive(
    clips: list[CachedClip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ShardWriter(tmp_path, max_samples=3)
    for clip in clips[:4]:
        writer.add(clip)
    kept = [(path, path.read_bytes()) for path in sorted(tmp_path.glob("shard-00.*"))]
    assert len(kept) == 2
    # What the first member of the next clip needs is more than what is left.
    full = FullDisk(Path(os.devnull), 100)
    monkeypatch.setattr(writer._tar.tarstream.fileobj, "fileobj", full)
    with pytest.raises(OSError, match=r"disk is full.*shards that are complete are kept") as caught:
        _write(writer, clips[4:])
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path)
    assert [(path, path.read_bytes()) for path in sorted(tmp_path.iterdir())] == kept


def test_a_full_disk_while_the_index_is_written_leaves_no_half_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = ShardWriter(tmp_path)
    writer.add(make_clip(1))
    monkeypatch.setattr(shard_writer.os, "fsync", fail)
    with pytest.raises(OSError, match="disk is full"):
        writer.close()
    assert not list(tmp_path.iterdir())
    assert not writer.written


def test_a_failure_between_clips_leaves_complete_shards_alone(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ShardWriter(tmp_path, max_samples=2) as writer:
            for number in range(3):
                writer.add(make_clip(number))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shard-00.json", "shard-00.tar"]


# ---- the description


def test_a_folder_without_description_is_no_finished_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no finished data set"):
        Shards(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format_version": 2}, "update the pack"), ({"surprise": 1}, "unknown key"), ({"clips": "many"}, "clips")],
)
def test_a_description_of_another_version_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, [make_clip(1)])
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        Shards(tmp_path)


def test_statistics_and_preview_factors_are_those_of_a_models_file(tmp_path: Path) -> None:
    tensors = Shards(write_dataset(tmp_path, [make_clip(1)])).info.tensors()
    assert sorted(tensors) == [
        *("latents.audio.mean", "latents.audio.std", "latents.video.mean", "latents.video.rgb", "latents.video.std"),
    ]
    assert tensors["latents.video.std"].tolist() == [1.0, 2.0, 3.0]
    assert tuple(tensors["latents.video.rgb"].shape) == (4, 3)


def test_the_empty_prompts_embedding_is_there_where_embeddings_are_cached(tmp_path: Path) -> None:
    clip = make_clip(1, context=2)
    without = Shards(write_dataset(tmp_path / "without", [clip]))
    cached = Shards(write_dataset(tmp_path / "with", [clip], info=replace(INFO, text_encoder=EncoderInfo("c" * 64))))
    assert without.empty_context is None
    assert torch.equal(cached.empty_context, torch.ones(1, 4))
    (tmp_path / "with" / "empty_context.safetensors").unlink()
    with pytest.raises(DataError, match=r"empty_context\.safetensors cannot be read"):
        _ = Shards(tmp_path / "with").empty_context


MODEL = UniTalkingConfig(in_dim=3, out_dim=3, audio_channels=2, sample_rate=16000, hop=256)


def test_a_model_that_fits_is_accepted() -> None:
    check_model(Path("set"), INFO, MODEL, INFO.video_codec, INFO.audio_codec)
    check_model(Path("set"), INFO, MODEL)


@pytest.mark.parametrize(
    ("config", "codecs", "message"),
    [
        (replace(MODEL, fps=25), (), "fps 24 instead of 25"),
        (replace(MODEL, sample_rate=44100), (), "sample_rate 16000 instead of 44100"),
        (replace(MODEL, in_dim=24, out_dim=24), (), "video_channels 3 instead of 24"),
        (replace(MODEL, prompt_style="plain"), (), "prompt_style tagged instead of plain"),
        (MODEL, (EncoderInfo("d" * 64),), r"picture codec's weights .*model\.safetensors.*prepare SOURCE OUT"),
        (MODEL, (None, EncoderInfo("d" * 64)), "sound codec's weights"),
    ],
)
def test_a_data_set_made_for_another_model_is_refused(
    config: UniTalkingConfig, codecs: tuple[EncoderInfo, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_model(Path("set"), INFO, config, *codecs)


def test_fingerprint_follows_values_names_and_shapes_and_not_their_storage() -> None:
    tensors = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3.0]])}
    known = fingerprint(tensors)
    assert fingerprint({"b": tensors["b"].half(), "a": tensors["a"].bfloat16()}) == known
    others = [
        {**tensors, "a": torch.tensor([1.0, 2.0001])},
        {"a": tensors["a"], "c": tensors["b"]},
        {**tensors, "b": torch.tensor([3.0])},
    ]
    assert len({known, *map(fingerprint, others)}) == 4


def test_decoders_may_be_trained_further_without_making_the_data_set_anew() -> None:
    tensors = {"encoder.w": torch.ones(2), "decoder.w": torch.ones(2)}
    sound = {"vae.encoder.w": torch.ones(2), "vae.data_mean": torch.ones(1), "vocoder.w": torch.ones(3)}
    for part, weights, free, fixed in (
        ("video_vae", tensors, "decoder.w", "encoder.w"),
        ("audio_vae", sound, "vocoder.w", "vae.data_mean"),
    ):
        known = encoder_info(part, MODEL, weights).fingerprint
        assert encoder_info(part, MODEL, {**weights, free: torch.zeros(2)}).fingerprint == known
        assert encoder_info(part, MODEL, {**weights, fixed: torch.zeros(2)}).fingerprint != known
