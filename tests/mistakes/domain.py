"""Mistakes in what a small model says that it knows."""

DOMAIN = "tests/unit/test_domain.py::test_"
BUNDLE = "tests/training/test_bundle.py::test_"

MISTAKES = [
    {
        "name": "domain_limit_at_the_mean",
        "file": "unitalking/domain.py",
        "old": ".quantile(1 - OUTSIDE)",
        "new": ".mean()",
        "tests": [f"{DOMAIN}pictures_of_the_same_kind_are_near_and_within_the_limit"],
    },
    {
        "name": "domain_channels_taken_alone",
        "file": "unitalking/domain.py",
        "old": "covariance + RIDGE",
        "new": "covariance * torch.eye(latents.shape[1]) + RIDGE",
        "tests": [f"{DOMAIN}pictures_of_another_kind_are_beyond_the_limit"],
    },
    {
        "name": "domain_without_ridge",
        "file": "unitalking/domain.py",
        "old": "RIDGE = 0.01",
        "new": "RIDGE = 1e-9",
        "tests": [f"{DOMAIN}a_cell_that_never_changed_does_not_cry_out_at_rounding"],
    },
    {
        "name": "domain_distance_summed",
        "file": "unitalking/domain.py",
        "old": "squared / self.mean.numel()",
        "new": "squared / self.mean.shape[0]",
        "tests": [f"{DOMAIN}the_distance_is_that_of_its_formula"],
    },
    {
        "name": "domain_capitals_not_learned",
        "file": "unitalking/domain.py",
        "old": "each.lower() not in characters",
        "new": "each not in characters",
        "tests": [f"{DOMAIN}characters_that_were_not_learned"],
    },
    {
        "name": "domain_of_first_frames_alone",
        "file": "unitalking/training/bundle.py",
        "old": "frames[index % len(frames)]",
        "new": "frames[0]",
        "tests": [f"{BUNDLE}a_model_knows_the_pictures_of_its_clips_early_and_late"],
    },
    {
        "name": "domain_lost_in_training",
        "file": "unitalking/training/result.py",
        "old": "domain=start.domain",
        "new": "domain=None",
        "tests": [f"{BUNDLE}what_a_bundle_knows_is_kept_by_the_models_that_start_from_it"],
    },
    {
        "name": "domain_of_the_codecs_lost",
        "file": "unitalking/training/start.py",
        "old": 'name.startswith(("latents.", "domain."))',
        "new": 'name.startswith("latents.")',
        "tests": [f"{BUNDLE}what_a_bundle_knows_is_kept_by_the_models_that_start_from_it"],
    },
]
