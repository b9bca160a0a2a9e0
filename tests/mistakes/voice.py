"""Mistakes with the voice reference."""

PLAIN = "tests/unit/model/test_plain_network.py::test_network_equals_the_plain_derivation[tts_voice]"
VOICE = "tests/unit/model/test_voice.py::test_"

TONE = "tests/unit/codec/test_tone.py::test_"
TONED = "tests/host/test_voice_tone.py::test_"

MISTAKES = [
    # ---- tone
    {
        "name": "tone_of_all_that_is_said",
        "file": "unitalking/codec/tone.py",
        "old": "voice[nearest].mean(1) - sound",
        "new": "voice.mean(0) - sound",
        "tests": [f"{TONE}what_is_said_stays_out_of_it"],
    },
    {
        "name": "tone_taken_away_instead_of_given",
        "file": "unitalking/codec/tone.py",
        "old": "difference = tone_difference(frames, reference)",
        "new": "difference = -tone_difference(frames, reference)",
        "tests": [f"{TONE}a_tone_that_was_lost_comes_back"],
    },
    {
        "name": "tone_always_made_up_in_full",
        "file": "unitalking/codec/tone.py",
        "old": "strength * (difference - difference.mean())",
        "new": "difference - difference.mean()",
        "tests": [f"{TONE}the_strength_is_the_share_that_is_made_up"],
    },
    {
        "name": "tone_without_bounds",
        "file": "unitalking/codec/tone.py",
        "old": ".clamp(-MOST_LOG10, MOST_LOG10)",
        "new": "",
        "tests": [f"{TONE}no_band_changes_by_more_than_12_decibels"],
    },
    {
        "name": "tone_changes_the_loudness",
        "file": "unitalking/codec/tone.py",
        "old": "(filtered * torch.minimum(louder, unclipped))",
        "new": "filtered",
        "tests": [f"{TONE}the_sound_is_as_loud_and_as_early_as_before"],
    },
    {
        "name": "tone_that_clips",
        "file": "unitalking/codec/tone.py",
        "old": "(filtered * torch.minimum(louder, unclipped))",
        "new": "(filtered * louder).clamp(-1, 1)",
        "tests": [f"{TONE}peaks_are_not_clipped"],
    },
    {
        "name": "tone_filter_with_a_delay",
        "file": "unitalking/codec/tone.py",
        "old": "[len(taps) // 2 :]",
        "new": "[len(taps) // 4 :]",
        "tests": [f"{TONE}the_sound_is_as_loud_and_as_early_as_before"],
    },
    {
        "name": "tone_of_a_quiet_recording_taken_for_a_dull_one",
        "file": "unitalking/codec/tone.py",
        "old": "(gain * waveform)[None]",
        "new": "waveform[None]",
        "tests": [f"{TONE}how_loud_the_reference_was_recorded_does_not_count"],
    },
    {
        "name": "tone_of_speech_that_is_clipped_for_its_pauses",
        "file": "unitalking/codec/tone.py",
        "old": "torch.minimum(LEVEL_RMS / level.clamp_min(SMALLEST), 1 / waveform.abs().max().clamp_min(SMALLEST))",
        "new": "LEVEL_RMS / level.clamp_min(SMALLEST)",
        "tests": [f"{TONE}pauses_do_not_count"],
    },
    {
        "name": "tone_bounded_with_what_is_only_louder",
        "file": "unitalking/codec/tone.py",
        "old": "strength * (difference - difference.mean())",
        "new": "strength * difference",
        "tests": [f"{TONE}the_tone_that_is_bounded_is_no_loudness"],
    },
    {
        "name": "tone_in_two_logarithms",
        "file": "unitalking/codec/tone.py",
        "old": 'mel / math.log(10) if config.log == "ln" else mel',
        "new": "mel",
        "tests": [f"{TONE}both_logarithms_give_one_tone"],
    },
    {
        "name": "models_own_tone_forgotten",
        "file": "nodes/decode.py",
        "old": "strength or audio_vae.config.sampling.voice_tone",
        "new": "strength",
        "tests": [f"{TONED}a_model_says_how_much_is_made_up"],
        "host": True,
    },
    {
        "name": "tone_asked_for_ignored",
        "file": "nodes/decode.py",
        "old": "strength or audio_vae.config.sampling.voice_tone",
        "new": "audio_vae.config.sampling.voice_tone",
        "tests": [f"{TONED}the_sound_is_matched_clip_by_clip"],
        "host": True,
    },
    {
        "name": "parts_of_a_talk_decoded_without_the_voice",
        "file": "nodes/long_talk.py",
        "old": "**codecs, **spoken, tiled=False",
        "new": "**codecs, tiled=False",
        "tests": [f"{TONED}a_long_talk_gives_every_part_the_voices_tone"],
        "host": True,
    },
    {
        "name": "voice_saved_without_its_frames",
        "file": "nodes/voice_files.py",
        "old": "for name in (LATENTS, FRAMES) if getattr(voice, name) is not None}",
        "new": "for name in (LATENTS,)}",
        "tests": ["tests/host/test_voice_files.py::test_a_voice_there_and_back_is_the_same"],
        "host": True,
    },
    # ---- reference
    {
        "name": "a_third_of_a_reference_given_up_for_its_pauses",
        "file": "unitalking/voice.py",
        "old": "_SNAP_SHARE = 0.05",
        "new": "_SNAP_SHARE = 0.2",
        "tests": ["tests/unit/test_voice.py::test_a_window_gives_up_little_for_its_pauses"],
    },
    {
        "name": "voice_of_another_codec_decoded_all_the_same",
        "file": "nodes/routes.py",
        "old": "if not understands(kept.codec, own):",
        "new": "if False:",
        "tests": ["tests/host/test_routes.py::test_a_voice_of_another_sound_codec_cannot_be_heard"],
        "host": True,
    },
    {
        "name": "codecs_of_the_same_numbers_taken_for_one",
        "file": "unitalking/checkpoint/codec_id.py",
        "old": "if not carried:",
        "new": "if True:",
        "tests": [
            "tests/host/test_voice_turns.py::test_a_codec_of_the_same_numbers_but_another_training_is_another_one",
        ],
        "host": True,
    },
    {
        "name": "voices_change_when_the_plan_would_have_it",
        "file": "nodes/conditioning.py",
        "old": "ends_s = ends_at - starts_at if ends_at else ends_s",
        "new": "ends_s = ends_s if ends_s else ends_at",
        "tests": [
            "tests/host/test_voice_turns.py::test_a_voice_begins_with_its_words_where_the_speech_is_told_to_end",
        ],
        "host": True,
    },
    {
        "name": "voice_ignored",
        "file": "unitalking/model/attention.py",
        "old": "if keys.reference_keys is not None:",
        "new": "if False:",
        "tests": [PLAIN, f"{VOICE}a_voice_changes_the_sound_and_through_it_the_picture"],
    },
    {
        "name": "voice_present_ignored",
        "file": "unitalking/model/attention.py",
        "old": "torch.addcmul(attended, voice, voice_present.to(voice.dtype))",
        "new": "attended + voice",
        "tests": [f"{VOICE}an_absent_voice_in_a_mixed_batch_is_exactly_no_reference"],
    },
    {
        "name": "voice_present_of_the_first_sample_for_all",
        "file": "unitalking/model/attention.py",
        "old": "voice_present.to(voice.dtype)",
        "new": "voice_present[:1].to(voice.dtype)",
        "tests": [f"{VOICE}an_absent_voice_in_a_mixed_batch_is_exactly_no_reference"],
    },
    {
        "name": "reference_in_the_texts_softmax",
        "file": "unitalking/model/attention.py",
        "old": "voice = self._hear_voices(queries, keys, attention, turns)",
        "new": (
            "both = [torch.cat([getattr(keys, f'{part}_{kind}') for part in ('text', 'reference')], 1) "
            "for kind in ('keys', 'values')]"
            "\n            voice = attention(queries, *both, self.heads) - attended"
        ),
        "tests": [PLAIN, f"{VOICE}the_voice_is_an_attention_of_its_own_with_every_row"],
    },
    {
        "name": "reference_rotated",
        "file": "unitalking/model/attention.py",
        "old": "self.norm_k_reference(self.k_reference(reference))",
        "new": (
            "apply_rope((r := self.norm_k_reference(self.k_reference(reference)).unflatten(-1, (self.heads, -1))), "
            "Rope((a := torch.outer(torch.arange(r.shape[1]).to(r), r.new_ones(r.shape[3] // 2))).cos(), a.sin()))"
            ".flatten(2)"
        ),
        "tests": [PLAIN, f"{VOICE}the_voices_rows_have_no_order"],
    },
    {
        "name": "reference_keys_not_normalised",
        "file": "unitalking/model/attention.py",
        "old": "self.norm_k_reference(self.k_reference(reference))",
        "new": "self.k_reference(reference)",
        "tests": [PLAIN, f"{VOICE}the_voices_keys_are_normalised_with_their_own_weight"],
    },
    {
        "name": "reference_keys_normalised_with_the_texts_weight",
        "file": "unitalking/model/attention.py",
        "old": "self.norm_k_reference(self.k_reference(reference))",
        "new": "self.norm_k(self.k_reference(reference))",
        "tests": [PLAIN, f"{VOICE}the_voices_keys_are_normalised_with_their_own_weight"],
    },
    {
        "name": "reference_without_the_stems_bias",
        "file": "unitalking/model/transformer.py",
        "old": "[self.audio.embed(clip) for clip in clips]",
        "new": "[self.audio.embed(clip) - self.audio.patch_embedding.bias for clip in clips]",
        "tests": [PLAIN, f"{VOICE}the_voices_keys_are_normalised_with_their_own_weight"],
    },
    {
        "name": "reference_with_an_output_pass_of_its_own",
        "file": "unitalking/model/attention.py",
        "old": "return self.o(attended)",
        "new": "return self.o(attended) + (0 if keys.reference_keys is None else self.o.bias)",
        "tests": [PLAIN, f"{VOICE}text_and_voice_are_summed_before_one_output_projection"],
    },
    {
        "name": "reference_loses_its_last_row",
        "file": "unitalking/model/transformer.py",
        "old": "[self.audio.embed(clip) for clip in clips]",
        "new": "[self.audio.embed(clip)[:, :-1] for clip in clips]",
        "tests": [PLAIN, f"{VOICE}the_voice_is_an_attention_of_its_own_with_every_row"],
    },
    {
        "name": "reference_in_the_video_stream_too",
        "file": "unitalking/model/transformer.py",
        "old": 'has_reference="video" in voice',
        "new": 'has_reference="audio" in voice',
        "tests": [
            f"{VOICE}with_one_block_the_voice_cannot_reach_the_picture",
            "tests/unit/model/test_parameters.py::test_video_weights_have_wans_825_names_and_shapes",
        ],
    },
    {
        "name": "voice_file_outside_of_its_folder",
        "file": "nodes/voice_files.py",
        "old": "if not is_name or not path.is_relative_to(folder):",
        "new": "if not is_name:",
        "tests": ["tests/host/test_voice_files.py::test_a_name_that_is_none_or_leads_elsewhere_is_refused"],
        "host": True,
    },
    {
        "name": "voice_file_of_half_precision",
        "file": "nodes/voice_files.py",
        "old": "tensors[LATENTS] = tensors[LATENTS].float()",
        "new": "tensors[LATENTS] = tensors[LATENTS].half()",
        "tests": ["tests/host/test_voice_files.py::test_a_voice_there_and_back_is_the_same"],
        "host": True,
    },
    {
        "name": "every_turn_hears_the_first_voice",
        "file": "unitalking/model/attention.py",
        "old": "attention(part, *(own[number] for own in voices), self.heads)",
        "new": "attention(part, *(own[0] for own in voices), self.heads)",
        "tests": ["tests/unit/model/test_voice.py::test_every_turn_hears_its_own_voice_alone"],
    },
    {
        "name": "several_voices_without_turns",
        "file": "nodes/adapter.py",
        "old": 'sound = replace(sound, turns=run.once(("turns", speakers), lambda: runs_of(speakers)))',
        "new": "pass",
        "tests": ["tests/host/test_voice_turns.py::test_when_a_turn_begins_matters"],
        "host": True,
    },
    {
        "name": "negative_without_the_turns",
        "file": "nodes/conditioning.py",
        "old": "AUDIO_CONTEXT_KEY: unheard[0][0], **every}]",
        "new": "AUDIO_CONTEXT_KEY: unheard[0][0]}]",
        "tests": ["tests/host/test_voice_turns.py::test_two_voices_are_both_heard_in_one_batched_call"],
        "host": True,
    },
    {
        "name": "window_hears_the_voices_of_the_whole_clip",
        "file": "nodes/windows.py",
        "old": "get_tensor(table, dim=1)[0].tolist())",
        "new": "get_tensor(table.flip(1), dim=1)[0].tolist())",
        "tests": ["tests/host/test_voice_turns.py::test_a_window_hears_the_voices_of_its_own_part"],
        "host": True,
    },
    {
        "name": "words_of_a_turn_looked_for_from_the_beginning",
        "file": "unitalking/voice_turns.py",
        "old": ".search(speech, after)",
        "new": ".search(speech)",
        "tests": ["tests/unit/test_voice_turns.py::test_words_begin_where_the_plan_says_them"],
    },
]
