"""Mistakes in the training of the codecs, and in the bundle."""

AUDIO = "tests/training/test_audio_vae.py::test_"
VIDEO = "tests/training/test_video_vae.py::test_"
VOCODER = "tests/training/test_vocoder.py::test_"
MUON = "tests/training/test_muon.py::test_"
BUNDLE = "tests/training/test_bundle.py::test_"

MISTAKES = [
    {
        "name": "audio_vae_starts_with_blurring_filters",
        "file": "unitalking/training/audio_vae.py",
        "old": "        if start is None:\n            start_frame_by_frame(self.vae)",
        "new": "        if start is None:\n            pass",
        "tests": [f"{AUDIO}fresh_filters_look_at_one_frame_in_directions_of_their_own"],
    },
    {
        "name": "audio_vae_filters_normalised_once_and_not_in_the_forward",
        "file": "unitalking/training/audio_vae.py",
        "old": 'normalise_weights({"filters.weight": matrix[:, :, None]})["filters.weight"][..., 0]',
        "new": "matrix",
        "tests": [f"{AUDIO}filters_have_norm_one_in_every_forward", f"{AUDIO}the_baked_file_is_the_trained_model"],
    },
    {
        "name": "audio_vae_saved_raw",
        "file": "unitalking/training/audio_vae.py",
        "old": "return plain_tensors(self.vae)",
        "new": 'return {name.replace(".parametrizations.weight.original", ".weight"): value '
        "for name, value in self.vae.state_dict().items()}",
        "tests": [f"{AUDIO}the_baked_file_is_the_trained_model"],
    },
    {
        "name": "audio_vae_kl_without_the_variance",
        "file": "unitalking/training/audio_vae.py",
        "old": '"kl": 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean((1, 2)),',
        "new": '"kl": 0.5 * (mean.square() - 1 - logvar).mean((1, 2)),',
        "tests": [f"{AUDIO}the_loss_has_its_three_terms"],
    },
    {
        "name": "harmonics_taken_over_time",
        "file": "unitalking/training/audio_vae.py",
        "old": "error.diff(dim=1).abs()",
        "new": "error.diff(dim=2).abs()",
        "tests": [f"{AUDIO}harmonics_are_differences_between_neighbouring_bands"],
    },
    {
        "name": "fixed_posterior_with_the_wrong_variance",
        "file": "unitalking/training/audio_vae.py",
        "old": "2 * math.log(weights.posterior_std)",
        "new": "math.log(weights.posterior_std)",
        "tests": [f"{AUDIO}a_fixed_posterior_leaves_the_encoders_own_out"],
    },
    {
        "name": "muon_without_looking_ahead",
        "file": "unitalking/training/muon.py",
        "old": "ahead = torch._foreach_lerp(gradients, means, momentum)",
        "new": "ahead = means",
        "tests": [f"{MUON}the_steps_are_those_of_pytorch"],
    },
    {
        "name": "muon_with_one_rate_for_all_shapes",
        "file": "unitalking/training/muon.py",
        "old": 'group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))',
        "new": 'group["lr"]',
        "tests": [f"{MUON}the_steps_are_those_of_pytorch"],
    },
    {
        "name": "muon_whose_processes_take_the_same_matrices",
        "file": "unitalking/training/muon.py",
        "old": "filled.chunk(processes)[distributed.get_rank()]",
        "new": "filled.chunk(processes)[0]",
        "tests": ["tests/training/test_trainer.py::test_two_processes_give_the_losses_of_one"],
    },
    {
        "name": "bf16_on_processors_without_it",
        "file": "unitalking/training/processes.py",
        "old": "torch.cpu.get_capabilities().get(name, False)",
        "new": "True",
        "tests": [f"{MUON}bf16_is_taken_where_the_processor_has_it"],
    },
    {
        "name": "wave_batches_that_depend_on_the_process",
        "file": "unitalking/training/waves.py",
        "old": "for sample in range(rank * share, (rank + 1) * share)]",
        "new": "for sample in range(share)]",
        "tests": [f"{AUDIO}processes_share_a_batch_out_without_changing_it"],
    },
    {
        "name": "levels_as_decibels_of_power",
        "file": "unitalking/training/waves.py",
        "old": "10 ** (decibels / 20)",
        "new": "10 ** (decibels / 10)",
        "tests": [f"{AUDIO}levels_are_changed_within_their_range_and_some_samples_are_silent"],
    },
    {
        "name": "activation_gradient_without_the_repeated_ends",
        "file": "unitalking/training/activation.py",
        "old": "torch.where(place == length - 1, last, 0.0)",
        "new": "0 * last",
        "tests": [f"{VOCODER}trained_activations_are_the_codecs_with_their_gradients"],
    },
    {
        "name": "activation_gradient_with_the_phases_swapped",
        "file": "unitalking/training/activation.py",
        "old": "even[..., 6 - q : 6 - q + length] * UP_EVEN[q] + odd[..., 5 - q : 5 - q + length] * UP_ODD[q]",
        "new": "even[..., 6 - q : 6 - q + length] * UP_ODD[q] + odd[..., 5 - q : 5 - q + length] * UP_EVEN[q]",
        "tests": [f"{VOCODER}trained_activations_are_the_codecs_with_their_gradients"],
    },
    {
        "name": "judges_trained_on_a_vocoder_that_moves_along",
        "file": "unitalking/training/vocoder.py",
        "old": "            with torch.no_grad():\n                made = self.vocoder(mel).float()",
        "new": "            made = self.vocoder(mel).float()",
        "tests": [f"{VOCODER}each_partys_gradient_reaches_all_its_weights_and_no_others"],
    },
    {
        "name": "judges_moved_with_the_vocoder",
        "file": "unitalking/training/vocoder.py",
        "old": 'prefix = "vocoder." if party == GENERATOR else "judges."',
        "new": 'prefix = ("vocoder.", "judges.") if party == GENERATOR else "judges."',
        "tests": [f"{VOCODER}each_partys_gradient_reaches_all_its_weights_and_no_others"],
    },
    {
        "name": "magnitudes_with_an_endless_slope_at_silence",
        "file": "unitalking/training/spectral.py",
        "old": "POWER_FLOOR = 1e-9",
        "new": "POWER_FLOOR = 0.0",
        "tests": [f"{VOCODER}silence_gives_finite_losses_and_gradients"],
    },
    {
        "name": "judges_with_an_endless_slope_at_silence",
        "file": "unitalking/training/discriminators.py",
        "old": "POWER_FLOOR = 1e-6",
        "new": "POWER_FLOOR = 0.0",
        "tests": [f"{VOCODER}silence_gives_finite_losses_and_gradients"],
    },
    {
        "name": "samples_a_frame_too_early",
        "file": "unitalking/training/vocoder.py",
        "old": "waveform[:, edge * hop : (frames - edge) * hop]",
        "new": "waveform[:, (edge - 1) * hop : (frames - edge - 1) * hop]",
        "tests": [f"{VOCODER}frames_belong_to_their_samples"],
    },
    {
        "name": "filters_of_a_file_with_taps_and_channels_swapped",
        "file": "unitalking/training/matrices.py",
        "old": "return weight.movedim(1, -1).flatten(1)",
        "new": "return weight.flatten(1)",
        "tests": [f"{VIDEO}the_file_holds_the_trained_model"],
    },
    {
        "name": "mouth_error_over_the_whole_picture",
        "file": "unitalking/training/video_vae.py",
        "old": "batch.mouth.flatten(1).sum(1).clamp_min(1) * frames",
        "new": "batch.mouth.flatten(1).numel() * frames",
        "tests": [f"{VIDEO}the_loss_has_its_five_terms"],
    },
    {
        "name": "mouth_not_mirrored_with_the_picture",
        "file": "unitalking/training/frames.py",
        "old": "pictures, mouth = pictures.flip(-1), mouth.flip(-1)",
        "new": "pictures = pictures.flip(-1)",
        "tests": [f"{VIDEO}a_mirrored_clip_has_its_mouth_mirrored"],
    },
    {
        "name": "preview_colour_of_the_first_of_four_frames",
        "file": "unitalking/training/bundle.py",
        "old": "later = cells[:, 1:].unflatten(1, (-1, TIME_STRIDE)).mean(2)",
        "new": "later = cells[:, 1:].unflatten(1, (-1, TIME_STRIDE))[:, :, 0]",
        "tests": [f"{BUNDLE}the_colour_of_a_cell_is_that_of_its_own_frames"],
    },
    {
        "name": "statistics_as_variances",
        "file": "unitalking/training/bundle.py",
        "old": "every.std(1).clamp_min(1e-4)",
        "new": "every.var(1).clamp_min(1e-4)",
        "tests": [f"{BUNDLE}statistics_make_latents_standard"],
    },
]
