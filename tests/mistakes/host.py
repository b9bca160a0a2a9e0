"""Mistakes in the host adapter, the guider, the samplers and the loaders; their tests import ComfyUI."""

from __future__ import annotations

SAMPLING = "tests/host/test_sampling.py::"
UNIPC = "tests/host/test_unipc.py::"
GUIDANCE = "tests/host/test_guidance.py::"
CONDITIONS = "tests/host/test_conditions.py::"
HELD = "tests/host/test_held.py::"
RUN = "tests/host/test_run.py::"
LORA = "tests/host/test_lora.py::"
WINDOWS = "tests/host/test_windows.py::"
PATCHES = "tests/host/test_patches.py::"
QUANTISED = "tests/host/test_quantised.py::"
OFFLOAD = "tests/host/test_offload.py::"
SAVING = "tests/host/test_saving.py::"

ADAPTER = "nodes/adapter.py"
GUIDER = "nodes/guider.py"
SAMPLER = "nodes/sampling.py"

MISTAKES = [
    {
        "name": "voice_ignored_by_the_host_adapter",
        "file": ADAPTER,
        "old": "voice, starts_s = given.get(VOICE_KEY), given.get(TURNS_KEY, (0.0,))",
        "new": "voice, starts_s = None, (0.0,)",
        "tests": [CONDITIONS + "test_a_voice_changes_the_sound"],
        "host": True,
    },
    {
        "name": "voice_not_normalised",
        "file": ADAPTER,
        "old": "fill_reference(self.latent_format.audio.normalise(voice.float()), config.reference_tokens)",
        "new": "fill_reference(voice.float(), config.reference_tokens)",
        "tests": [CONDITIONS + "test_a_voice_is_normalised_and_repeated_or_cropped_to_the_models_length"],
        "host": True,
    },
    {
        "name": "reference_filled_with_zeros_by_the_host_adapter",
        "file": ADAPTER,
        "old": "return fill_reference(self.latent_format.audio.normalise(voice.float()), config.reference_tokens)",
        "new": (
            "voice = self.latent_format.audio.normalise(voice.float())\n"
            "        return torch.nn.functional.pad(voice, (0, config.reference_tokens - voice.shape[2]))"
        ),
        "tests": [CONDITIONS + "test_a_voice_is_normalised_and_repeated_or_cropped_to_the_models_length"],
        "host": True,
    },
    {
        "name": "absent_voice_marked_as_present",
        "file": ADAPTER,
        "old": "float(voice is not None)",
        "new": "1.0",
        "tests": [CONDITIONS + "test_the_pass_without_a_voice_is_what_it_is_in_a_run_without_one"],
        "host": True,
    },
    {
        "name": "sound_context_ignored",
        "file": ADAPTER,
        "old": "        audio_context = given.get(AUDIO_CONTEXT_KEY)\n",
        "new": "        audio_context = None\n",
        "tests": [GUIDANCE + "test_picture_and_sound_have_their_own_negatives"],
        "host": True,
    },
    {
        "name": "end_of_a_long_text_cut_off",
        "file": "nodes/inputs.py",
        "old": "torch.cat([context[:, : config.text_len - 1], context[:, -1:]], dim=1)",
        "new": "context[:, : config.text_len]",
        "tests": [CONDITIONS + "test_too_long_a_text_is_cut_with_its_end_kept_and_said"],
        "host": True,
    },
    {
        "name": "joint_guider_swaps_picture_and_sound",
        "file": GUIDER,
        "old": (
            "guidance.audio, device=x.device, dtype=x.dtype)\n        scale[..., : self.video_values] = guidance.video"
        ),
        "new": (
            "guidance.video, device=x.device, dtype=x.dtype)\n        scale[..., : self.video_values] = guidance.audio"
        ),
        "tests": [
            GUIDANCE + "test_unequal_strengths_equal_a_plain_loop",
            GUIDANCE + "test_each_streams_strength_is_its_own",
        ],
        "host": True,
    },
    {
        "name": "voice_guidance_against_the_negative",
        "file": GUIDER,
        "old": "guidance.voice * (out[2] - out[0])",
        "new": "guidance.voice * (out[2] - out[1])",
        "tests": [GUIDANCE + "test_unequal_strengths_equal_a_plain_loop"],
        "host": True,
    },
    {
        "name": "absent_stream_asks_for_passes",
        "file": GUIDER,
        "old": 'zip(("video", "audio"), sizes, strict=True) if size)',
        "new": 'zip(("video", "audio"), sizes, strict=True))',
        "tests": [GUIDANCE + "test_an_absent_stream_asks_for_no_pass"],
        "host": True,
    },
    {
        "name": "noise_shared_between_the_streams",
        "file": SAMPLER,
        "old": "seeds = (self.seed, self.seed ^ AUDIO_SEED)",
        "new": "seeds = (self.seed, self.seed)",
        "tests": [SAMPLING + "test_picture_and_sound_get_unrelated_noise"],
        "host": True,
    },
    {
        "name": "noise_of_a_batch_in_one_draw",
        "file": SAMPLER,
        "old": "torch.stack([torch.randn(shape[1:], generator=generator) for _ in range(shape[0])])",
        "new": "torch.randn(shape, generator=generator)",
        "tests": [SAMPLING + "test_the_first_clip_of_a_batch_is_the_single_clip"],
        "host": True,
    },
    {
        "name": "network_called_at_the_unrounded_sigma",
        "file": SAMPLER,
        "old": "called = (flow.truncated_timestep(sigmas) / flow.TIMESTEPS).to(sigmas)",
        "new": "called = sigmas",
        "tests": [UNIPC + "test_the_network_is_called_at_whole_timesteps"],
        "host": True,
    },
    {
        "name": "denoised_at_the_truncated_sigma",
        "file": SAMPLER,
        "old": "latent + (denoised - latent) * (sigmas[step] / called[step])",
        "new": "latent + (denoised - latent)",
        "tests": [UNIPC + "test_flow_unipc_in_the_host_is_the_packs_own_solver"],
        "host": True,
    },
    {
        "name": "flow_unipc_starts_from_scaled_noise",
        "file": SAMPLER,
        "old": "        x = noise.to(x)\n",
        "new": "        x = x.clone()\n",
        "tests": [UNIPC + "test_a_full_schedule_starts_from_the_noise_alone"],
        "host": True,
    },
    {
        "name": "shift_widget_without_effect",
        "file": "nodes/sampler.py",
        "old": "return ModelSamplingSD3().patch(model, shift)[0] if shift else model",
        "new": "return model",
        "tests": [SAMPLING + "test_model_sampling_sd3_stays_in_charge_at_shift_0"],
        "host": True,
    },
    {
        "name": "held_tokens_not_put_back",
        "file": "nodes/sampler.py",
        "old": 'return put_back_held(result, samples, latent.get("noise_mask"))',
        "new": "return result",
        "tests": [HELD + "test_held_tokens_come_back_bit_for_bit_through_ours"],
        "host": True,
    },
    {
        "name": "given_picture_sees_the_sound",
        "file": "unitalking/tasks.py",
        "old": "return not video_held or audio_held",
        "new": "return True",
        "tests": [HELD + "test_a_given_picture_is_not_changed_by_the_sound"],
        "host": True,
    },
    {
        "name": "frame_held_in_part_counts_as_held",
        "file": "unitalking/tasks.py",
        "old": "masks[0].float().amax(dim=(1, 3, 4))",
        "new": "masks[0].float().amin(dim=(1, 3, 4))",
        "tests": [HELD + "test_a_frame_counts_as_held_only_if_all_of_it_is"],
        "host": True,
    },
    {
        "name": "held_tokens_noised_for_the_network",
        "file": ADAPTER,
        "old": "        return latent_image\n",
        "new": "        return super().scale_latent_inpaint(sigma, noise, latent_image, **kwargs)\n",
        "tests": [HELD + "test_the_network_sees_held_tokens_clean_at_every_step"],
        "host": True,
    },
    {
        "name": "run_that_keeps_nothing",
        "file": "nodes/run.py",
        "old": "        if key not in self._kept:\n",
        "new": "        if True:\n",
        "tests": [RUN + "test_conditions_and_rotations_are_computed_once_per_run"],
        "host": True,
    },
    {
        "name": "keys_kept_without_room",
        "file": "nodes/run.py",
        "old": "fits = num_bytes < free - reserve_bytes",
        "new": "fits = True",
        "tests": [RUN + "test_with_too_little_memory_keys_are_computed_anew_with_the_same_result"],
        "host": True,
    },
    {
        "name": "kept_text_of_another_hook",
        "file": ADAPTER,
        "old": "like.dtype, run.hook_state())",
        "new": "like.dtype)",
        "tests": [RUN + "test_a_hook_that_changes_strength_during_a_run_is_honoured[text]"],
        "host": True,
    },
    {
        "name": "kept_positions_of_another_hook",
        "file": ADAPTER,
        "old": '("layout", *key, run.hook_state())',
        "new": '("layout", *key)',
        "tests": [RUN + "test_a_hook_that_changes_strength_during_a_run_is_honoured[positions]"],
        "host": True,
    },
    {
        "name": "lora_on_the_stream_not_chosen",
        "file": "nodes/lora.py",
        "old": ' or inside.split(".")[0] not in streams:\n',
        "new": ":\n",
        "tests": [LORA + "test_our_loader_changes_the_chosen_stream_alone"],
        "host": True,
    },
    {
        "name": "sound_of_a_window_out_of_time",
        "file": "nodes/windows.py",
        "old": "return window.get_window_for_modality(1).index_list[0] * config.position_scale - first",
        "new": "return 0.0",
        "tests": [WINDOWS + "test_windows_are_averaged_where_they_overlap"],
        "host": True,
    },
    {
        "name": "block_replacement_ignored",
        "file": "nodes/blocks.py",
        "old": "        if replace is None:\n",
        "new": "        if True:\n",
        "tests": [PATCHES + "test_a_replaced_block_is_really_replaced"],
        "host": True,
    },
    {
        "name": "attention_override_ignored",
        "file": ADAPTER,
        "old": "heads=heads, transformer_options=transformer_options)",
        "new": "heads=heads, transformer_options=None)",
        "tests": [PATCHES + "test_every_attention_goes_through_the_hosts_override"],
        "host": True,
    },
    {
        "name": "sampler_latent_given_away",
        "file": ADAPTER,
        "old": "latents = [part.clone() for part in latents]",
        "new": "latents = list(latents)",
        "tests": [PATCHES + "test_a_skipped_step_reuses_the_last_change_of_the_latent"],
        "host": True,
    },
    {
        "name": "prefixed_quantised_layers_not_found",
        "file": "nodes/loading.py",
        "old": 'layers = strip_prefixes(told["layers"])',
        "new": 'layers = told["layers"]',
        "tests": [QUANTISED + "test_scaled_files_of_every_format_stand_for_the_same_weights"],
        "host": True,
    },
    {
        "name": "saved_without_its_config",
        "file": "nodes/loading.py",
        "old": "tensors[CONFIG_TENSOR] = config_tensors(self.config)[1]",
        "new": "tensors.pop(CONFIG_TENSOR, None)",
        "tests": [SAVING + "test_a_saved_file_holds_native_names_config_and_statistics"],
        "host": True,
    },
    {
        "name": "large_files_widened",
        "file": "nodes/loading.py",
        "old": "return own if keeps else chosen",
        "new": "return chosen",
        "tests": [OFFLOAD + "test_weights_of_a_large_model_stay_in_the_file_in_its_own_dtype"],
        "host": True,
    },
    {
        "name": "large_files_copied",
        "file": "nodes/loading.py",
        "old": "assign=patcher.is_dynamic() or dtype == own",
        "new": "assign=patcher.is_dynamic()",
        "tests": [OFFLOAD + "test_weights_of_a_large_model_stay_in_the_file_in_its_own_dtype"],
        "host": True,
    },
    {
        "name": "guidance_interval_ignored",
        "file": GUIDER,
        "old": "guidance = self.guidance if self.guidance.is_everywhere else self.guidance.at(float(timestep.max()))",
        "new": "guidance = self.guidance",
        "tests": [GUIDANCE + "test_outside_of_its_interval_guidance_costs_nothing"],
        "host": True,
    },
    {
        "name": "guidance_interval_upside_down",
        "file": "unitalking/guidance.py",
        "old": "if self.to_sigma <= sigma <= self.from_sigma:",
        "new": "if not self.to_sigma <= sigma <= self.from_sigma:",
        "tests": [GUIDANCE + "test_outside_of_its_interval_guidance_costs_nothing"],
        "host": True,
    },
    # ---- the given picture of TV2A
    {
        "name": "sound_sees_no_given_picture",
        "file": "nodes/adapter.py",
        "old": "            seen_picture=seen,",
        "new": "            seen_picture=None,",
        "tests": ["tests/host/test_given_picture.py::test_a_kept_picture_gives_the_sound_of_one_that_runs_along"],
        "host": True,
    },
    {
        "name": "context_windows_share_a_given_picture",
        "file": "nodes/adapter.py",
        "old": "shown = None if window is None else",
        "new": "shown = None if True else",
        "tests": ["tests/host/test_given_picture.py::test_context_windows_keep_a_picture_each"],
        "host": True,
    },
    {
        "name": "given_picture_kept_where_a_step_needs_the_room",
        "file": "nodes/given_picture.py",
        "old": "if num_bytes < free(device) - reserve_bytes:",
        "new": "if num_bytes < free(device):",
        "tests": ["tests/host/test_given_picture.py::test_the_place_follows_from_free_memory"],
        "host": True,
    },
    {
        "name": "given_picture_runs_at_every_step",
        "file": "nodes/adapter.py",
        "old": 'return run.once(("picture", *key), compute)',
        "new": "return compute()",
        "tests": ["tests/host/test_given_picture.py::test_the_picture_runs_once_and_the_sound_at_every_step"],
        "host": True,
    },
    # ---- continuation
    {
        "name": "words_begin_while_the_beginning_is_given",
        "file": "nodes/clip.py",
        "old": "if START_KEY not in tokens:",
        "new": "if True:",
        "tests": ["tests/host/test_continuation.py::test_words_begin_after_what_is_given"],
        "host": True,
    },
    {
        "name": "continuation_holds_no_sound",
        "file": "nodes/latents.py",
        "old": "TASKS[task].audio_mask(audio.shape[2], config, spans)",
        "new": "TASKS[task].audio_mask(audio.shape[2], config)",
        "tests": [
            "tests/host/test_continuation.py::test_the_end_is_encoded_anew_and_held_in_both_streams",
        ],
        "host": True,
    },
    {
        "name": "continued_sound_taken_from_its_own_end",
        "file": "nodes/continuation.py",
        "old": 'tail = audio["waveform"][:1, :, begin:end]',
        "new": 'tail = audio["waveform"][:1, :, begin - end :]',
        "tests": ["tests/host/test_continuation.py::test_the_sound_is_taken_where_the_last_pictures_are"],
        "host": True,
    },
    {
        "name": "given_sound_filled_up_with_what_it_does_not_determine",
        "file": "nodes/continuation.py",
        "old": ":, :, : timeline.audio_latents_within(overlap, *rates)",
        "new": ":, :, : timeline.audio_latents(overlap, *rates)",
        "tests": [
            "tests/host/test_continuation.py::test_the_end_is_encoded_anew_and_held_in_both_streams",
        ],
        "host": True,
    },
    {
        "name": "given_recording_is_not_held",
        "file": "nodes/latents.py",
        "old": "TASKS[task].audio_mask(audio.shape[2], config, spans).to(audio),",
        "new": "audio.new_ones(1, 1, audio.shape[2]),",
        "tests": ["tests/host/test_driving.py::test_a_whole_sound_is_held_and_none_of_its_picture"],
        "host": True,
    },
    {
        "name": "pictures_of_another_rate_taken_one_by_one",
        "file": "unitalking/timeline.py",
        "old": "step = rational(source_fps) / rational(fps)",
        "new": "step = Fraction(1)",
        "tests": [
            "tests/host/test_driving.py::test_other_lengths_and_rates_are_cut_and_converted_for_the_model_alone",
        ],
        "host": True,
    },
    {
        "name": "colours_of_a_chain_drift",
        "file": "unitalking/joining.py",
        "old": "if one_scene and len(new) else",
        "new": "if False else",
        "tests": ["tests/unit/test_joining.py::test_a_chain_of_clips_that_drift_does_not"],
    },
    {
        "name": "joined_sound_without_a_fade",
        "file": "unitalking/joining.py",
        "old": "before * angle.cos() + after * angle.sin()",
        "new": "before",
        "tests": ["tests/unit/test_joining.py::test_another_phase_makes_neither_a_click_nor_a_hole"],
    },
    {
        "name": "estimate_of_a_given_picture_at_every_step",
        "file": "nodes/cost.py",
        "old": "    if keeps_picture and _picture_is_given(latent):",
        "new": "    if False:",
        "tests": ["tests/host/test_given_picture.py::test_the_estimate_of_a_run_knows_that_the_picture_is_given"],
        "host": True,
    },
    {
        "name": "estimate_without_what_a_token_sees",
        "file": "nodes/cost.py",
        "old": "joint = 4 * tokens * seen * config.dim",
        "new": "joint = 4 * tokens * config.dim",
        "tests": ["tests/host/test_given_picture.py::test_the_estimate_counts_what_the_full_model_computes"],
        "host": True,
    },
]
