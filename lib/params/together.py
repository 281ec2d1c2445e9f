"""Values of parameters that do not go together."""

from typing import Any

from lib.params.errors import InputError
from lib.params.field_types import MASKING, PATCHES
from lib.params.files import ROOT
from lib.params.protocols import read


def check_together(p: Any) -> None:
    """Refuse values of `Parameters`, each valid by itself, that no step can use together.

    Raises:
        InputError: values that exclude each other.
    """
    if p.restoration_patch_size % 2 == 0:
        raise InputError(
            f"restoration_patch_size must be odd, not {p.restoration_patch_size}, because a "
            "patch has a pixel in its middle."
        )
    smallest = read("classifiers", p.classifier)["smallest_input"]
    if p.classifier_sizes and min(p.classifier_sizes) < smallest:
        raise InputError(
            f"classifier_sizes must be {smallest} or more, the least that {p.classifier} "
            f"takes, not {min(p.classifier_sizes)}."
        )
    trained = min([p.data_size, *p.classifier_sizes])
    if p.classifier_masking > trained:
        raise InputError(
            f"classifier_masking must be at most {trained}, the smallest size of the training "
            f"images, not {p.classifier_masking}."
        )
    if p.classifier_train_limit == 1:
        raise InputError("classifier_train_limit must be 2 or more, or 0 for all images.")
    if p.attack_dither[0] > p.attack_dither[1]:
        raise InputError(f"attack_dither {p.attack_dither} must begin with the lower bound.")
    defenses = ("identity", MASKING, "median3", *p.denoiser_names)
    if not {name.removesuffix(PATCHES) for name in p.attackers_defenses} & {*defenses}:
        raise InputError(
            f"attackers_defenses={p.attackers_defenses} has no defense of this run: add one of "
            f"{', '.join(defenses)}."
        )
    for name in ("runs", "results"):
        if ROOT.is_relative_to((ROOT / getattr(p, name)).resolve()):
            raise InputError(f"{name} must be a folder of its own, not the project's.")
    runs, results = ((ROOT / getattr(p, name)).resolve() for name in ("runs", "results"))
    if runs.is_relative_to(results) or results.is_relative_to(runs):
        raise InputError(
            f"runs={p.runs} and results={p.results} must not be one folder or one in the other, "
            "because a run would be written into the record."
        )
    if p.data_phantom_images and p.data_download:
        raise InputError(
            "data_download and data_phantom_images exclude each other: set one of them to 0."
        )
