"""Mistakes with data sets: shards, reading of clips, filters, and the command that makes them."""

SHARDS = "tests/training/test_shards.py::test_"
MEDIA = "tests/training/test_prepare_media.py::test_"
SOURCES = "tests/training/test_prepare_sources.py::test_"
SUMS = "tests/training/test_prepare_sums.py::test_"
PREPARE = "tests/training/test_prepare.py::test_"
SYNTHETIC = "tests/training/test_prepare_synthetic.py::test_"
FILTERS = "tests/training/test_filters.py::test_"

MISTAKES = [
    {
        "name": "shard_checksums_not_compared",
        "file": "unitalking/training/shards.py",
        "old": "if zlib.crc32(members[kind]) != checksum:",
        "new": "if False:",
        "tests": [f"{SHARDS}a_changed_byte_is_found_in_the_clip_that_it_is_in"],
    },
    {
        "name": "shard_size_not_checked_when_opened",
        "file": "unitalking/training/shards.py",
        "old": "if size != shard.bytes:",
        "new": "if False:",
        "tests": [f"{SHARDS}a_cut_off_shard_is_named_when_the_data_set_is_opened"],
    },
    {
        "name": "shards_read_through_a_shared_file_position",
        "file": "unitalking/training/shards.py",
        "old": 'if not hasattr(os, "pread"):',
        "new": "if True:",
        "tests": [f"{SHARDS}forked_processes_that_share_open_files_do_not_disturb_each_other"],
    },
    {
        "name": "shard_files_never_closed",
        "file": "unitalking/training/shards.py",
        "old": "while len(self._files) >= OPEN_SHARDS:",
        "new": "while False:",
        "tests": [f"{SHARDS}only_so_many_files_are_open_at_once"],
    },
    {
        "name": "shard_files_pickled_as_numbers",
        "file": "unitalking/training/shards.py",
        "old": 'return {**self.__dict__, "_files": OrderedDict()}',
        "new": "return self.__dict__",
        "tests": [f"{SHARDS}pickled_shards_open_their_own_files"],
    },
    {
        "name": "clips_of_one_name_accepted",
        "file": "unitalking/training/shards.py",
        "old": "if len(set(self.keys)) < len(self.keys):",
        "new": "if False:",
        "tests": [f"{SHARDS}two_clips_of_one_name_are_refused_in_a_shard_and_in_a_data_set"],
    },
    {
        "name": "latents_that_are_not_finite_written",
        "file": "unitalking/training/shards.py",
        "old": "if not bool(value.isfinite().all()):",
        "new": "if False:",
        "tests": [f"{SHARDS}a_clip_that_training_could_not_use_is_not_written"],
    },
    {
        "name": "speakers_numbered_as_they_come",
        "file": "unitalking/training/shards.py",
        "old": "numbers = {name: number for number, name in enumerate(self.speakers)}",
        "new": "numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}",
        "tests": [f"{SHARDS}table_tells_what_reading_would"],
    },
    {
        "name": "shards_carry_the_time_they_were_made",
        "file": "unitalking/training/shard_writer.py",
        "old": "mtime=0.0",
        "new": "mtime=float(len(str(self.folder)))",
        "tests": [f"{SHARDS}the_same_clips_give_the_same_bytes"],
    },
    {
        "name": "half_a_shard_left_by_a_full_disk",
        "file": "unitalking/training/shard_writer.py",
        "old": "leftover.unlink(missing_ok=True)",
        "new": "pass",
        "tests": [
            f"{SHARDS}a_full_disk_while_the_index_is_written_leaves_no_half_shard",
            f"{SHARDS}a_failure_between_clips_leaves_complete_shards_alone",
        ],
    },
    {
        "name": "codec_fingerprint_of_decoders_too",
        "file": "unitalking/training/dataset.py",
        "old": "if key.startswith(ENCODER_TENSORS[part])",
        "new": "if key",
        "tests": [f"{SHARDS}decoders_may_be_trained_further_without_making_the_data_set_anew"],
    },
    {
        "name": "data_set_of_another_codec_accepted",
        "file": "unitalking/training/dataset.py",
        "old": "made.fingerprint != own.fingerprint",
        "new": "False",
        "tests": [
            f"{SHARDS}a_data_set_made_for_another_model_is_refused",
            f"{PREPARE}description_says_what_made_it_and_fits_its_model_alone",
        ],
    },
    {
        "name": "decoding_thought_to_begin_where_the_part_does",
        "file": "unitalking/training/prepare/media.py",
        "old": "time = number / rate if frame.pts is None else frame.pts * stream.time_base - origin",
        "new": "time = start + number / rate",
        "tests": [f"{MEDIA}a_part_begins_where_it_is_said_to"],
    },
    {
        "name": "picture_after_the_moment_instead_of_the_nearest",
        "file": "unitalking/training/prepare/media.py",
        "old": "earlier = self.last is not None and self.moment - self.last[0] <= time - self.moment",
        "new": "earlier = False",
        "tests": [f"{MEDIA}pictures_are_those_nearest_in_time"],
    },
    {
        "name": "pictures_turned_the_wrong_way",
        "file": "unitalking/training/prepare/media.py",
        "old": "/ 90))",
        "new": "/ -90))",
        "tests": [f"{MEDIA}a_phone_held_upright_gives_upright_pictures"],
    },
    {
        "name": "sound_starts_with_its_own_stream",
        "file": "unitalking/training/prepare/media.py",
        "old": "offset = round((first - start) * rate)",
        "new": "offset = 0",
        "tests": [
            f"{MEDIA}sound_that_begins_later_than_the_picture_is_preceded_by_silence",
            f"{MEDIA}a_click_stays_at_its_flash",
        ],
    },
    {
        "name": "cut_off_files_taken_as_they_are",
        "file": "unitalking/training/prepare/media.py",
        "old": "if said - end > max(CUT_OFF_S, CUT_OFF_SHARE * said):",
        "new": "if False:",
        "tests": [f"{MEDIA}a_cut_off_video_is_found"],
    },
    {
        "name": "crop_from_the_corner",
        "file": "unitalking/training/prepare/media.py",
        "old": "top, left = (size[0] - height) // 2, (size[1] - width) // 2",
        "new": "top, left = 0, 0",
        "tests": [f"{MEDIA}pictures_are_fitted_by_a_centre_crop", f"{MEDIA}fitting_is_that_of_a_portrait"],
    },
    {
        "name": "text_given_to_two_clips",
        "file": "unitalking/training/prepare/sources.py",
        "old": "if stem in taken:",
        "new": "if False:",
        "tests": [f"{SOURCES}two_clips_of_one_name_are_not_given_the_same_text"],
    },
    {
        "name": "deviation_about_zero",
        "file": "unitalking/training/prepare/sums.py",
        "old": "variance = (self.squares / self.count - mean.square()).clamp(min=0)",
        "new": "variance = self.squares / self.count",
        "tests": [f"{SUMS}statistics_are_mean_and_deviation_of_every_channel"],
    },
    {
        "name": "statistics_added_up_in_the_latents_precision",
        "file": "unitalking/training/prepare/sums.py",
        "old": "values = latents.double().flatten(1)",
        "new": "values = latents.flatten(1)",
        "tests": [f"{SUMS}half_precision_latents_are_added_up_in_double_precision"],
    },
    {
        "name": "preview_factors_of_raw_latents",
        "file": "unitalking/training/prepare/sums.py",
        "old": "normalised = torch.cat((raw[:-1] * std[:, None], (raw[-1] + mean @ raw[:-1])[None]))",
        "new": "normalised = raw",
        "tests": [
            f"{SUMS}factors_bring_normalised_latents_to_the_colours",
            f"{PREPARE}statistics_and_preview_factors_are_those_of_the_data",
        ],
    },
    {
        "name": "pictures_encoded_from_0_to_1",
        "file": "unitalking/training/prepare/encoders.py",
        "old": ".float() / 127.5 - 1",
        "new": ".float() / 255",
        "tests": [f"{PREPARE}latents_are_what_inference_encodes"],
    },
    {
        "name": "sound_not_filled_to_whole_latents",
        "file": "unitalking/training/prepare/clips.py",
        "old": "samples = timeline.audio_latents(frames, config.fps, config.sample_rate, step) * step",
        "new": "samples = timeline.samples_kept(frames, config.fps, config.sample_rate)",
        "tests": [
            f"{PREPARE}latents_are_what_inference_encodes",
            f"{PREPARE}a_clip_of_sound_alone_has_a_length_that_inference_plans",
        ],
    },
    {
        "name": "a_picture_more_for_a_rounded_sample",
        "file": "unitalking/training/prepare/clips.py",
        "old": "seconds - 1 / config.sample_rate",
        "new": "seconds",
        "tests": [f"{SYNTHETIC}sound_alone_has_the_lengths_and_texts_of_the_whole_clips"],
    },
    {
        "name": "parts_of_a_long_clip_all_from_its_start",
        "file": "unitalking/training/prepare/clips.py",
        "old": "start = row.start_s + number * step",
        "new": "start = row.start_s",
        "tests": [f"{PREPARE}a_long_clip_is_cut_into_parts_that_follow_each_other"],
    },
    {
        "name": "damaged_units_taken_as_complete",
        "file": "unitalking/training/prepare/unit.py",
        "old": "return record if whole else None",
        "new": "return record",
        "tests": [f"{PREPARE}a_damaged_shard_is_made_again_and_no_other"],
    },
    {
        "name": "finished_units_made_again",
        "file": "unitalking/training/prepare/run.py",
        "old": "missing = [unit for unit in units if complete(out, unit) is None]",
        "new": "missing = units",
        "tests": [f"{PREPARE}a_finished_data_set_is_left_alone"],
    },
    {
        "name": "data_set_continued_with_other_settings",
        "file": "unitalking/training/prepare/run.py",
        "old": "changed = [name for name in plan if begun.get(name) != plan[name]]",
        "new": "changed = []",
        "tests": [
            f"{PREPARE}a_data_set_is_not_continued_with_other_settings",
            f"{PREPARE}a_data_set_is_not_continued_with_another_codec",
        ],
    },
    {
        "name": "clips_counted_as_bad_and_not_listed",
        "file": "unitalking/training/prepare/run.py",
        "old": 'skipped += record["skipped"]',
        "new": "pass",
        "tests": [f"{PREPARE}every_bad_clip_is_listed_with_its_reason"],
    },
    {
        "name": "faces_looked_for_in_swapped_colours",
        "file": "unitalking/training/prepare/filters.py",
        "old": "detector.detect(picture.flip(-1).contiguous().numpy())",
        "new": "detector.detect(picture.contiguous().numpy())",
        "tests": [f"{FILTERS}opencvs_face_detector_sees_pictures_as_they_are"],
    },
    {
        "name": "cuts_near_an_end_merged",
        "file": "unitalking/training/prepare/filters.py",
        "old": "min_scene_len=0",
        "new": "min_scene_len=12",
        "tests": [f"{FILTERS}cuts_are_counted_and_motion_is_none"],
    },
]
