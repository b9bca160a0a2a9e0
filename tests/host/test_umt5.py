"""Text Prompt on UMT5: cleaned text, 512 rows, zeros after the end; the encoder of bytes gets its text as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lab import Lab
from tiny_umt5 import END, SIZES, tiny_umt5
from torch import Tensor

ROWS, WIDTH = 512, SIZES["d_model"]
PICTURE = ("clip &amp;amp; frame\u00a0jitter,\n\n bad\thands ", "clip & frame jitter, bad hands")
SOUND = ("&amp;lt;robot&gt;  voice", "<robot> voice")
SPEECH = ("it&#39;s &amp;lt; 2", "it's < 2")


@pytest.fixture(scope="module")
def umt5(loaded_lab: Lab) -> Any:
    """The host's CLIP of a small UMT5."""
    return tiny_umt5()


@pytest.fixture(scope="module")
def full_model(loaded_lab: Lab) -> Any:
    """A MODEL that takes UMT5's rows."""
    config = loaded_lab.make_config(text_dim=WIDTH, text_len=ROWS, text_encoder=None)
    return loaded_lab.load(loaded_lab.write("umt5_model.safetensors", config))


def prompted(lab: Lab, model: Any, clip: Any, speech: str = SPEECH[0]) -> tuple:
    texts = {"scene": "a man", "sound": "", "negative_picture": PICTURE[0], "negative_sound": SOUND[0]}
    return lab.pack("nodes.conditioning").TextPrompt.execute(model, clip, speech, **texts, prompt_style="tagged").args


def rows(clip: Any, text: str) -> Tensor:
    """What the host makes of a text by itself."""
    return clip.encode_from_tokens(clip.tokenize(text, disable_weights=True))


def ids(clip: Any, text: str) -> list[int]:
    (row,) = clip.tokenize(text, disable_weights=True)["umt5xxl"]
    return [token[0] for token in row]


def test_the_vocabulary_tells_cleaned_text_from_uncleaned(umt5: Any, loaded_lab: Lab) -> None:
    """What the tests below stand on."""
    for given, cleaned in (PICTURE, SOUND, SPEECH):
        assert ids(umt5, given) != ids(umt5, cleaned)
        assert not torch.equal(rows(umt5, given), rows(umt5, cleaned))


def test_umt5_gets_cleaned_text(lab: Lab, full_model: Any, umt5: Any) -> None:
    positive, negative, *_ = prompted(lab, full_model, umt5)
    assert torch.equal(positive[0][0], rows(umt5, f"a man <S>{SPEECH[1]}<E>"))
    assert torch.equal(negative[0][0], rows(umt5, PICTURE[1]))
    assert torch.equal(negative[0][1]["unitalking_audio_context"], rows(umt5, SOUND[1]))


def test_tags_reach_umt5(lab: Lab, full_model: Any, umt5: Any) -> None:
    (context, _), *_ = prompted(lab, full_model, umt5, "Hello there.")[0]
    assert torch.equal(context, rows(umt5, "a man <S>Hello there.<E>"))
    assert not torch.equal(context, rows(umt5, "a man Hello there."))


def test_text_is_512_rows_with_zeros_after_its_end(lab: Lab, full_model: Any, umt5: Any) -> None:
    encode = lab.pack("nodes.conditioning").encode_text
    for text in ("", "Hello there."):
        context = encode(umt5, text, full_model.model.unitalking, "prompt", [])[0][0]
        length = ids(umt5, text).index(END) + 1
        assert context.shape == (1, ROWS, WIDTH)
        assert bool(context[:, :length].any(dim=-1).all())
        assert not context[:, length:].any()


@pytest.mark.parametrize("words", [400, 900])
def test_too_long_a_text_keeps_512_tokens_and_its_end(lab: Lab, full_model: Any, umt5: Any, words: int) -> None:
    text = "yes, no " * words
    whole, notes = ids(umt5, text.strip()), []
    assert len(whole) > ROWS
    assert whole[-1] == END
    config = full_model.model.unitalking
    context = lab.pack("nodes.conditioning").encode_text(umt5, text, config, "prompt", notes)[0][0]
    kept = {"umt5xxl": [[(token, 1.0) for token in [*whole[: ROWS - 1], END]]]}
    assert context.shape == (1, ROWS, WIDTH)
    assert torch.equal(context, umt5.encode_from_tokens(kept))
    assert notes == [f"prompt: {len(whole) - ROWS} tokens too long, cut to 512"]


def test_the_encoder_of_bytes_gets_text_as_it_is(lab: Lab) -> None:
    encode = lab.pack("nodes.conditioning").encode_text
    short = "a&lt;  b"
    context = encode(lab.clip, short, lab.config, "prompt", [])[0][0]
    assert context.shape[1] == len(short) + 1
    assert torch.equal(context, rows(lab.clip, short))
