"""Mistakes in the equations without weights: flow, guidance, lengths, statistics."""

FLOW = "tests/unit/test_flow.py::test_"
GUIDANCE = "tests/unit/test_guidance.py::test_"
TIMELINE = "tests/unit/test_timeline.py::test_"
LATENTS = "tests/unit/test_latents.py::test_"

MISTAKES = [
    # ---- the path and its schedule
    {
        "name": "velocity_of_the_other_sign",
        "file": "unitalking/flow.py",
        "old": "return noise - data",
        "new": "return data - noise",
        "tests": [f"{FLOW}velocity_is_the_derivative_of_the_path"],
    },
    {
        "name": "path_walked_the_other_way",
        "file": "unitalking/flow.py",
        "old": "return (1 - sigma) * data + sigma * noise",
        "new": "return sigma * data + (1 - sigma) * noise",
        "tests": [f"{FLOW}path_runs_from_data_to_noise"],
    },
    {
        "name": "noise_recovered_with_sigma_instead_of_its_rest",
        "file": "unitalking/flow.py",
        "old": "return x + (1 - per_sample(sigma, x)) * velocity",
        "new": "return x + per_sample(sigma, x) * velocity",
        "tests": [f"{FLOW}data_noise_and_velocity_are_recovered_from_the_noisy_latent"],
    },
    {
        "name": "unshift_that_shifts",
        "file": "unitalking/flow.py",
        "old": "return sigma / (shift - (shift - 1) * sigma)",
        "new": "return shift * sigma / (1 + (shift - 1) * sigma)",
        "tests": [f"{FLOW}unshift_is_the_inverse_of_shift"],
    },
    {
        "name": "schedule_from_one",
        "file": "unitalking/flow.py",
        "old": "torch.linspace(highest, 0",
        "new": "torch.linspace(1, 0",
        "tests": [f"{FLOW}wan_sigmas_and_timesteps_are_the_published_ones"],
    },
    {
        "name": "timestep_rounded_instead_of_truncated",
        "file": "unitalking/flow.py",
        "old": "+ FLOAT32_ROUNDING).to(torch.int64)",
        "new": "+ FLOAT32_ROUNDING).round().to(torch.int64)",
        "tests": [f"{FLOW}wan_sigmas_and_timesteps_are_the_published_ones"],
    },
    {
        "name": "unipc_without_corrector",
        "file": "unitalking/flow.py",
        "old": "latent = _correct(history, denoised, sigma, log_snr, step)",
        "new": "pass",
        "tests": [f"{FLOW}the_corrector_gains_an_order", f"{FLOW}unipc_equals_its_equations_written_out"],
    },
    {
        "name": "unipc_calls_the_network_again_after_correcting",
        "file": "unitalking/flow.py",
        "old": "latent = _correct(history, denoised, sigma, log_snr, step)",
        "new": (
            "latent = _correct(history, denoised, sigma, log_snr, step)\n            denoised = denoise(latent, step)"
        ),
        "tests": [
            f"{FLOW}unipc_calls_the_network_once_a_step_before_the_corrector",
            f"{FLOW}unipc_equals_its_equations_written_out",
        ],
    },
    {
        "name": "unipc_of_order_one",
        "file": "unitalking/flow.py",
        "old": "order = min(2, steps - step, step + 1)",
        "new": "order = 1",
        "tests": [f"{FLOW}unipc_equals_its_equations_written_out"],
    },
    {
        "name": "unipc_last_step_of_order_two",
        "file": "unitalking/flow.py",
        "old": "order = min(2, steps - step, step + 1)",
        "new": "order = min(2, step + 1)",
        "tests": [f"{FLOW}unipc_equals_its_equations_written_out"],
    },
    # ---- guidance
    {
        "name": "guidance_of_picture_and_sound_swapped",
        "file": "unitalking/guidance.py",
        "old": '{"video": self.video, "audio": self.audio}',
        "new": '{"video": self.audio, "audio": self.video}',
        "tests": [
            f"{GUIDANCE}picture_and_sound_have_their_own_strength",
            f"{GUIDANCE}rule_is_text_minus_none_plus_voice_minus_text",
        ],
    },
    {
        "name": "voice_linked_to_the_picture_in_both_streams",
        "file": "unitalking/guidance.py",
        "old": "voice = scale if guidance.voice is None",
        "new": "voice = guidance.video if guidance.voice is None",
        "tests": [
            f"{GUIDANCE}linked_voice_needs_two_passes",
            f"{GUIDANCE}linked_voice_is_plain_guidance_between_none_and_text_with_voice",
        ],
    },
    {
        "name": "text_pass_keeps_the_voices_weight",
        "file": "unitalking/guidance.py",
        "old": '"text": scale - voice',
        "new": '"text": scale',
        "tests": [f"{GUIDANCE}weights_sum_to_one"],
    },
    {
        "name": "passes_without_weight_run",
        "file": "unitalking/guidance.py",
        "old": "any(weight[name] != 0 for weight in weights)",
        "new": "any(name in weight for weight in weights)",
        "tests": [f"{GUIDANCE}a_pass_without_weight_in_either_stream_is_not_needed"],
    },
    {
        "name": "missing_passes_left_out_of_the_sum",
        "file": "unitalking/guidance.py",
        "old": "needed = [name for name in PASSES if weights[name] != 0]",
        "new": "needed = [name for name in PASSES if weights[name] != 0 and name in velocities]",
        "tests": [f"{GUIDANCE}combine_refuses_to_go_without_a_pass_that_has_weight"],
    },
    # ---- lengths
    {
        "name": "samples_truncated_instead_of_rounded",
        "file": "unitalking/timeline.py",
        "old": "math.floor(exact_samples(frames, fps, sample_rate) + Fraction(1, 2))",
        "new": "math.floor(exact_samples(frames, fps, sample_rate))",
        "tests": [f"{TIMELINE}samples_kept_rounds_the_half_up", f"{TIMELINE}samples_kept_is_the_nearest_whole_number"],
    },
    {
        "name": "samples_rounded_half_to_even",
        "file": "unitalking/timeline.py",
        "old": "math.floor(exact_samples(frames, fps, sample_rate) + Fraction(1, 2))",
        "new": "round(exact_samples(frames, fps, sample_rate))",
        "tests": [f"{TIMELINE}samples_kept_rounds_the_half_up"],
    },
    {
        "name": "sound_that_does_not_cover_the_pictures",
        "file": "unitalking/timeline.py",
        "old": "return math.ceil(exact_samples(frames, fps, sample_rate) / samples_per_latent)",
        "new": "return math.floor(exact_samples(frames, fps, sample_rate) / samples_per_latent)",
        "tests": [f"{TIMELINE}audio_latents_are_the_fewest_that_cover_the_pictures"],
    },
    {
        "name": "sound_held_that_is_not_determined",
        "file": "unitalking/timeline.py",
        "old": "return math.floor(exact_samples(frames, fps, sample_rate) / samples_per_latent)",
        "new": "return math.ceil(exact_samples(frames, fps, sample_rate) / samples_per_latent)",
        "tests": [f"{TIMELINE}audio_latents_within_are_the_most_that_the_pictures_determine"],
    },
    {
        "name": "ntsc_rates_taken_as_decimals",
        "file": "unitalking/timeline.py",
        "old": "return ntsc",
        "new": "return Fraction(rate).limit_denominator(1000)",
        "tests": [f"{TIMELINE}rates_become_the_fractions_they_stand_for"],
    },
    {
        "name": "frames_snapped_down",
        "file": "unitalking/timeline.py",
        "old": "(frames - 1 + time_stride // 2) // time_stride",
        "new": "(frames - 1) // time_stride",
        "tests": [f"{TIMELINE}frames_snap_to_the_nearest_valid_length"],
    },
    {
        "name": "clip_shorter_than_the_speech",
        "file": "unitalking/timeline.py",
        "old": "return math.ceil(max(pictures - 1, 0) / time_stride) * time_stride + 1",
        "new": "return max(pictures - 1, 0) // time_stride * time_stride + 1",
        "tests": [f"{TIMELINE}frames_for_is_the_shortest_clip_that_lasts_long_enough"],
    },
    {
        "name": "position_scale_upside_down",
        "file": "unitalking/timeline.py",
        "old": "rational(fps) / time_stride / Fraction(sample_rate, samples_per_latent)",
        "new": "Fraction(sample_rate, samples_per_latent) / (rational(fps) / time_stride)",
        "tests": [f"{TIMELINE}position_scale_puts_equal_seconds_at_equal_positions"],
    },
    # ---- latent statistics
    {
        "name": "latents_normalised_by_the_mean_alone",
        "file": "unitalking/latents.py",
        "old": "return (latent - mean) / std",
        "new": "return latent - mean",
        "tests": [f"{LATENTS}each_channel_has_its_own_mean_and_deviation"],
    },
    {
        "name": "latents_restored_mean_first",
        "file": "unitalking/latents.py",
        "old": "return latent * std + mean",
        "new": "return (latent + mean) * std",
        "tests": [f"{LATENTS}restore_is_the_inverse_of_normalise"],
    },
]
