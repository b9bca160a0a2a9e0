"""UMT5-xxl of a few numbers: the host's own classes, which its loader takes for files of the real sizes alone."""

from __future__ import annotations

import importlib
import io
from typing import Any

import torch

SIZES = {"num_layers": 2, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4, "vocab_size": 400}
END = 1
TEXTS = (
    "A woman in a room says <S>Hello there, it is good to meet you.<E> while it rains & blows.",
    "the quick brown fox jumps over the lazy dog; 1 < 2 and 3 > 2 (very:1.3) &amp;lt; &nbsp;",
)


def vocabulary() -> bytes:
    """A sentencepiece model with UMT5's ids for padding, end and unknown.

    It takes text as it comes, white space included, so that tokens show whether somebody cleaned it.
    """
    trainer = importlib.import_module("sentencepiece").SentencePieceTrainer
    model = io.BytesIO()
    ids = {"pad_id": 0, "eos_id": END, "unk_id": 2, "bos_id": -1}
    as_it_comes = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}
    trainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=model,
        vocab_size=SIZES["vocab_size"],
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
        **as_it_comes,
    )
    return model.getvalue()


def tiny_umt5() -> Any:
    """The host's CLIP of UMT5-xxl at these sizes, with random weights."""
    wan = importlib.import_module("comfy.text_encoders.wan")
    target = importlib.import_module("comfy.supported_models_base").ClipTarget(wan.WanT5Tokenizer, wan.te())
    spiece = torch.tensor(list(vocabulary()), dtype=torch.uint8)
    clip = importlib.import_module("comfy.sd").CLIP(
        target,
        tokenizer_data={"spiece_model": spiece},
        model_options={"umt5xxl_model_config": SIZES, "dtype": torch.float32},
    )
    generator = torch.Generator().manual_seed(0)
    for value in clip.cond_stage_model.umt5xxl.transformer.requires_grad_(False).parameters():
        value.normal_(std=0.3, generator=generator)
    return clip
