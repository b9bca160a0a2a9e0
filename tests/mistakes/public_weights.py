"""Mistakes in what public weights need: cross fusion, its stem, layouts of files."""

CROSS = "tests/unit/model/test_cross_fusion.py::test_"
LAYOUTS = "tests/unit/checkpoint/test_public_layouts.py::test_"
PROMPT = "tests/unit/test_prompt.py::test_"
OVI = "tests/host/test_public_models.py::test_"
CONVERT = "tests/unit/checkpoint/test_convert.py::test_"
DOWNLOAD = "tests/unit/test_download.py::test_"

MISTAKES = [
    # ---- cross fusion and its stem
    {
        "name": "cross_fusion_left_out",
        "file": "unitalking/model/attention.py",
        "old": "attended = attended + attention(rotated, other.seen.keys",
        "new": "attended = attended + 0 * attention(rotated, other.seen.keys",
        "tests": [f"{CROSS}each_stream_sees_the_other_only_through_fusion"],
    },
    {
        "name": "cross_fusion_without_rotation_of_queries",
        "file": "unitalking/model/attention.py",
        "old": "attention(rotated, other.seen.keys",
        "new": "attention(queries, other.seen.keys",
        "tests": [f"{CROSS}only_queries_and_keys_of_the_other_stream_are_rotated[own_rope]"],
    },
    {
        "name": "cross_fusion_without_key_norm",
        "file": "unitalking/model/attention.py",
        "old": "_rotate(self.norm_k_fusion(self.k_fusion(tokens))",
        "new": "_rotate(self.k_fusion(tokens)",
        "tests": [f"{CROSS}only_queries_and_keys_of_the_other_stream_are_rotated[rope]"],
    },
    {
        "name": "cross_fusion_after_the_others_cross_attention",
        "file": "unitalking/model/block.py",
        "old": "project_other(audio.tokens, audio.rope), video.rope)",
        "new": "project_other(audio.tokens + audio.conditions.text.mean(), audio.rope), video.rope)",
        "tests": [f"{CROSS}what_is_seen_is_the_other_stream_before_its_own_cross_attention"],
    },
    {
        "name": "cross_fusion_shows_the_sound_to_a_given_picture",
        "file": "unitalking/model/block.py",
        "old": "    if video_sees_audio:",
        "new": "    if True:",
        "tests": [f"{CROSS}a_given_picture_does_not_see_the_sound"],
    },
    {
        "name": "stem_without_its_gate",
        "file": "unitalking/model/stream.py",
        "old": "self.w2(F.silu(self.w1(tokens)) * self.w3(tokens))",
        "new": "self.w2(F.silu(self.w1(tokens)))",
        "tests": [f"{CROSS}the_stem_of_convolutions_sees_nine_neighbours_on_either_side_and_gates_them"],
    },
    # ---- skip-layer guidance, lengths, prompts
    {
        "name": "positive_pass_skips_the_block",
        "file": "nodes/blocks.py",
        "old": "old if number == NEGATIVE_PASS else new",
        "new": "old if number != NEGATIVE_PASS else new",
        "tests": [f"{OVI}the_negative_pass_leaves_the_models_block_out[1]"],
        "host": True,
    },
    {
        "name": "no_block_is_skipped",
        "file": "nodes/run.py",
        "old": 'getattr(guider, "skipped_block", config.sampling.skipped_block)',
        "new": "0",
        "tests": [f"{OVI}the_negative_pass_leaves_the_models_block_out[1]"],
        "host": True,
    },
    {
        "name": "table_of_lengths_ignored",
        "file": "unitalking/config.py",
        "old": "return dict(self.lengths).get(frames) or timeline.audio_latents(",
        "new": "return timeline.audio_latents(",
        "tests": [f"{OVI}a_clip_has_one_of_the_models_lengths"],
        "host": True,
    },
    {
        "name": "generations_of_prompts_swapped",
        "file": "unitalking/prompt.py",
        "old": '    if style == "ovi_1.0":',
        "new": '    if style != "ovi_1.0":',
        "tests": [f"{PROMPT}ovis_generations_mark_the_sound_each_in_its_way"],
    },
    # ---- files
    {
        "name": "nested_modulation_not_renamed",
        "file": "unitalking/checkpoint/public_layouts.py",
        "old": "return name.removesuffix(_DOUBLED) + _SINGLE if name.endswith(_DOUBLED) else name",
        "new": "return name",
        "tests": [f"{LAYOUTS}ovi_is_read_from_every_layout"],
    },
    {
        "name": "streams_of_two_files_swapped",
        "file": "unitalking/checkpoint/public_layouts.py",
        "old": 'bare = "audio." if CONV_STEM_SIGN in tensors else "video."',
        "new": 'bare = "video." if CONV_STEM_SIGN in tensors else "audio."',
        "tests": [f"{LAYOUTS}ovi_in_two_files_is_joined_in_either_order"],
    },
    {
        "name": "statistics_of_wans_codec_forgotten",
        "file": "unitalking/checkpoint/files.py",
        "old": "return {**wan_statistics(), **tensors}, OVI_MODELS[ovi_model(name)]",
        "new": "return tensors, OVI_MODELS[ovi_model(name)]",
        "tests": [f"{LAYOUTS}ovi_is_read_from_every_layout"],
    },
    {
        "name": "stems_stay_in_float8",
        "file": "unitalking/checkpoint/float8.py",
        "old": "            result[name] = result[name].to(torch.bfloat16)",
        "new": "            pass",
        "tests": [f"{LAYOUTS}float8_without_scales_keeps_only_matrices_narrow"],
    },
    {
        "name": "scales_under_one_name_alone",
        "file": "unitalking/checkpoint/float8.py",
        "old": "name.removesuffix(OTHER_SCALE) + SCALE if name.endswith(OTHER_SCALE) else name: value",
        "new": "name: value",
        "tests": [f"{LAYOUTS}scales_of_float8_are_brought_to_one_name[.weight_scale]"],
    },
    # ---- the command
    {
        "name": "nan_passes_verify",
        "file": "unitalking/checkpoint/convert.py",
        "old": "file.read(name).float().isfinite().all()",
        "new": "file.read(name).float().isfinite().any()",
        "tests": [f"{CONVERT}verify_gives_the_sum_and_finds_nan"],
    },
    {
        "name": "convert_names_another_ovi",
        "file": "unitalking/checkpoint/convert.py",
        "old": "        public = OVI_MODELS[model]\n",
        "new": "        pass\n",
        "tests": [f"{CONVERT}the_model_can_be_said"],
    },
    {
        "name": "modulation_not_nested_on_the_way_back",
        "file": "unitalking/checkpoint/public_layouts.py",
        "old": "    return name + _SINGLE if inside else name",
        "new": "    return name",
        "tests": [f"{CONVERT}ovi_there_and_back_is_the_same_file"],
    },
    {
        "name": "scales_upside_down",
        "file": "unitalking/checkpoint/quantize.py",
        "old": "(weight.float() / scale).to(FLOAT8), scale",
        "new": "(weight.float() / scale).to(FLOAT8), 1 / scale",
        "tests": [f"{CONVERT}quantize_keeps_all_but_the_blocks_matrices"],
    },
    {
        "name": "sound_of_ovi_left_out_of_a_start",
        "file": "unitalking/checkpoint/assemble.py",
        "old": 'name.startswith("audio.") and FUSION not in name}',
        "new": 'name.startswith("video.") and FUSION not in name}',
        "tests": [f"{CONVERT}assemble_makes_a_start_of_public_weights"],
    },
    {
        "name": "gguf_of_everything",
        "file": "unitalking/checkpoint/gguf_files.py",
        "old": "MATRICES.fullmatch(name) and shell.shape[-1] % BLOCK == 0}",
        "new": 'name.endswith("weight") and shell.ndim == 2 and shell.shape[-1] % BLOCK == 0}',
        "tests": ["tests/host/test_gguf.py::test_the_blocks_matrices_are_packed_and_everything_else_is_kept"],
        "host": True,
    },
    {
        "name": "gguf_without_the_other_packs_patcher",
        "file": "nodes/gguf.py",
        "old": "return _gguf_pack(path).GGUFModelPatcher.clone(patcher)",
        "new": "return patcher",
        "tests": ["tests/host/test_gguf.py::test_a_packed_model_computes_what_its_unpacked_weights_do"],
        "host": True,
    },
    # ---- download
    {
        "name": "download_begun_anew",
        "file": "unitalking/download.py",
        "old": 'headers |= {"Range": f"bytes={begun}-"} if begun else {}',
        "new": "headers |= {}",
        "tests": [f"{DOWNLOAD}an_interrupted_download_goes_on_where_it_stopped"],
    },
    {
        "name": "download_of_anything",
        "file": "unitalking/download.py",
        "old": "(found := sha256_of(path)) != about.etag",
        "new": "(found := sha256_of(path)) != found",
        "tests": [f"{DOWNLOAD}a_file_that_is_not_what_the_hub_announces_is_deleted"],
    },
    {
        "name": "download_that_goes_on_where_the_server_does_not",
        "file": "unitalking/download.py",
        "old": "begun if answer.status == PARTIAL else 0",
        "new": "begun",
        "tests": [f"{DOWNLOAD}a_server_that_cannot_go_on_begins_anew"],
    },
]
