"""Mistakes in reading public audio codecs: normalising, fusing, recognising, finding the other half."""

from __future__ import annotations

UNIT = "tests/unit/checkpoint/test_public_codecs.py::test_"
HOST = "tests/host/test_codec_files.py::test_"

CODECS = "unitalking/checkpoint/public_codecs.py"
FILES = "nodes/codec_files.py"

MISTAKES = [
    # ---- weights
    {
        "name": "public_vae_normalised_twice",
        "file": CODECS,
        "old": "            vae_tensors = normalise_weights(vae_tensors)\n",
        "new": "            vae_tensors = normalise_weights(normalise_weights(vae_tensors))\n",
        "tests": [f"{UNIT}filters_are_normalised_exactly_once[raw]"],
    },
    {
        "name": "public_vae_never_normalised",
        "file": CODECS,
        "old": "        if weights_are_raw(vae_tensors):\n",
        "new": "        if False:\n",
        "tests": [f"{UNIT}filters_are_normalised_exactly_once[raw float16]"],
    },
    {
        "name": "public_vae_normalised_though_baked",
        "file": CODECS,
        "old": "        if weights_are_raw(vae_tensors):\n",
        "new": "        if True:\n",
        "tests": [
            f"{UNIT}filters_are_normalised_exactly_once[baked]",
            f"{UNIT}normalised_weights_in_half_precision_are_taken_as_they_are",
        ],
    },
    {
        "name": "public_codec_cast_before_it_is_made",
        "file": CODECS,
        "old": "return {key: value.float() for key, value in tensors.items()}",
        "new": "return {key: value.bfloat16().float() for key, value in tensors.items()}",
        "tests": [f"{UNIT}filters_are_normalised_exactly_once[baked]"],
    },
    {
        "name": "public_vocoder_fused_over_the_taps_alone",
        "file": "unitalking/codec/vocoder.py",
        "old": "norm = direction.flatten(1).norm(dim=1).view_as(size)",
        "new": "norm = direction.norm(dim=2, keepdim=True)",
        "tests": [f"{UNIT}weight_norm_is_torchs_own_over_the_first_axis"],
    },
    {
        "name": "public_vocoder_fused_over_the_second_axis",
        "file": "unitalking/codec/vocoder.py",
        "old": "norm = direction.flatten(1).norm(dim=1).view_as(size)",
        "new": "norm = direction.norm(dim=(0, 2), keepdim=True)",
        "tests": [f"{UNIT}weight_norm_is_torchs_own_over_the_first_axis"],
    },
    {
        "name": "public_v2_vocoder_with_tanh",
        "file": CODECS,
        "old": '"tanh" if final_bias else "clamp"',
        "new": '"tanh"',
        "tests": [f"{UNIT}v1_ends_in_tanh_and_v2_in_a_clamp[44k]", f"{UNIT}config_is_that_of_the_codec[44k]"],
    },
    # ---- recognising
    {
        "name": "public_vocoder_for_22_khz_accepted",
        "file": CODECS,
        "old": "self.hop == mel.hop and (self.final_bias or mel is not MEL_16K)",
        "new": "self.hop == mel.hop",
        "tests": [f"{UNIT}a_vocoder_of_no_mmaudio_codec_is_refused[22 kHz]"],
    },
    {
        "name": "public_vocoder_of_another_hop_recognised",
        "file": CODECS,
        "old": "self.hop == mel.hop and (self.final_bias or mel is not MEL_16K)",
        "new": "self.final_bias or mel is not MEL_16K",
        "tests": [f"{UNIT}a_vocoder_of_no_mmaudio_codec_is_refused[half the hop]"],
    },
    {
        "name": "public_vae_of_pictures_taken_for_one_of_sound",
        "file": CODECS,
        "old": "if sign not in part or len(shape) != 3:",
        "new": "if sign not in part or not shape:",
        "tests": [f"{UNIT}other_kinds_of_files_hold_no_half"],
    },
    {
        "name": "public_codec_with_a_stranger_inside_accepted",
        "file": CODECS,
        "old": "    if rest:\n",
        "new": "    if False:\n",
        "tests": [f"{UNIT}a_damaged_half_is_refused_by_its_files_name[more]"],
    },
    # ---- files
    {
        "name": "other_half_told_by_its_name",
        "file": FILES,
        "old": "            halves = recognise(read_shapes(other))\n",
        "new": '            halves = recognise(read_shapes(other)) if "vocoder" in listed else {}\n',
        "tests": [f"{HOST}two_other_halves_are_both_named"],
        "host": True,
    },
    {
        "name": "first_of_two_other_halves_taken",
        "file": FILES,
        "old": "    if len(alone) == 1:\n",
        "new": "    if alone:\n",
        "tests": [f"{HOST}two_other_halves_are_both_named"],
        "host": True,
    },
    {
        "name": "other_half_of_any_sample_rate_taken",
        "file": FILES,
        "old": "found.mel is half.mel",
        "new": "True",
        "tests": [f"{HOST}a_missing_half_is_named_with_what_to_do[vae]"],
        "host": True,
    },
    {
        "name": "pickled_code_in_a_codec_run",
        "file": "unitalking/checkpoint/pickles.py",
        "old": "weights_only=True",
        "new": "weights_only=False",
        "tests": [f"{HOST}pickled_code_is_never_run"],
        "host": True,
    },
    {
        "name": "other_half_not_told",
        "file": FILES,
        "old": "        tell(f",
        "new": "        str(f",
        "tests": [f"{HOST}where_the_other_half_came_from_is_said"],
        "host": True,
    },
]
