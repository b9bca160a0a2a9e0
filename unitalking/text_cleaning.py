"""Text as UMT5 was given it when Wan2.2 was trained."""

from __future__ import annotations

import html
import importlib


def clean_text(text: str) -> str:
    """A prompt with entities decoded and white space collapsed; broken characters mended where ftfy is installed.

    Entities are decoded twice, as in `&amp;lt;`. Without ftfy, wrongly decoded and full-width characters stay.
    Source: Wan2.2.
    """
    try:
        mend = importlib.import_module("ftfy").fix_text
    except ImportError:  # optional, and not among what the host installs
        mend = str
    return " ".join(html.unescape(html.unescape(mend(text))).split())
