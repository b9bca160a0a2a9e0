"""Mistakes in the making of synthetic clips."""

SPEECH = "tests/synthetic/test_speech.py::test_"
SENTENCES = "tests/synthetic/test_sentences.py::test_"
FACES = "tests/synthetic/test_faces.py::test_"
CLIPS = "tests/synthetic/test_clips.py::test_"
DATASET = "tests/synthetic/test_dataset.py::test_"

MISTAKES = [
    # ---- speech
    {
        "name": "espeak_with_the_noise_of_the_moment",
        "file": "unitalking/synthetic/espeak.py",
        "old": "        library.espeak_ng_SetRandSeed(ctypes.c_long(1))\n",
        "new": "",
        "tests": [f"{SPEECH}an_utterance_is_the_same_in_another_process"],
    },
    {
        "name": "espeak_kept_between_utterances",
        "file": "unitalking/synthetic/espeak.py",
        "old": "    close(library._handle)",
        "new": "    del close",
        "tests": [f"{SPEECH}an_utterance_does_not_depend_on_what_was_said_before"],
    },
    {
        "name": "lead_left_out",
        "file": "unitalking/synthetic/speech.py",
        "old": "sound = torch.cat([torch.zeros(round(lead_s * sample_rate)), sound])",
        "new": "pass",
        "tests": [f"{SPEECH}speech_has_one_level_and_starts_after_its_lead"],
    },
    {
        "name": "level_of_what_is_lost_in_resampling",
        "file": "unitalking/synthetic/speech.py",
        "old": "    sound = _resampler(sample_rate)(sound)\n",
        "new": "    sound = 0.5 * sound\n",
        "tests": [f"{SPEECH}sound_is_at_its_own_rate"],
    },
    {
        "name": "samples_between_the_steps_of_sixteen_bits",
        "file": "unitalking/synthetic/speech.py",
        "old": "    return (sound * 32768).round() / 32768",
        "new": "    return sound",
        "tests": [f"{SPEECH}samples_fit_into_sixteen_bits_without_loss"],
    },
    {
        "name": "held_out_variant_also_trained",
        "file": "unitalking/synthetic/voices.py",
        "old": 'WOMEN = ("Andrea", "Annie",',
        "new": 'WOMEN = ("Andrea", "f3", "Annie",',
        "tests": [f"{SPEECH}there_are_hundreds_of_voices_and_no_held_out_variant_is_trained"],
    },
    {
        "name": "timbre_not_passed_on",
        "file": "unitalking/synthetic/speech.py",
        "old": "        timbre=voice.timbre,\n",
        "new": "",
        "tests": [f"{SPEECH}the_references_of_a_voice_have_its_timbre"],
    },
    {
        "name": "timbre_with_another_pitch",
        "file": "unitalking/synthetic/timbre.py",
        "old": '    for part in ("voicing", "consonants"):',
        "new": '    for part in ("voicing", "consonants", "pitch"):',
        "tests": [f"{SPEECH}a_timbre_scales_what_its_variant_says_and_the_defaults_of_the_rest"],
    },
    {
        "name": "every_formant_of_another_throat",
        "file": "unitalking/synthetic/timbre.py",
        "old": "tract * between(random, 1 - FORMANT_SPREAD, 1 + FORMANT_SPREAD)",
        "new": "between(random, 1 - TRACT, 1 + TRACT)",
        "tests": [f"{SPEECH}a_timbre_scales_what_its_variant_says_and_the_defaults_of_the_rest"],
    },
    {
        "name": "timbre_for_every_clip",
        "file": "unitalking/synthetic/clips.py",
        "old": "generator.random() < self.config.timbres",
        "new": "self.config.timbres > 0",
        "tests": [f"{SPEECH}a_share_of_the_clips_has_voices_of_its_own"],
    },
    {
        "name": "manner_of_the_amount_alone",
        "file": "unitalking/synthetic/motion.py",
        "old": "between(generator, slowest, fastest) * manner.speed",
        "new": "between(generator, slowest, fastest)",
        "tests": [f"{FACES}a_manner_changes_how_far_how_fast_and_how_often"],
    },
    {
        "name": "manner_for_every_clip",
        "file": "unitalking/synthetic/clips.py",
        "old": "generator.random() < self.config.manners",
        "new": "self.config.manners > 0",
        "tests": [f"{FACES}a_share_of_the_people_has_a_manner_of_their_own"],
    },
    # ---- sentences
    {
        "name": "sentences_of_either_split",
        "file": "unitalking/synthetic/sentences.py",
        "old": "        if split_of(found) == split:",
        "new": "        if found:",
        "tests": [
            f"{SENTENCES}a_sentence_is_of_the_split_that_was_asked_for",
            f"{CLIPS}the_splits_share_no_sentence_voice_variant_or_identity",
        ],
    },
    {
        "name": "split_by_punctuation",
        "file": "unitalking/synthetic/sentences.py",
        "old": 'spoken = " ".join(re.findall(r"[a-z\']+", sentence.lower()))',
        "new": "spoken = sentence",
        "tests": [f"{SENTENCES}punctuation_and_case_do_not_change_the_split"],
    },
    {
        "name": "unseen_words_trained",
        "file": "unitalking/synthetic/vocabulary.py",
        "old": '{"open": everything - unseen,',
        "new": '{"open": everything,',
        "tests": [
            f"{SENTENCES}no_unseen_word_is_ever_trained",
            f"{SENTENCES}open_sentences_speak_no_unseen_word",
        ],
    },
    {
        "name": "consonants_doubled_everywhere",
        "file": "unitalking/synthetic/vocabulary.py",
        "old": "if ends and (vowels == 1 or word in _STRESSED_AT_THE_END) else word",
        "new": "if ends else word",
        "tests": [f"{SENTENCES}regular_forms_follow_the_rules_of_spelling"],
    },
    # ---- faces
    {
        "name": "held_out_identities_among_the_trained",
        "file": "unitalking/synthetic/look.py",
        "old": "HELD_OUT_FROM = 1_000_000",
        "new": "HELD_OUT_FROM = 100_000",
        "tests": [f"{FACES}identities_of_the_splits_do_not_meet"],
    },
    {
        "name": "caption_of_another_shirt",
        "file": "unitalking/synthetic/captions.py",
        "old": '    color = said["shirt"]',
        "new": '    color = "red"',
        "tests": [f"{FACES}a_caption_says_its_attributes_and_nothing_that_is_not_true"],
    },
    {
        "name": "mouth_inside_of_the_lips_colour",
        "file": "unitalking/synthetic/features.py",
        "old": "canvas.fill(np.concatenate([inner_top, inner_bottom[::-1]]), MOUTH_INSIDE)",
        "new": "canvas.fill(np.concatenate([inner_top, inner_bottom[::-1]]), lip)",
        "tests": [f"{FACES}openness_can_be_measured_in_the_pixels"],
    },
    {
        "name": "lips_that_do_not_close",
        "file": "unitalking/synthetic/visemes.py",
        "old": '(-0.30, 0.0): "m b p"',
        "new": '(0.40, 0.0): "m b p"',
        "tests": [f"{FACES}lips_close_for_b_and_open_for_a"],
    },
    {
        "name": "mouth_four_frames_late",
        "file": "unitalking/synthetic/clips.py",
        "old": "np.arange(spec.frames) / self.config.fps)",
        "new": "np.arange(spec.frames) / self.config.fps)\n        openness = np.roll(openness, 4)",
        "tests": [f"{CLIPS}the_mouth_opens_with_the_vowels"],
    },
    {
        "name": "mouth_of_the_frame_before",
        "file": "unitalking/synthetic/face.py",
        "old": "        self._shown = (mouth, eyes)",
        "new": "        self._shown = (None, eyes)\n        self._mouths[mouth] = next(iter(self._mouths.values()))",
        "tests": [f"{FACES}a_face_is_the_same_whatever_was_drawn_before"],
    },
    {
        "name": "head_tilted_at_the_start",
        "file": "unitalking/synthetic/motion.py",
        "old": "return (total - total[0] * np.exp(-times / _EASE_S)) * (1 - np.exp(-times / _EASE_S))",
        "new": "return total",
        "tests": [f"{FACES}a_person_blinks_looks_around_and_starts_upright"],
    },
    # ---- clips and files
    {
        "name": "draws_in_the_order_of_asking",
        "file": "unitalking/synthetic/clips.py",
        "old": 'generator = draw("clip", config.seed, config.split, config.vocabulary, index)',
        "new": 'self._last = generator = getattr(self, "_last", None) or draw("clip", config.seed)',
        "tests": [f"{CLIPS}a_clip_does_not_depend_on_the_order"],
    },
    {
        "name": "clips_longer_than_allowed",
        "file": "unitalking/synthetic/clips.py",
        "old": "            if frames / config.fps <= config.longest_s:",
        "new": "            if frames:",
        "tests": [f"{CLIPS}lengths_stay_within_the_bounds"],
    },
    {
        "name": "shard_with_the_time_of_writing",
        "file": "unitalking/synthetic/dataset.py",
        "old": "                member.size = len(data)",
        "new": "                member.size, member.mtime = len(data), id(member) % 1000",
        "tests": [f"{DATASET}any_number_of_workers_writes_the_same_bytes"],
    },
    {
        "name": "finished_shards_written_again",
        "file": "unitalking/synthetic/dataset.py",
        "old": "missing = [shard for shard in shards if not shard.path.exists()]",
        "new": "missing = shards",
        "tests": [f"{DATASET}an_interrupted_run_keeps_what_is_finished"],
    },
    {
        "name": "config_of_the_folder_ignored",
        "file": "unitalking/synthetic/dataset.py",
        "old": '    if path.exists() and path.read_text(encoding="utf-8") != text:',
        "new": "    if False:",
        "tests": [f"{DATASET}another_config_does_not_mix_into_a_folder"],
    },
    {
        "name": "pictures_compressed_with_loss",
        "file": "unitalking/synthetic/dataset.py",
        "old": '"qp": "0"',
        "new": '"qp": "20"',
        "tests": [f"{DATASET}files_hold_the_clip_without_loss"],
    },
]
