"""Mistakes in the network: positions, modulation, attention, stems and heads."""

PLAIN = "tests/unit/model/test_plain_network.py::test_network_equals_the_plain_derivation"
ROPE = "tests/unit/model/test_rope.py::test_"
MODULATION = "tests/unit/model/test_modulation.py::test_"
ATTENTION = "tests/unit/model/test_attention.py::test_"
BLOCK = "tests/unit/model/test_block.py::test_"
STREAM = "tests/unit/model/test_stream.py::test_"
TRANSFORMER = "tests/unit/model/test_transformer.py::test_"
PARAMETERS = "tests/unit/model/test_parameters.py::test_"
PRECISION = "tests/unit/model/test_precision.py::test_"
OPERATIONS = "tests/unit/model/test_operations.py::test_"

MISTAKES = [
    # ---- rotary positions
    {
        "name": "rope_on_halves_instead_of_neighbours",
        "file": "unitalking/model/rope.py",
        "old": ".unflatten(-1, (-1, 2)).unbind(-1)",
        "new": ".unflatten(-1, (2, -1)).unbind(-2)",
        "tests": [f"{PLAIN}[tts]", f"{ROPE}neighbouring_numbers_are_a_pair_that_turns_as_a_complex_number"],
    },
    {
        "name": "rope_axes_in_the_wrong_order",
        "file": "unitalking/model/rope.py",
        "old": "positions[:, axis : axis + 1]",
        "new": "positions[:, 2 - axis : 3 - axis]",
        "tests": [f"{PLAIN}[tts]", f"{ROPE}each_axis_turns_its_own_numbers"],
    },
    {
        "name": "rope_split_evenly",
        "file": "unitalking/model/rope.py",
        "old": "return head_dim - 2 * spatial, spatial, spatial",
        "new": "return spatial, spatial, head_dim - 2 * spatial",
        "tests": [f"{PLAIN}[tts]", f"{ROPE}a_head_of_128_splits_44_42_42"],
    },
    {
        "name": "rope_exponents_over_the_whole_head",
        "file": "unitalking/model/rope.py",
        "old": "dtype=torch.float64) / width",
        "new": "dtype=torch.float64) / config.head_dim",
        "tests": [f"{PLAIN}[tts]", f"{ROPE}angles_are_the_position_times_theta_to_the_axis_exponents"],
    },
    {
        "name": "rope_theta_of_the_config_ignored",
        "file": "unitalking/model/rope.py",
        "old": "config.rope_theta**-exponents",
        "new": "10000.0**-exponents",
        "tests": [f"{ROPE}angles_are_the_position_times_theta_to_the_axis_exponents"],
    },
    {
        "name": "rope_turns_backwards",
        "file": "unitalking/model/rope.py",
        "old": "return Rope(angle.cos().to(device, dtype), angle.sin().to(device, dtype))",
        "new": "return Rope(angle.sin().to(device, dtype), angle.cos().to(device, dtype))",
        "tests": [f"{ROPE}angles_are_the_position_times_theta_to_the_axis_exponents"],
    },
    {
        "name": "rope_table_in_float32",
        "file": "unitalking/model/rope.py",
        "old": "angle = torch.cat(angles, dim=1)",
        "new": "angle = torch.cat(angles, dim=1).float()",
        "tests": [f"{PLAIN}[tts]", f"{ROPE}positions_and_tables_are_made_in_float64_on_the_cpu"],
    },
    {
        "name": "audio_not_rotated",
        "file": "unitalking/model/rope.py",
        "old": "torch.arange(length, dtype=torch.float64) * scale",
        "new": "torch.arange(length, dtype=torch.float64) * 0",
        "tests": [f"{PLAIN}[tts]", f"{ROPE}audio_moves_along_time_alone"],
    },
    {
        "name": "audio_rotated_on_height_and_width_too",
        "file": "unitalking/model/rope.py",
        "old": "torch.stack([time, torch.zeros_like(time), torch.zeros_like(time)], dim=-1)",
        "new": "torch.stack([time, time, time], dim=-1)",
        "tests": [f"{PLAIN}[tts]", f"{ROPE}audio_is_not_turned_on_the_spatial_axes"],
    },
    {
        "name": "window_of_the_sound_at_the_start_of_the_clip",
        "file": "unitalking/model/rope.py",
        "old": "* scale + start",
        "new": "* scale",
        "tests": [
            f"{ROPE}a_window_of_the_sound_has_the_positions_it_has_in_the_clip",
            f"{TRANSFORMER}a_window_of_the_sound_lies_where_it_does_in_the_clip",
        ],
    },
    *(
        {
            "name": f"audio_position_scale_{label}",
            "file": "unitalking/config.py",
            "old": "return float(timeline.position_scale(*rates))",
            "new": f"return {scale}",
            "tests": [
                f"{PLAIN}[tts]",
                "tests/unit/test_config.py::test_position_scale_comes_from_the_rates",
                f"{ROPE}positions_of_both_streams_are_seconds_times_one_rate",
            ],
        }
        for label, scale in (("1", 1.0), ("of_another_16_khz_model", 0.19676), ("of_another_44_khz_model", 0.14277))
    ),
    # ---- noise level and modulation
    {
        "name": "sinusoid_sines_first",
        "file": "unitalking/model/modulation.py",
        "old": "torch.cat([angle.cos(), angle.sin()], dim=-1)",
        "new": "torch.cat([angle.sin(), angle.cos()], dim=-1)",
        "tests": [f"{PLAIN}[tts]", f"{MODULATION}sinusoid_is_cosines_then_sines_of_falling_frequencies"],
    },
    {
        "name": "sinusoid_of_a_rounded_timestep",
        "file": "unitalking/model/stream.py",
        "old": "timestep_sinusoid(inputs.noise.timestep, self.freq_dim)",
        "new": "timestep_sinusoid(inputs.noise.timestep.to(tokens.dtype), self.freq_dim)",
        "tests": [f"{PRECISION}the_noise_level_is_not_rounded_to_the_models_dtype"],
    },
    {
        "name": "shift_and_scale_of_attention_swapped",
        "file": "unitalking/model/block.py",
        "old": "Modulation(*vectors[:3])",
        "new": "Modulation(vectors[1], vectors[0], vectors[2])",
        "tests": [f"{PLAIN}[tts]"],
    },
    {
        "name": "shift_and_scale_of_the_ffn_swapped",
        "file": "unitalking/model/block.py",
        "old": "Modulation(*vectors[3:])",
        "new": "Modulation(vectors[4], vectors[3], vectors[5])",
        "tests": [f"{PLAIN}[tts]"],
    },
    {
        "name": "gates_of_attention_and_ffn_swapped",
        "file": "unitalking/model/block.py",
        "old": "Modulation(*vectors[:3]), Modulation(*vectors[3:])",
        "new": "Modulation(*vectors[:2], vectors[5]), Modulation(*vectors[3:5], vectors[2])",
        "tests": [f"{PLAIN}[tts]", f"{BLOCK}each_gate_closes_its_own_branch"],
    },
    {
        "name": "scale_without_one",
        "file": "unitalking/model/modulation.py",
        "old": "factor, offset = (1 + scale).to(tokens.dtype)",
        "new": "factor, offset = scale.to(tokens.dtype)",
        "tests": [f"{PLAIN}[tts]", f"{MODULATION}modulating_runs_is_modulating_every_token"],
    },
    {
        "name": "modulation_added_in_bfloat16",
        "file": "unitalking/model/modulation.py",
        "old": "dtype = torch.promote_types(level.dtype, torch.float32)",
        "new": "dtype = level.dtype",
        "tests": [f"{MODULATION}offset_and_level_are_added_in_at_least_float32"],
    },
    {
        "name": "one_noise_level_for_all_tokens",
        "file": "unitalking/types.py",
        "old": "return cls(timestep[:, starts], lengths)",
        "new": "return cls(timestep[:, starts].amax(1, keepdim=True).repeat(1, len(starts)), lengths)",
        "tests": [
            f"{PLAIN}[ti2av]",
            "tests/unit/test_types.py::test_runs_expand_to_the_table_they_were_made_from",
            f"{TRANSFORMER}each_stream_holds_its_own_tokens_clean",
        ],
    },
    {
        "name": "audio_clean_where_the_video_is",
        "file": "unitalking/model/transformer.py",
        "old": "tokens = tuple(state.tokens for state in states)\n",
        "new": (
            "if len(states) == 2:\n"
            "            states = (states[0], states[1]._replace(level=states[0].level[:, :1] + 0 * states[1].level))\n"
            "        tokens = tuple(state.tokens for state in states)\n"
        ),
        "tests": [f"{PLAIN}[ti2av]", f"{TRANSFORMER}each_stream_holds_its_own_tokens_clean"],
    },
    {
        "name": "silu_before_the_time_projection_missing",
        "file": "unitalking/model/stream.py",
        "old": "nn.Sequential(nn.SiLU(), linear(dim, 6 * dim, **factory))",
        "new": "nn.Sequential(nn.Identity(), linear(dim, 6 * dim, **factory))",
        "tests": [f"{PLAIN}[tts]"],
    },
    # ---- stems, text and heads
    {
        "name": "padding_of_the_text_not_attended_to",
        "file": "unitalking/model/stream.py",
        "old": "(F.pad(context, (0, 0, 0, min(missing, 1)))), max(missing - 1, 0)",
        "new": "(context), 0",
        "tests": [f"{PLAIN}[tts]", f"{STREAM}rows_of_padding_are_attended_to"],
    },
    {
        "name": "one_row_of_padding_for_all",
        "file": "unitalking/model/stream.py",
        "old": "max(missing - 1, 0)",
        "new": "0",
        "tests": [f"{PLAIN}[tts]", f"{STREAM}rows_of_padding_are_attended_to"],
    },
    {
        "name": "text_padded_after_its_projection",
        "file": "unitalking/model/stream.py",
        "old": "self.text_embedding(F.pad(context, (0, 0, 0, min(missing, 1)))), max",
        "new": "F.pad(self.text_embedding(context), (0, 0, 0, min(missing, 1))), max",
        "tests": [f"{PLAIN}[tts]", f"{STREAM}text_is_padded_with_zeros_before_its_projection"],
    },
    {
        "name": "shift_and_scale_of_the_head_swapped",
        "file": "unitalking/model/stream.py",
        "old": "shift, scale = self.modulation(level[:, :, None]).unbind(2)",
        "new": "scale, shift = self.modulation(level[:, :, None]).unbind(2)",
        "tests": [f"{PLAIN}[tts]", f"{STREAM}the_head_is_norm_times_scale_plus_shift_projected"],
    },
    {
        "name": "head_takes_the_level_of_the_first_token",
        "file": "unitalking/model/stream.py",
        "old": "self.head(state.tokens, level, state.lengths)",
        "new": "self.head(state.tokens, level[:, :1].expand_as(level), state.lengths)",
        "tests": [f"{PLAIN}[ti2av]", f"{PLAIN}[continuation]"],
    },
    {
        "name": "patches_put_back_channels_first",
        "file": "unitalking/model/stream.py",
        "old": "out.unflatten(1, grid).unflatten(-1, (*self.patch_size, -1))",
        "new": "out.unflatten(1, grid).unflatten(-1, (-1, *self.patch_size)).movedim(4, -1)",
        "tests": [f"{PLAIN}[video_only]", f"{STREAM}a_videos_tokens_go_back_to_the_cells_they_came_from"],
    },
    {
        "name": "extra_positions_not_added",
        "file": "unitalking/model/stream.py",
        "old": "tokens = tokens + inputs.extra_positions",
        "new": "tokens = tokens + 0 * inputs.extra_positions",
        "tests": [
            f"{STREAM}extra_positions_change_the_output_and_off_has_no_parameters",
            f"{STREAM}extra_positions_are_added_to_the_tokens",
        ],
    },
    {
        "name": "contexts_of_the_streams_swapped",
        "file": "unitalking/model/transformer.py",
        "old": "((self.video, video_context), (self.audio, audio_context))",
        "new": "((self.video, audio_context), (self.audio, video_context))",
        "tests": [f"{PLAIN}[t2av]", f"{TRANSFORMER}each_stream_is_told_its_own_text"],
    },
    # ---- attention of the streams
    {
        "name": "query_norm_per_head",
        "file": "unitalking/model/attention.py",
        "old": "_rotate(self.norm_q(self.q(tokens)), self.heads, rope)",
        "new": (
            "_rotate((F.rms_norm((heads := self.q(tokens).unflatten(-1, (self.heads, -1))), heads.shape[-1:], "
            "eps=self.norm_q.eps) * self.norm_q.weight.unflatten(0, (self.heads, -1))).flatten(2), self.heads, rope)"
        ),
        "tests": [f"{PLAIN}[tts]"],
    },
    {
        "name": "keys_not_normalised",
        "file": "unitalking/model/attention.py",
        "old": "_rotate(self.norm_k(self.k(tokens))",
        "new": "_rotate(self.k(tokens)",
        "tests": [f"{PLAIN}[tts]"],
    },
    {
        "name": "streams_not_joined",
        "file": "unitalking/model/block.py",
        "old": 'if len(blocks) == 2 and fusion == "joint":',
        "new": 'if False and fusion == "joint":',
        "tests": [
            f"{PLAIN}[t2av]",
            f"{TRANSFORMER}both_streams_see_each_other",
            f"{BLOCK}blocks_after_the_joint_ones_are_separate",
        ],
    },
    {
        "name": "separate_blocks_joined",
        "file": "unitalking/config.py",
        "old": "block < self.joint_blocks",
        "new": "block <= self.joint_blocks",
        "tests": [
            "tests/unit/test_config.py::test_first_joint_blocks_are_joint",
            f"{BLOCK}without_joint_blocks_the_streams_are_independent",
        ],
    },
    {
        "name": "no_mask_in_tv2a",
        "file": "unitalking/model/attention.py",
        "old": "if not video_sees_audio:",
        "new": "if False:",
        "tests": [
            f"{PLAIN}[tv2a]",
            f"{TRANSFORMER}a_given_video_does_not_depend_on_the_sound",
            f"{ATTENTION}video_that_must_not_see_audio_is_attention_with_those_keys_masked",
        ],
    },
    {
        "name": "mask_of_tv2a_in_every_task",
        "file": "unitalking/model/attention.py",
        "old": "if not video_sees_audio:",
        "new": "if True:",
        "tests": [
            f"{PLAIN}[t2av]",
            f"{TRANSFORMER}a_generated_video_depends_on_the_sound",
            f"{ATTENTION}joint_attention_is_one_softmax_over_both_streams",
        ],
    },
    {
        "name": "mask_of_tv2a_hides_the_video_from_the_sound_too",
        "file": "unitalking/model/attention.py",
        "old": "attention(*video, heads), attention_beside(seen, audio, heads, attention)",
        "new": "attention(*video, heads), attention(*audio, heads)",
        "tests": [f"{PLAIN}[tv2a]", f"{TRANSFORMER}sound_sees_the_given_video"],
    },
    {
        "name": "picture_that_ran_before_shows_no_values",
        "file": "unitalking/model/block.py",
        "old": "seen = SeenKeys(projected.keys, projected.values)",
        "new": "seen = SeenKeys(projected.keys, projected.keys)",
        "tests": [f"{TRANSFORMER}a_picture_that_ran_before_is_seen_as_one_that_runs_along"],
    },
    {
        "name": "picture_that_ran_before_stays_at_its_first_block",
        "file": "unitalking/model/transformer.py",
        "old": "                return (after,)",
        "new": "                return tokens",
        "tests": [f"{TRANSFORMER}a_picture_that_ran_before_is_seen_as_one_that_runs_along"],
    },
    {
        "name": "cross_attention_gated",
        "file": "unitalking/model/block.py",
        "old": "tokens = state.tokens + crossed",
        "new": "tokens = state.tokens + modulation.gate.amax(1, keepdim=True) * crossed",
        "tests": [f"{PLAIN}[tts]"],
    },
    {
        "name": "keys_of_the_first_block_in_every_block",
        "file": "unitalking/model/block.py",
        "old": "return conditions.keys[index]",
        "new": "return conditions.keys[0]",
        "tests": [f"{PLAIN}[tts]", f"{TRANSFORMER}kept_keys_are_the_recomputed_ones"],
    },
    # ---- kinds and precision
    {
        "name": "gelu_of_the_ffn_by_erf",
        "file": "unitalking/model/block.py",
        "old": 'nn.GELU(approximate="tanh")',
        "new": "nn.GELU()",
        "tests": [f"{PLAIN}[tts]", f"{PARAMETERS}every_gelu_is_the_tanh_one"],
    },
    {
        "name": "gelu_of_the_text_by_erf",
        "file": "unitalking/model/stream.py",
        "old": 'nn.GELU(approximate="tanh")',
        "new": "nn.GELU()",
        "tests": [f"{PLAIN}[tts]", f"{PARAMETERS}every_gelu_is_the_tanh_one"],
    },
    {
        "name": "eps_of_the_rms_norms",
        "file": "unitalking/model/attention.py",
        "old": "self.norm_k = operations.RMSNorm(config.dim, eps=config.eps, **factory)\n\n",
        "new": "self.norm_k = operations.RMSNorm(config.dim, eps=1e-5, **factory)\n\n",
        "tests": [f"{PLAIN}[tts]", f"{PARAMETERS}every_norm_has_wans_eps"],
    },
    {
        "name": "eps_of_the_layer_norms",
        "file": "unitalking/model/block.py",
        "old": "self.norm1 = operations.LayerNorm(config.dim, eps=config.eps,",
        "new": "self.norm1 = operations.LayerNorm(config.dim, eps=1e-5,",
        "tests": [f"{PLAIN}[tts]", f"{PARAMETERS}every_norm_has_wans_eps"],
    },
    {
        "name": "eps_of_the_config",
        "file": "unitalking/config.py",
        "old": "eps: float = 1e-6",
        "new": "eps: float = 1e-5",
        "tests": [f"{PLAIN}[tts]", "tests/unit/test_config.py::test_defaults_are_the_full_model"],
    },
    {
        "name": "norm3_without_weights",
        "file": "unitalking/model/block.py",
        "old": "self.norm3 = operations.LayerNorm(config.dim, eps=config.eps, **factory)",
        "new": "self.norm3 = operations.LayerNorm(config.dim, eps=config.eps, elementwise_affine=False, **factory)",
        "tests": [
            f"{PARAMETERS}only_norm3_has_weights_among_layer_norms",
            f"{PARAMETERS}video_weights_have_wans_825_names_and_shapes",
        ],
    },
    {
        "name": "linear_layer_past_the_given_operations",
        "file": "unitalking/model/block.py",
        "old": "operations.Linear(config.ffn_dim, config.dim, **factory)",
        "new": "nn.Linear(config.ffn_dim, config.dim, **factory)",
        "tests": [f"{OPERATIONS}every_module_with_weights_comes_from_the_given_operations"],
    },
    {
        "name": "attention_past_the_given_function",
        "file": "unitalking/model/attention.py",
        "old": "attention(queries, keys.text_keys, keys.text_values, self.heads)",
        "new": "torch_attention(queries, keys.text_keys, keys.text_values, self.heads)",
        "tests": [f"{BLOCK}a_separate_last_block_passes_on_what_the_joint_one_mixed"],
    },
    {
        "name": "modulation_under_its_modules_name_in_files",
        "file": "unitalking/checkpoint/keys.py",
        "old": '_INSIDE = ".modulation.weight"',
        "new": '_INSIDE = ".modulation.weights"',
        "tests": [f"{PARAMETERS}video_weights_have_wans_825_names_and_shapes"],
    },
]
