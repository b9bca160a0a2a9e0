"""The paper's metrics, on small stand-in weights and hand-made embeddings."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from unitalking.evaluation.full_size.mfcc import mfcc
from unitalking.evaluation.full_size.report import FullSizeJudges
from unitalking.evaluation.full_size.speech_models import WavLMVoices, WhisperWords, cut_at_pauses, text_errors
from unitalking.evaluation.full_size.syncnet import SyncNet, at_25_fps, compare, load_syncnet
from unitalking.evaluation.sync import sync

WINDOWS = 40


def plain_mfcc(waveform: np.ndarray) -> np.ndarray:
    """One window and one coefficient after the other."""
    signal = np.round(waveform.astype(np.float64) * 32768)
    emphasised = [signal[0]] + [signal[place] - 0.97 * signal[place - 1] for place in range(1, len(signal))]
    mel_edges = np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 28)
    bins = [math.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16000) for mel in mel_edges]
    columns = []
    for start in range(0, len(signal) - 399, 160):
        window = np.zeros(512)
        window[:400] = emphasised[start : start + 400]
        power = np.abs(np.fft.fft(window))[:257] ** 2 / 512
        bands = []
        for low, middle, high in zip(bins, bins[1:], bins[2:], strict=False):
            total = sum(power[k] * (k - low) / (middle - low) for k in range(low, middle))
            bands.append(math.log(total + sum(power[k] * (high - k) / (high - middle) for k in range(middle, high))))
        column = [math.log(power.sum())]
        for order in range(1, 13):
            total = sum(band * math.cos(math.pi * order * (n + 0.5) / 26) for n, band in enumerate(bands))
            column.append(total * math.sqrt(2 / 26) * (1 + 11 * math.sin(math.pi * order / 22)))
        columns.append(column)
    return np.array(columns).T


def test_cepstra_equal_the_plain_derivation() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 400 + 7 * 160)
    np.testing.assert_allclose(mfcc(waveform), plain_mfcc(waveform), rtol=1e-9)


def test_cepstra_have_100_frames_a_second_and_fill_up_the_last() -> None:
    assert mfcc(np.ones(16000)).shape == (13, 99)
    assert mfcc(np.ones(100)).shape == (13, 1)


def test_cepstra_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="not empty"):
        mfcc(np.zeros(0))


def embeddings(shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures' embeddings, and sound whose window t + shift belongs to picture t."""
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(WINDOWS, 64, generator=generator)
    heard = torch.zeros_like(seen)
    for place in range(WINDOWS):
        if 0 <= place + shift < WINDOWS:
            heard[place + shift] = seen[place] + 0.3 * torch.randn(64, generator=generator)
    return seen, heard


@pytest.mark.parametrize("shift", [-6, -1, 0, 3, 9])
def test_offset_is_how_early_the_sound_is(shift: int) -> None:
    assert compare(*embeddings(shift)).offset == -shift


def test_fitting_embeddings_score_better_than_shuffled_ones() -> None:
    seen, heard = embeddings(0)
    fitting = compare(seen, heard)
    shuffled = compare(seen, heard[torch.randperm(WINDOWS, generator=torch.Generator().manual_seed(1))])
    assert fitting.confidence > 3 * shuffled.confidence
    assert fitting.distance < 0.6 * shuffled.distance


def test_scores_equal_the_plain_derivation() -> None:
    seen, heard = (torch.randn(15, 8, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3))
    means = []
    for offset in range(-10, 11):
        distances = []
        for place in range(15):
            partner = heard[place + offset] if 0 <= place + offset < 15 else torch.zeros(8)
            distances.append(
                math.sqrt(sum((float(a) - float(b) + 1e-6) ** 2 for a, b in zip(seen[place], partner, strict=True)))
            )
        means.append(sum(distances) / 15)
    score = compare(seen, heard)
    assert score.distance == pytest.approx(min(means), rel=1e-5)
    assert score.confidence == pytest.approx(sorted(means)[10] - min(means), rel=1e-4)


