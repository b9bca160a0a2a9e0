"""Mistakes in the evaluation."""

WORDS = "tests/evaluation/test_words.py::test_"
SYNC = "tests/evaluation/test_sync.py::test_"
PITCH = "tests/evaluation/test_pitch.py::test_"
TABLE = "tests/evaluation/test_table.py::test_"
CLIPS = "tests/evaluation/test_clips.py::test_"
FULL = "tests/evaluation/test_full_size.py::test_"
NETWORKS = "tests/evaluation/test_networks.py::test_"
PICTURES = "tests/evaluation/test_pictures.py::test_"

MISTAKES = [
    {
        "name": "blank_left_out_between_equal_phonemes",
        "file": "unitalking/evaluation/words.py",
        "old": "skips.append(place > 0 and said[place - 1] != phoneme)",
        "new": "skips.append(place > 0)",
        "tests": [f"{WORDS}best_words_are_those_of_all_sequences_tried_one_by_one"],
    },
    {
        "name": "word_penalty_added",
        "file": "unitalking/evaluation/words.py",
        "old": "before - penalty, frame)",
        "new": "before + penalty, frame)",
        "tests": [
            f"{WORDS}a_higher_penalty_hears_fewer_words",
            f"{WORDS}best_words_are_those_of_all_sequences_tried_one_by_one",
        ],
    },
    {
        "name": "entry_time_lost_when_a_blank_is_skipped",
        "file": "unitalking/evaluation/words.py",
        "old": "np.where(skipped, when_two, when)",
        "new": "when",
        "tests": [f"{WORDS}words_that_follow_each_other_are_heard_in_order"],
    },
    {
        "name": "insertions_free",
        "file": "unitalking/evaluation/words.py",
        "old": "min(replaced, row[place] + 1, row[place - 1] + 1)",
        "new": "min(replaced, row[place], row[place - 1] + 1)",
        "tests": [f"{WORDS}edit_distance_is_torchaudios"],
    },
    {
        "name": "homophones_wrong",
        "file": "unitalking/evaluation/words.py",
        "old": "frozenset(map(tuple, lexicon[word]))",
        "new": "frozenset([(word,)])",
        "tests": [f"{WORDS}homophones_are_right_and_other_words_wrong"],
    },
    {
        "name": "lag_of_the_wrong_sign",
        "file": "unitalking/evaluation/sync.py",
        "old": "lags[best])",
        "new": "-lags[best])",
        "tests": [f"{SYNC}best_lag_is_how_much_later_the_mouth_moves"],
    },
    {
        "name": "correlation_without_the_mean",
        "file": "unitalking/evaluation/sync.py",
        "old": "one, other = one - one.mean(), other - other.mean()",
        "new": "one, other = one - one.mean(), other",
        "tests": [f"{SYNC}scale_and_offset_of_a_track_do_not_matter"],
    },
    {
        "name": "pitch_on_the_wrong_side_of_the_lag",
        "file": "unitalking/evaluation/pitch.py",
        "old": "longest + 1) + offset.clamp(-1, 1)",
        "new": "longest + 1) - offset.clamp(-1, 1)",
        "tests": [f"{PITCH}pitch_of_a_buzz_is_its_own"],
    },
    {
        "name": "rates_averaged_over_clips",
        "file": "unitalking/evaluation/table.py",
        "old": "return (float(value.wrong), float(value.total))",
        "new": "return (value.rate, 1.0)",
        "tests": [f"{TABLE}errors_are_summed_over_clips_not_averaged"],
    },
    {
        "name": "interval_of_half_the_width",
        "file": "unitalking/evaluation/table.py",
        "old": "INTERVAL = (2.5, 97.5)",
        "new": "INTERVAL = (25, 75)",
        "tests": [f"{TABLE}interval_covers_the_truth_about_as_often_as_it_says"],
    },
    {
        "name": "seeds_not_told_apart",
        "file": "unitalking/evaluation/table.py",
        "old": "of_seed = {seed: np.array([score.seed == seed for score in known]) for seed in seeds}",
        "new": "of_seed = {seed: np.array([True for score in known]) for seed in seeds}",
        "tests": [f"{TABLE}spread_over_seeds_is_that_of_each_seeds_own_figure"],
    },
    {
        "name": "colours_in_the_order_of_the_file",
        "file": "unitalking/evaluation/clips.py",
        "old": 'frame.to_ndarray(format="rgb24")',
        "new": 'frame.to_ndarray(format="bgr24")',
        "tests": [f"{CLIPS}colours_survive_a_file"],
    },
    {
        "name": "cepstra_without_preemphasis",
        "file": "unitalking/evaluation/full_size/mfcc.py",
        "old": "PREEMPHASIS = 0.97",
        "new": "PREEMPHASIS = 0.0",
        "tests": [f"{FULL}cepstra_equal_the_plain_derivation"],
    },
    {
        "name": "cepstra_without_energy",
        "file": "unitalking/evaluation/full_size/mfcc.py",
        "old": "    cepstra[:, 0] = np.log(energy)\n",
        "new": "",
        "tests": [f"{FULL}cepstra_equal_the_plain_derivation"],
    },
    {
        "name": "offset_of_the_wrong_sign",
        "file": "unitalking/evaluation/full_size/syncnet.py",
        "old": "LARGEST_OFFSET - int(place))",
        "new": "int(place) - LARGEST_OFFSET)",
        "tests": [f"{FULL}offset_is_how_early_the_sound_is"],
    },
    {
        "name": "confidence_from_the_mean",
        "file": "unitalking/evaluation/full_size/syncnet.py",
        "old": "float(distances.median() - smallest)",
        "new": "float(distances.mean() - smallest)",
        "tests": [f"{FULL}scores_equal_the_plain_derivation"],
    },
    {
        "name": "recordings_cut_where_they_are_loudest",
        "file": "unitalking/evaluation/full_size/speech_models.py",
        "old": ".mean(1).argmin())",
        "new": ".mean(1).argmax())",
        "tests": [f"{FULL}long_recordings_are_heard_in_parts_that_end_in_pauses"],
    },
    {
        "name": "syncnet_takes_all_frames_at_once",
        "file": "unitalking/evaluation/full_size/syncnet.py",
        "old": "BATCH = 20",
        "new": "BATCH = 20000",
        "tests": [f"{FULL}syncnet_takes_a_few_frames_at_a_time"],
    },
    {
        "name": "lags_counted_in_frames_whatever_they_last",
        "file": "unitalking/evaluation/sync.py",
        "old": "max(1, round(fps * LARGEST_LAG_S))",
        "new": "8",
        "tests": [f"{SYNC}lags_are_looked_for_by_the_clock"],
    },
    {
        "name": "rounding_taken_for_a_moving_mouth",
        "file": "unitalking/evaluation/sync.py",
        "old": "STILL = 1e-4",
        "new": "STILL = 1e-9",
        "tests": [f"{SYNC}a_still_mouth_agrees_with_nothing"],
    },
    {
        "name": "silence_is_not_zero",
        "file": "unitalking/evaluation/sound.py",
        "old": "MEL_FLOOR_LOG10 = -5.0",
        "new": "MEL_FLOOR_LOG10 = -6.0",
        "tests": [f"{NETWORKS}silence_is_zero_and_stays_silent"],
    },
    {
        "name": "tracks_read_half_a_frame_late",
        "file": "unitalking/evaluation/judges.py",
        "old": "position = torch.arange(frames) / fps * FRAMES_PER_S - 0.5",
        "new": "position = torch.arange(frames) / fps * FRAMES_PER_S",
        "tests": [f"{NETWORKS}a_track_is_read_at_the_times_of_pictures"],
    },
    {
        "name": "frames_of_a_step_out_of_order",
        "file": "unitalking/evaluation/networks.py",
        "old": "scores.permute(0, 3, 2, 1).flatten(1, 2)",
        "new": "scores.permute(0, 2, 3, 1).flatten(1, 2)",
        "tests": [f"{NETWORKS}frame_judge_keeps_time"],
    },
    {
        "name": "silence_weighs_in_the_voice",
        "file": "unitalking/evaluation/networks.py",
        "old": ".masked_fill(~heard, -1e4)",
        "new": "",
        "tests": [f"{NETWORKS}embedding_has_length_one_and_ignores_silence_at_the_ends"],
    },
    {
        "name": "mouth_judged_as_identity",
        "file": "unitalking/evaluation/identity.py",
        "old": "    keep[top:bottom, left:right] = False\n",
        "new": "",
        "tests": [f"{PICTURES}the_same_face_has_no_distance_whatever_its_mouth_does"],
    },
    {
        "name": "portrait_not_moved_to_the_head",
        "file": "unitalking/evaluation/identity.py",
        "old": "distances.append(min(fine.values()))",
        "new": "distances.append(max(fine.values()))",
        "tests": [f"{PICTURES}a_moved_head_is_found_again"],
    },
]
