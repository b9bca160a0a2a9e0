"""Mistakes in training that a falling loss would hide."""

OBJECTIVE = "unitalking/training/flow_objective.py"
BATCHES = "unitalking/training/flow_batches.py"
TRAINER = "unitalking/training/trainer.py"
TO = "tests/training/test_flow_objective.py::test_"
TB = "tests/training/test_flow_batches.py::test_"
TR = "tests/training/test_flow_run.py::test_"
TT = "tests/training/test_trainer.py::test_"
TP = "tests/training/test_embedded_plan.py::test_"
TX = "tests/training/test_text_encoder.py::test_"


def mistake(name: str, file: str, old: str, new: str, *tests: str, host: bool = False) -> dict[str, object]:
    """One entry of the table."""
    return {"name": name, "file": file, "old": old, "new": new, "tests": list(tests), "host": host}


MISTAKES = [
    mistake(
        "training_towards_the_data",
        OBJECTIVE,
        "- velocity(stream.data, stream.noise)",
        "- velocity(stream.noise, stream.data)",
        f"{TO}one_sample_is_learned_by_heart",
    ),
    mistake(
        "held_tokens_in_the_loss",
        OBJECTIVE,
        "per_latent((stream.factor != 0).to(error), stream)",
        "per_latent((stream.factor != 2).to(error), stream)",
        f"{TO}held_tokens_are_clean_and_cost_nothing",
        f"{TO}an_audio_only_task_has_the_loss_of_the_sound_alone",
    ),
    mistake(
        "held_tokens_noised_in_training",
        OBJECTIVE,
        "level = stream.factor * stream.sigma[:, None]",
        "level = stream.sigma[:, None].expand_as(stream.factor)",
        f"{TO}held_tokens_are_clean_and_cost_nothing",
        "tests/host/test_training_meets_host.py::test_training_computes_the_velocities_of_the_sampler",
        host=True,
    ),
    mistake(
        "training_without_the_mask",
        OBJECTIVE,
        "video_sees_audio=batch.video_sees_audio",
        "video_sees_audio=True",
        f"{TO}a_given_picture_does_not_see_the_sound",
    ),
    mistake(
        "training_with_sigma_for_the_timestep",
        OBJECTIVE,
        "NoiseLevels(TIMESTEPS * level, lengths)",
        "NoiseLevels(level, lengths)",
        "tests/host/test_training_meets_host.py::test_training_computes_the_velocities_of_the_sampler",
        host=True,
    ),
    mistake(
        "weights_of_the_streams_swapped",
        OBJECTIVE,
        '{"video": self.settings.video_weight, "audio": self.settings.audio_weight}',
        '{"audio": self.settings.video_weight, "video": self.settings.audio_weight}',
        "tests/training/test_flow_objective.py::test_streams_are_weighed_as_said",
    ),
    mistake(
        "rows_and_columns_of_the_region_swapped",
        OBJECTIVE,
        "found[rows, columns] = self.weight",
        "found[columns, rows] = self.weight",
        f"{TO}a_region_counts_more_and_the_mean_stays",
    ),
    mistake(
        "one_noise_for_the_whole_batch",
        BATCHES,
        "random = generator(self.seed, index, place)",
        "random = generator(self.seed, index, 0)",
        f"{TB}samples_and_steps_have_noise_of_their_own",
    ),
    mistake(
        "one_noise_for_every_step",
        BATCHES,
        "random = generator(self.seed, index, place)",
        "random = generator(self.seed, 0, place)",
        f"{TB}samples_and_steps_have_noise_of_their_own",
    ),
    mistake(
        "every_process_trains_on_the_same_share",
        BATCHES,
        "mine = range(rank * self.samples // ranks, (rank + 1) * self.samples // ranks)",
        "mine = range(self.samples // ranks)",
        f"{TB}processes_share_the_batch_of_one",
    ),
    mistake(
        "a_clip_is_its_own_reference",
        BATCHES,
        "others = others[others != position]",
        "others = others[others == position]",
        f"{TB}the_voice_is_another_clip_of_the_same_speaker",
    ),
    mistake(
        "text_is_never_dropped",
        BATCHES,
        'prompt=clip.prompt if kept.text else ""',
        "prompt=clip.prompt",
        f"{TB}dropped_text_is_the_empty_prompt_of_inference",
    ),
    mistake(
        "voice_is_never_dropped",
        BATCHES,
        "reference=reference if wants_voice and kept.reference else None",
        "reference=reference if wants_voice else None",
        f"{TB}dropped_text_is_the_empty_prompt_of_inference",
    ),
    mistake(
        "training_on_latents_of_the_vae",
        BATCHES,
        "data=self.statistics[stream].normalise(data)",
        "data=data",
        f"{TB}latents_are_normalised_by_the_models_statistics",
    ),
    mistake(
        "every_epoch_in_the_same_order",
        "unitalking/training/plan.py",
        "np.random.default_rng((self.seed, epoch))",
        "np.random.default_rng((self.seed, 0))",
        f"{TB}clips_of_one_length_share_a_batch_and_an_epoch_repeats_none",
    ),
    mistake(
        "shift_of_training_ignored",
        "unitalking/training/draws.py",
        "else torch.sigmoid(self.mean + self.std * normal), shift))",
        "else torch.sigmoid(self.mean + self.std * normal), 1.0))",
        f"{TB}sigmas_follow_their_distribution",
    ),
    mistake(
        "picture_trains_in_the_first_stage",
        "unitalking/training/start.py",
        'start.network.video.requires_grad_(trained == "all")',
        "start.network.video.requires_grad_(True)",
        f"{TR}checkpoints_of_a_frozen_network_hold_what_moves",
    ),
    mistake(
        "copy_of_the_wrong_stream",
        "unitalking/training/start.py",
        'names = settings.copy.split("_to_")',
        'names = settings.copy.split("_to_")[::-1]',
        f"{TR}one_stream_starts_as_a_copy_of_the_other",
    ),
    mistake(
        "lora_without_its_alpha",
        "unitalking/training/lora.py",
        "torch.tensor(settings.alpha or float(settings.rank))",
        "torch.tensor(float(settings.rank))",
        "tests/host/test_training_meets_host.py::"
        "test_a_trained_lora_changes_its_stream_through_the_stock_loader[audio]",
        host=True,
    ),
    mistake(
        "average_not_in_the_checkpoint",
        TRAINER,
        "self.accelerator.register_for_checkpointing(self.average)",
        "pass",
        f"{TT}a_killed_run_goes_on_with_the_same_numbers_bit_for_bit[adamw]",
    ),
    mistake(
        "rate_stays_where_it_began",
        TRAINER,
        "set_rate(party.optimisers, factor)",
        "set_rate(party.optimisers, 1.0)",
        f"{TT}curves_lie_where_tensorboard_finds_them",
    ),
    mistake(
        "accumulated_gradients_add_up",
        TRAINER,
        "losses.total.mean() / self.settings.accumulation",
        "losses.total.mean()",
        f"{TT}accumulated_micro_batches_make_the_same_step",
    ),
    mistake(
        "nan_goes_unseen",
        TRAINER,
        "if all(bool(torch.isfinite(value).all()) for value in values):",
        "if True:",
        f"{TT}nan_stops_the_run_and_names_step_and_batch",
    ),
    mistake(
        "samples_with_raw_weights",
        TRAINER,
        "with self.averaged(), torch.no_grad():",
        "with torch.no_grad():",
        f"{TT}samples_see_averaged_weights_and_leave_the_run_as_it_was",
    ),
    mistake(
        "newest_checkpoints_removed",
        "unitalking/training/checkpoints.py",
        "for old in self.complete()[: -self.keep]:",
        "for old in self.complete()[self.keep :]:",
        f"{TT}only_the_newest_checkpoints_are_kept",
    ),
    mistake(
        "checkpoints_of_other_runs_taken",
        "unitalking/training/checkpoints.py",
        "        if differing:\n",
        "        if False:\n",
        f"{TT}a_checkpoint_of_another_run_is_refused",
    ),
    mistake(
        "jobs_that_do_not_wait_for_what_they_need",
        "unitalking/training/jobs.py",
        "if done.issuperset(job.needs)]",
        "if True]",
        f"{TP}jobs_wait_for_what_they_need_and_for_processors",
    ),
    mistake(
        "jobs_whose_failure_nobody_sees",
        "unitalking/training/jobs.py",
        "    if each.process.returncode:",
        "    if False:",
        f"{TP}a_failure_stops_the_others_and_shows_its_log",
    ),
    mistake(
        "a_plan_whose_joint_stage_sees_no_faces",
        "unitalking/training/embedded.py",
        'joint = (f"data={data / faces}"',
        'joint = (f"data={data / spoken}"',
        f"{TP}every_command_of_a_plan_is_valid",
    ),
    mistake(
        "phonemes_read_off_the_padding",
        "unitalking/training/text_encoder.py",
        "frames = FRAMES_PER_BYTE * is_byte.sum(1)",
        "frames = FRAMES_PER_BYTE * torch.full_like(is_byte.sum(1), is_byte.shape[1])",
        f"{TX}padding_changes_nothing",
    ),
    mistake(
        "made_up_words_among_those_that_judge",
        "unitalking/synthetic/vocabulary.py",
        '{word.lower() for word in words("unseen").all}',
        "set()",
        "tests/synthetic/test_sentences.py::test_made_up_words_are_spelt_like_words_and_are_none",
    ),
    mistake(
        "texts_of_all_lengths_in_a_batch",
        "unitalking/training/plan.py",
        'clips[np.argsort(self.texts[clips], kind="stable")]',
        "clips",
        f"{TB}texts_of_a_batch_are_of_about_one_length",
    ),
]