def test_syncnet_has_the_published_names_and_shapes() -> None:
    shapes = {name: tuple(value.shape) for name, value in SyncNet().state_dict().items()}
    assert len(shapes) == 102
    assert shapes["netcnnaud.0.weight"] == (64, 1, 3, 3)
    assert shapes["netcnnaud.18.weight"] == (512, 256, 5, 4)
    assert shapes["netcnnaud.19.running_var"] == (512,)
    assert shapes["netcnnlip.0.weight"] == (96, 3, 5, 7, 7)
    assert shapes["netcnnlip.18.weight"] == (512, 256, 1, 6, 6)
    assert shapes["netfcaud.3.weight"] == shapes["netfclip.3.weight"] == (1024, 512)


@pytest.fixture(scope="module")
def syncnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("syncnet")
    torch.manual_seed(0)
    torch.save(SyncNet().state_dict(), folder / "syncnet_v2.model")
    return folder


def test_syncnet_judges_a_clip(syncnet_folder: Path) -> None:
    frames = torch.randint(0, 256, (7, 40, 40, 3), dtype=torch.uint8)
    score = load_syncnet(syncnet_folder).score(frames, 25.0, torch.randn(7 * 640) * 0.1)
    assert math.isfinite(score.confidence)
    assert score.distance > 0


def test_too_short_a_clip_has_no_verdict(syncnet_folder: Path, wavlm_folder: Path) -> None:
    network = load_syncnet(syncnet_folder)
    assert network.score(torch.zeros(5, 8, 8, 3, dtype=torch.uint8), 25.0, torch.zeros(9600)) is None
    assert network.score(torch.zeros(25, 8, 8, 3, dtype=torch.uint8), 240.0, torch.zeros(9600)) is None
    assert network.score(torch.zeros(25, 8, 8, 3, dtype=torch.uint8), 25.0, torch.zeros(3839)) is None
    judges = FullSizeJudges(wavlm_folder.parent)
    assert judges.judge(torch.zeros(7999), reference=torch.zeros(9600)).speaker is None
    assert judges.judge(torch.zeros(9600), reference=torch.zeros(7999)).speaker is None
    assert judges.judge(torch.zeros(8000), reference=torch.zeros(8000)).speaker is not None


class Taken:
    """Pictures that note how many of them are taken at once."""

    def __init__(self, frames: torch.Tensor) -> None:
        self.frames, self.shape, self.most = frames, frames.shape, 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, part: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(part))
        return self.frames[part]


def test_syncnet_takes_a_few_frames_at_a_time(syncnet_folder: Path) -> None:
    network, sound = load_syncnet(syncnet_folder), 0.1 * torch.randn(27 * 640)
    pictures = Taken(torch.randint(0, 256, (27, 16, 16, 3), dtype=torch.uint8))
    found = network.score(pictures, 25.0, sound)
    assert pictures.most == 24
    faces = pictures.frames.flip(-1).permute(0, 3, 1, 2).float()
    faces = torch.nn.functional.interpolate(faces, (224, 224), mode="bilinear", antialias=True)
    cepstra = torch.from_numpy(mfcc(sound.numpy())).float()
    with torch.no_grad():
        seen = torch.cat([network.see(faces[start : start + 5].transpose(0, 1)[None]) for start in range(22)])
        heard = torch.cat([network.hear(cepstra[None, None, :, 4 * start : 4 * start + 20]) for start in range(22)])
    plain = compare(seen, heard)
    assert found.offset == plain.offset
    assert found.confidence == pytest.approx(plain.confidence, abs=1e-4)
    assert found.distance == pytest.approx(plain.distance, rel=1e-4)


@pytest.mark.parametrize("lag", [-6, 4])
def test_offset_and_lag_have_one_sign(lag: int) -> None:
    track = np.random.default_rng(0).normal(size=80)
    content = torch.randn(80, 64, generator=torch.Generator().manual_seed(0))
    assert sync(track[10 - lag : 70 - lag], track[10:70]).lag == lag
    assert compare(content[10 - lag : 70 - lag], content[10:70]).offset == lag


def test_another_file_in_syncnets_place_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "syncnet_v2.model")
    with pytest.raises(ValueError, match="not the published weights of SyncNet"):
        load_syncnet(tmp_path)
    (tmp_path / "syncnet_v2.model").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="not the published weights of SyncNet"):
        load_syncnet(tmp_path)


def test_24_fps_become_25_by_repeating_frames() -> None:
    shown = at_25_fps(48, 24.0)
    assert len(shown) == 50
    assert shown.diff().min() >= 0
    assert (shown / 24 - torch.arange(50) / 25).abs().max() <= 0.5 / 24 + 1e-6


