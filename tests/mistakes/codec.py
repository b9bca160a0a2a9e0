"""Mistakes in the audio codec: mel front end, VAE, vocoder."""

MEL = "tests/unit/codec/test_mel.py::test_"
VAE = "tests/unit/codec/test_audio_vae.py::test_"
VOCODER = "tests/unit/codec/test_vocoder.py::test_"
CODEC = "tests/unit/codec/test_audio_codec.py::test_"
REFINED = "tests/unit/codec/test_refinement.py::test_"

MISTAKES = [
    # ---- mel
    {
        "name": "mel_at_44_khz_in_log10",
        "file": "unitalking/codec/mel.py",
        "old": '128, 0.0, 22050.0, "ln")',
        "new": '128, 0.0, 22050.0, "log10")',
        "tests": [f"{MEL}log_is_natural_at_44k_and_decimal_at_16k"],
    },
    {
        "name": "mel_always_in_ln",
        "file": "unitalking/codec/mel.py",
        "old": 'return mel.log() if config.log == "ln" else mel.log10()',
        "new": "return mel.log()",
        "tests": [
            f"{MEL}log_is_natural_at_44k_and_decimal_at_16k",
            f"{MEL}one_frame_is_the_written_out_equation[16k]",
        ],
    },
    {
        "name": "mel_of_a_waveform_that_is_not_clipped",
        "file": "unitalking/codec/mel.py",
        "old": "torch.float32)).clamp(-1, 1)",
        "new": "torch.float32))",
        "tests": [f"{MEL}one_frame_is_the_written_out_equation"],
    },
    {
        "name": "mel_of_the_power",
        "file": "unitalking/codec/mel.py",
        "old": "(spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_FLOOR).sqrt()",
        "new": "(spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_FLOOR)",
        "tests": [f"{MEL}one_frame_is_the_written_out_equation"],
    },
    {
        "name": "mel_with_a_symmetric_window",
        "file": "unitalking/codec/mel.py",
        "old": "torch.hann_window(config.n_fft, dtype=torch.float64)",
        "new": "torch.hann_window(config.n_fft, periodic=False, dtype=torch.float64)",
        "tests": [f"{MEL}one_frame_is_the_written_out_equation"],
    },
    {
        "name": "mel_without_area_norm",
        "file": "unitalking/codec/mel.py",
        "old": "return triangles * (2 / (edges[2:] - edges[:-2]))[:, None]",
        "new": "return triangles",
        "tests": [f"{MEL}basis_is_torchaudios_slaney_basis"],
    },
    # ---- VAE
    {
        "name": "vae_query_key_and_value_not_interleaved",
        "file": "unitalking/codec/magnitude.py",
        "old": ".unflatten(1, (-1, 3)).unbind(2)",
        "new": ".unflatten(1, (3, -1)).unbind(1)",
        "tests": [f"{VAE}attention_takes_q_k_and_v_from_every_third_channel"],
    },
    {
        "name": "vae_weights_normalised_twice",
        "file": "unitalking/codec/audio_vae.py",
        "old": "{key: _normalised(value) if",
        "new": "{key: _normalised(_normalised(value)) if",
        "tests": [f"{VAE}normalised_filters_follow_the_equation"],
    },
    {
        "name": "vae_weights_normalised_in_half_precision",
        "file": "unitalking/codec/audio_vae.py",
        "old": "weight = weight.to(torch.promote_types(weight.dtype, torch.float32))",
        "new": "weight = weight.clone()",
        "tests": [f"{VAE}half_precision_weights_are_normalised_in_fp32"],
    },
    {
        "name": "vae_raw_weights_taken_for_baked",
        "file": "unitalking/codec/audio_vae.py",
        "old": "BAKED_NORMS = (0.9, 1.03)",
        "new": "BAKED_NORMS = (0.0, 1e9)",
        "tests": [f"{VAE}raw_and_baked_weights_are_told_apart"],
    },
    {
        "name": "vae_residual_sum_without_its_shares",
        "file": "unitalking/codec/magnitude.py",
        "old": "return ((1 - share) * skip + share * branch) / math.sqrt((1 - share) ** 2 + share**2)",
        "new": "return skip + branch",
        "tests": [f"{VAE}residual_block_is_the_written_out_equation"],
    },
    {
        "name": "vae_silu_not_scaled",
        "file": "unitalking/codec/magnitude.py",
        "old": "return functional.silu(hidden) / SILU_MAGNITUDE",
        "new": "return functional.silu(hidden)",
        "tests": [f"{VAE}residual_block_is_the_written_out_equation"],
    },
    {
        "name": "vae_shortcut_around_the_norm",
        "file": "unitalking/codec/magnitude.py",
        "old": "branch = self.conv2(scaled_silu(self.conv1(scaled_silu(hidden))))\n        skip = hidden if",
        "new": "branch = self.conv2(scaled_silu(self.conv1(scaled_silu(hidden))))\n        skip = 3 * hidden if",
        "tests": [f"{VAE}residual_block_is_the_written_out_equation[6]"],
    },
    {
        "name": "vae_statistics_not_applied_to_the_input",
        "file": "unitalking/codec/audio_vae.py",
        "old": "self.encoder((mel - self.data_mean) / self.data_std)",
        "new": "self.encoder(mel)",
        "tests": [f"{VAE}statistics_apply_on_both_sides"],
    },
    {
        "name": "vae_statistics_not_applied_to_the_output",
        "file": "unitalking/codec/audio_vae.py",
        "old": "return self.decoder.local(hidden) * self.data_std + self.data_mean",
        "new": "return self.decoder.local(hidden)",
        "tests": [f"{VAE}statistics_apply_on_both_sides"],
    },
    {
        "name": "vae_gain_without_one",
        "file": "unitalking/codec/audio_vae.py",
        "old": "return self.conv_out(scaled_silu(hidden)) * (1 + self.learnable_gain)",
        "new": "return self.conv_out(scaled_silu(hidden)) * self.learnable_gain",
        "tests": [f"{VAE}gain_scales_both_outputs"],
    },
    # ---- vocoder
    {
        "name": "vocoder_always_ends_in_tanh",
        "file": "unitalking/codec/vocoder.py",
        "old": 'return samples.tanh() if self.config.final == "tanh" else samples.clamp(-1, 1)',
        "new": "return samples.tanh()",
        "tests": [f"{VOCODER}v1_ends_in_tanh_and_v2_in_a_clamp"],
    },
    {
        "name": "vocoder_always_ends_in_a_clamp",
        "file": "unitalking/codec/vocoder.py",
        "old": 'return samples.tanh() if self.config.final == "tanh" else samples.clamp(-1, 1)',
        "new": "return samples.clamp(-1, 1)",
        "tests": [f"{VOCODER}v1_ends_in_tanh_and_v2_in_a_clamp", f"{VOCODER}stage_is_the_mean_of_its_blocks"],
    },
    {
        "name": "vocoder_v2_with_v1s_ending",
        "file": "unitalking/codec/audio_codec.py",
        "old": '1536, final="clamp", final_bias=False)',
        "new": "1536)",
        "tests": [f"{VOCODER}v1_ends_in_tanh_and_v2_in_a_clamp", f"{VOCODER}names_are_the_public_ones"],
    },
    {
        "name": "vocoder_snake_in_linear_scale",
        "file": "unitalking/codec/vocoder.py",
        "old": "frequency, magnitude = self.alpha.exp()[:, None]",
        "new": "frequency, magnitude = self.alpha[:, None]",
        "tests": [f"{VOCODER}snake_is_the_written_out_equation_in_log_scale"],
    },
    {
        "name": "vocoder_upsampling_without_gain",
        "file": "unitalking/codec/vocoder.py",
        "old": "hidden = 2 * functional.conv_transpose1d(",
        "new": "hidden = functional.conv_transpose1d(",
        "tests": [f"{VOCODER}activation_is_up_snake_down_written_out_sample_by_sample"],
    },
    {
        "name": "vocoder_blocks_summed_instead_of_averaged",
        "file": "unitalking/codec/vocoder.py",
        "old": "for block in blocks) / parallel",
        "new": "for block in blocks)",
        "tests": [f"{VOCODER}stage_is_the_mean_of_its_blocks"],
    },
    {
        "name": "vocoder_weight_norm_without_its_norm",
        "file": "unitalking/codec/vocoder.py",
        "old": "return direction * (size / norm)",
        "new": "return direction * size",
        "tests": [f"{VOCODER}weight_norm_is_fused_as_torch_does_it"],
    },
    # ---- the text encoder
    {
        "name": "recorded_tempo_not_heard",
        "file": "unitalking/codec/text_encoder.py",
        "old": "times = self.clock(ids, times, spoken)",
        "new": "times = self.clock(ids, times)",
        "tests": ["tests/unit/codec/test_text_encoder.py::test_recorded_times_change_the_context"],
    },
    {
        "name": "times_only_as_fine_as_pronouncing_needs",
        "file": "unitalking/codec/text_encoder.py",
        "old": "(self.norm(hidden) + self.heard(clock))",
        "new": "(self.norm(hidden) + 0 * self.heard(clock))",
        "tests": ["tests/unit/codec/test_text_encoder.py::test_context_tells_a_latent_from_its_neighbour"],
    },
    {
        "name": "clock_runs_outside_of_the_speech",
        "file": "unitalking/codec/text_encoder.py",
        "old": "is_spoken = (times > 0) & written & ~is_end",
        "new": "is_spoken = written & ~is_end",
        "tests": [
            "tests/unit/codec/test_text_encoder.py::"
            "test_clock_goes_from_the_lead_to_the_end_and_leaves_out_what_is_not_spoken"
        ],
    },
    # ---- the whole codec
    {
        "name": "chunks_decoded_without_their_neighbours",
        "file": "unitalking/codec/audio_codec.py",
        "old": "first, last = self._hidden_needed(start, stop)",
        "new": "first, last = start, stop",
        "tests": [f"{CODEC}chunked_decoding_equals_decoding_at_once"],
    },
    {
        "name": "chunks_with_too_little_of_their_neighbours",
        "file": "unitalking/codec/audio_vae.py",
        "old": "at_frame_rate = 1 + level + 1",
        "new": "at_frame_rate = 1",
        "tests": [f"{VAE}reach_of_the_local_part_is_exactly_what_is_declared"],
    },
    # ---- refinement
    {
        "name": "refinement_in_no_chunk",
        "file": "unitalking/codec/audio_codec.py",
        "old": "return self._refined(torch.cat(samples, dim=1), torch.cat(mels, dim=2))",
        "new": "return torch.cat(samples, dim=1)",
        "tests": [f"{CODEC}a_codec_refines_what_its_config_says_in_chunks_too"],
    },
    {
        "name": "refinement_of_another_stretch",
        "file": "unitalking/codec/audio_codec.py",
        "old": "mels.append(mel[:, :, (start - first) * TIME_FACTOR : (stop - first) * TIME_FACTOR].clone())",
        "new": "mels.append(mel[:, :, : (stop - start) * TIME_FACTOR].clone())",
        "tests": [f"{CODEC}a_codec_refines_what_its_config_says_in_chunks_too"],
    },
    {
        "name": "refinement_half_a_frame_late",
        "file": "unitalking/codec/refinement.py",
        "old": "return torch.istft(spectrum, **frame)[:, before:]",
        "new": "return torch.istft(spectrum, **frame)[:, config.hop :]",
        "tests": [f"{REFINED}a_poor_vocoders_waveform_gets_the_magnitudes_back_in_place"],
    },
    {
        "name": "refinement_without_the_vocoders_phases",
        "file": "unitalking/codec/refinement.py",
        "old": "magnitude * _phase(torch.stft(padded, **frame, return_complex=True))",
        "new": "magnitude * _phase(torch.randn_like(torch.stft(padded, **frame, return_complex=True)))",
        "tests": [f"{REFINED}a_poor_vocoders_waveform_gets_the_magnitudes_back_in_place"],
    },
    {
        "name": "refinement_without_its_bands",
        "file": "unitalking/codec/refinement.py",
        "old": "spectrum = gain * torch.stft(padded",
        "new": "spectrum = torch.stft(padded",
        "tests": [f"{REFINED}a_poor_vocoders_waveform_gets_the_magnitudes_back_in_place"],
    },
]
