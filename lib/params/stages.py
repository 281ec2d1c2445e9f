"""The notebooks: what each depends on, and what it writes."""

# Steps whose results a step reads.
AFTER: dict[str, tuple[str, ...]] = {
    "pixel_attack": ("classifier",),
    "vulnerability": ("classifier", "pixel_attack"),
    "restoration": ("classifier", "pixel_attack", "denoisers"),
    "attackers": ("classifier", "pixel_attack", "denoisers"),
    "forensics": ("classifier", "pixel_attack", "denoisers"),
}
COMMON = ("protocol", "seed", "device", "runs")  # of all of them
# What each notebook depends on besides protocol, seed, device and runs: a name that ends in an
# underscore stands for all fields that begin with it.
STEPS: dict[str, tuple[str, ...]] = {
    "walkthrough": (),
    "datasets": ("dataset", "data_"),
    "classifier": ("dataset", "classifier", "data_", "classifier_"),
    "pixel_attack": ("dataset", "classifier", "data_", "classifier_threshold", "attack_"),
    "vulnerability": (
        "dataset", "classifier", "data_", "classifier_threshold", "attack_criterion",
        "attack_batch", "attack_precision", "vulnerability_",
    ),
    "denoisers": ("dataset", "data_", "denoiser_"),
    "restoration": (
        "dataset", "classifier", "data_", "classifier_threshold", "attack_criterion",
        "attack_pixels", "denoiser_names", "restoration_", "bootstrap_samples",
    ),
    "forensics": (
        "dataset", "classifier", "data_", "attack_pixels", "denoiser_names", "bootstrap_samples",
    ),
    "attackers": (
        "dataset", "classifier", "data_", "classifier_threshold", "attack_", "denoiser_names",
        "restoration_patch_size", "restoration_patch_threshold", "attackers_", "masking_",
        "classifier_include_normal", "classifier_precision", "classifier_train_limit",
        "fine_tuning_epochs",
    ),
    "ablation": (
        "data_root", "data_download", "data_phantom_images", "denoiser_batch",
        "denoiser_learning_rate", "denoiser_noise", "denoiser_halving", "denoiser_precision",
        "ablation_", "bootstrap_samples",
    ),
    "comparison": (),
    "engine": (),
    "audit": (),
    "results_overview": ("results", "bootstrap_samples"),
    "results_dataset": ("dataset", "results", "data_root", "bootstrap_samples"),
    "results_ablation": ("results", "bootstrap_samples"),
    "results_size": ("results", "bootstrap_samples"),
    "results_attackers": ("results", "bootstrap_samples"),
    "results_certificates": ("results", "bootstrap_samples"),
    "verdicts": ("results", "bootstrap_samples"),
    "explore": (
        "dataset", "classifier", "data_", "classifier_threshold", "attack_", "vulnerability_",
    ),
}  # fmt: skip
# Raise a step's number, as in ``| {"classifier": 2}``, when the same values give other results: its
# finished work is then done again, everywhere. A change of code alone does nothing.
VERSIONS = dict.fromkeys(("phantoms", *STEPS), 1) | {"attackers": 2}

# Finished work that is read back: its folder below ``runs/<run>``, and its files.
LASTING: dict[str, tuple[str, ...]] = {
    "classifier": ("{dataset}/{classifier}", "classifier.safetensors", "classifier.json"),
    "denoisers": ("{dataset}/denoisers", "*.safetensors", "*.json"),
    "pixel_attack": ("{dataset}/{classifier}", "one_pixel.parquet", "two_pixel.parquet"),
    "attackers": (
        "{dataset}/{classifier}", "attackers_*.parquet", "masking.parquet", "fine_tuning.parquet",
    ),
    "ablation": ("{dataset}", "ablation/*"),
}  # fmt: skip
# Files of each notebook below ``runs/<protocol>/``, besides itself executed and ``run.json``; those
# of one attack are there for each number of pixels that was asked for, and marked lesions only
# where images have them.
_SET, _NET = "<dataset>/", "<dataset>/<classifier>/"
WRITES: dict[str, tuple[str, ...]] = dict.fromkeys(STEPS, ()) | {
    "classifier": (f"{_NET}classifier.safetensors", f"{_NET}classifier.json"),
    "pixel_attack": (f"{_NET}<one|two>_pixel.parquet", f"{_NET}lesions.parquet"),
    "denoisers": (f"{_SET}denoisers/<name>.safetensors", f"{_SET}denoisers/<name>.json"),
    "restoration": (
        f"{_NET}restoration_<one|two>_pixel.parquet", f"{_NET}detection_<one|two>_pixel.parquet",
    ),
    "forensics": (f"{_NET}forensics_<one|two>_pixel.parquet",),
    "attackers": (
        f"{_NET}attackers_<one|two>_pixel.parquet", f"{_NET}masking.parquet",
        f"{_NET}fine_tuning.parquet",
    ),
    "ablation": (
        "abdomen_ct/ablation.parquet", "abdomen_ct/ablation_models.parquet",
        "abdomen_ct/ablation/<variant>-<seed>.*",
    ),
}  # fmt: skip

# Pages made from the record alone, of all protocols together; they share ``runs/results``.
RESULTS = tuple(step for step in STEPS if step.startswith("results_") or step == "verdicts")