def test_text_errors_ignore_case_and_punctuation() -> None:
    assert text_errors(" Hello, World! It’s me.", "hello world it's me").wrong == 0
    assert text_errors("hello word", "Hello world").rate == 0.5


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Whisper with random weights, saved as the hub has them."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models") / "whisper"
    vocabulary = {f"<0x{byte:02X}>" if byte < 33 else chr(byte): byte for byte in range(127)}
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    numbers = {token: tokenizer.convert_tokens_to_ids(token) for token in special}
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    start, end = numbers["<|startoftranscript|>"], numbers["<|endoftext|>"]
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=start,
        bos_token_id=end, eos_token_id=end, pad_token_id=end, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def wavlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny WavLM with random weights."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models") / "wavlm"
    config = transformers.WavLMConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_kernel=(10, 8), conv_stride=(10, 32), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        tdnn_dim=(16, 16), tdnn_kernel=(3, 1), tdnn_dilation=(1, 1), xvector_output_dim=12, num_feat_extract_layers=2,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.WavLMForXVector(config).save_pretrained(folder, safe_serialization=True)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def test_whisper_transcribes_from_a_local_folder(whisper_folder: Path) -> None:
    judge = WhisperWords(whisper_folder)
    waveform = torch.randn(16000, generator=torch.Generator().manual_seed(0)) * 0.1
    assert isinstance(judge.transcribe(waveform), str)
    assert judge.errors(waveform, "seven words that it cannot have heard").total == 7


def test_wavlm_finds_a_voice_like_itself(wavlm_folder: Path) -> None:
    judge = WavLMVoices(wavlm_folder)
    waveform = torch.randn(16000, generator=torch.Generator().manual_seed(0)) * 0.1
    assert judge.similarity(waveform, waveform) == pytest.approx(1.0, abs=1e-5)
    assert judge.similarity(waveform, waveform[:8000] ** 3) < 1.0


def test_long_recordings_are_heard_in_parts_that_end_in_pauses(whisper_folder: Path, wavlm_folder: Path) -> None:
    waveform = 0.1 * torch.randn(70 * 16000, generator=torch.Generator().manual_seed(0))
    for begin_s in (27.0, 54.5):
        waveform[round(begin_s * 16000) :][:3200] = 0.0
    parts = cut_at_pauses(waveform)
    assert torch.equal(torch.cat(parts), waveform)
    ends_s = np.cumsum([len(part) / 16000 for part in parts])
    assert 27.0 < ends_s[0] < 27.2
    assert 54.5 < ends_s[1] < 54.7
    assert len(parts) == 3
    judge = WhisperWords(whisper_folder)
    assert judge.transcribe(waveform) == " ".join(judge.transcribe(part) for part in parts)
    voices = WavLMVoices(wavlm_folder)
    mean = torch.stack([voices.embed(part) for part in waveform.chunk(3)]).mean(0)
    torch.testing.assert_close(voices.embed(waveform), mean / mean.norm())


def test_missing_judges_are_named_with_what_is_expected_where(tmp_path: Path) -> None:
    missing = FullSizeJudges(tmp_path).missing
    assert list(missing) == ["sync", "words", "speaker"]
    assert str(tmp_path / "syncnet_v2.model") in missing["sync"]
    assert f"{tmp_path / 'whisper'}/ (a Whisper model" in missing["words"]
    assert f"{tmp_path / 'wavlm'}/ (a WavLM model" in missing["speaker"]


def test_all_judges_of_a_folder_judge_one_clip(
    tmp_path: Path, syncnet_folder: Path, whisper_folder: Path, wavlm_folder: Path
) -> None:
    (tmp_path / "syncnet_v2.model").symlink_to(syncnet_folder / "syncnet_v2.model")
    (tmp_path / "whisper").symlink_to(whisper_folder)
    (tmp_path / "wavlm").symlink_to(wavlm_folder)
    judges = FullSizeJudges(tmp_path)
    waveform = torch.randn(9600, generator=torch.Generator().manual_seed(0)) * 0.1
    frames = torch.zeros(15, 16, 16, 3, dtype=torch.uint8)
    verdict = judges.judge(waveform, "two words", frames, 24.0, waveform)
    assert judges.missing == {}
    assert verdict.sync is not None
    assert verdict.words is not None
    assert verdict.words.total == 2
    assert verdict.speaker == pytest.approx(1.0, abs=1e-5)
