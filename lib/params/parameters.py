"""Parameters: the files of ``params/``, merged in one place and checked.

Precedence, weakest first: the protocol file (after the one that it names as its ``base``), the
data set's and classifier's own overrides in it, then what the caller gives. All values live in one
flat model, because papermill can only set flat names; the prefix says which step a value belongs
to.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lib.params.errors import InputError, unknown
from lib.params.stages import COMMON, STEPS

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "params"
REFERENCES = ("identity", "median3")
PATCHES = "+patches"  # ends the name of a denoiser that is used with patch selection
# Where and in what batches work is done: nothing that a result depends on but by float rounding.
PLACES = (
    "device", "runs", "data_root", "data_download", "data_phantom_images", "attack_batch",
)  # fmt: skip
ATTACKS = {1: "one_pixel", 2: "two_pixel"}

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Denoiser = Literal["autoencoder", "dae", "noise2noise", "median_cnn"]
DENOISERS = get_args(Denoiser)
# "auto" is settled where a step begins: `lib.params.device.settled`.
Precision = Literal["auto", "float32", "bfloat16"]


def names(kind: str) -> list[str]:
    """Names of the files in ``params/<kind>``; kind is protocols, datasets or classifiers."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.yaml"))


@cache
def read(kind: str, name: str) -> dict[str, Any]:
    """One YAML file of ``params/<kind>`` as a dictionary.

    Raises:
        InputError: no such file; the message names the nearest one.
    """
    if name not in names(kind):
        raise unknown({"datasets": "data set"}.get(kind, kind.rstrip("s")), name, names(kind))
    return yaml.safe_load((FOLDER / kind / f"{name}.yaml").read_text())


def base(protocol: str) -> str:
    """The protocol that a variant changes in a few values; a protocol of its own is its own base.

    Raises:
        InputError: no such file, or a base that is itself a variant.
    """
    named = read("protocols", protocol).get("base", protocol)
    if named != protocol and "base" in read("protocols", named):
        raise InputError(
            f"Protocol {protocol!r} names {named!r} as its base, which is a variant itself: name "
            "the base of that one."
        )
    return named


def variants(protocol: str) -> list[str]:
    """Names of the protocols that have this one as their base, without itself."""
    return [name for name in names("protocols") if name != protocol == base(name)]


def values(protocol: str, *special: str) -> dict[str, Any]:
    """Values of a protocol file on top of its base's, and what both have for ``special``."""
    merged: dict[str, Any] = {}
    for each in dict.fromkeys((base(protocol), protocol)):
        own = dict(read("protocols", each))
        own.pop("base", None)
        overrides = own.pop("overrides", {})
        merged |= own
        for one in special:
            merged |= overrides.get(one, {})
    return merged


class Parameters(BaseModel):
    """Every setting of a run; ids such as ATK05 are those of the book's page of decisions."""

    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True)

    protocol: str = Field(description="how hard to try: a file in params/protocols")
    dataset: str = Field(description="data set: a file in params/datasets")
    classifier: str = Field(description="network to attack: a file in params/classifiers")
    seed: Count = Field(description="fixes every random choice")
    device: str = Field(description="torch device; 'auto' takes an NVIDIA GPU if there is one")
    runs: str = Field(description="folder that run folders are written under")
    results: str = Field(description="folder of recorded results")

    data_root: str = Field(description="folder of the npz files in MedMNIST's form")
    data_size: Literal[28, 64, 128, 224] = Field(description="edge of an image in pixels (DAT08)")
    data_split: Literal["official", "paper"] = Field(
        description="parts as in the file, or 70/10/20 by class and patient (SPL01-04)"
    )
    data_download: bool = Field(description="let medmnist download a missing official file")
    data_phantom_images: Count = Field(
        description="phantoms made when the file is missing; 0: real images only"
    )

    classifier_weights: Literal["imagenet", "random", "auto"] = Field(
        description="start; 'auto' is ImageNet if its weights can be had, else random (CLS02)"
    )
    classifier_optimizer: Literal["sgd", "adamw"] = Field(description="of training (CLS03)")
    classifier_schedule: Literal["constant", "one_cycle"] = Field(description="of the rate (CLS03)")
    classifier_learning_rate: Rate = Field(description="peak rate when the schedule is one_cycle")
    classifier_momentum: Share = Field(description="of SGD (CLS03)")
    classifier_weight_decay: Annotated[float, Field(ge=0)] = Field(description="of AdamW (CLS03)")
    classifier_batch: Annotated[int, Field(ge=2)] = Field(description="images a step (CLS04)")
    classifier_epochs: Positive = Field(description="at most this many (CLS05)")
    classifier_stop_train: Share = Field(
        description="stop when training accuracy exceeds this and ... (CLS06)"
    )
    classifier_stop_validation: Share = Field(description="... validation accuracy this (CLS06)")
    classifier_precision: Precision = Field(
        description="of training; 'auto': bfloat16 where the device computes in it, else float32"
    )
    classifier_train_limit: Count = Field(description="training images used; 0: all")
    classifier_include_normal: bool = Field(description="Chest: train on Normal too (SPL03)")
    classifier_threshold: Share = Field(
        gt=0, lt=1, description="Chest: a label counts above this (CLS09)"
    )
    classifier_paper_epochs: Count = Field(
        description="epochs of the paper's optimizer run beside ours for comparison; 0: none"
    )

    attack_pixels: list[Literal[1, 2]] = Field(min_length=1, description="attacks to run")
    attack_population: Annotated[int, Field(ge=4)] = Field(description="of a generation (ATK05)")
    attack_generations: Count = Field(description="after the initial one (ATK08)")
    attack_strategy: Literal["rand1", "best1bin"] = Field(
        description="rand1 (ATK04, ATK07), or the peers' best1bin with dither and crossover"
    )
    attack_mutation_factor: Annotated[float, Field(gt=0, le=2)] = Field(
        description="F of rand1 (ATK06)"
    )
    attack_dither: list[Annotated[float, Field(ge=0, le=2)]] = Field(
        min_length=2, max_length=2, description="bounds of F of best1bin, drawn each generation"
    )
    attack_crossover: Share = Field(description="of best1bin")
    attack_initial: Literal["uniform", "normal"] = Field(
        description="values of the first population (ATK13)"
    )
    attack_criterion: Literal["auto", "class", "any_label", "true_label"] = Field(
        description="what counts as success; 'auto': class, or any_label for Chest (ATK10, ATK11)"
    )
    attack_one_pixel_images: Count = Field(
        description="correct test images of each class attacked with one pixel; 0: all (ATK01)"
    )
    attack_two_pixel_images: Count = Field(
        description="correct images of each class, test first, with two pixels; 0: all (ATK16)"
    )
    attack_batch: Count = Field(
        description="candidates evaluated at once; 0: what the device holds well"
    )
    attack_precision: Precision = Field(
        description="of the search, as classifier_precision; acceptance is always float32"
    )

    vulnerability_images: Positive = Field(description="images with a map of every position")
    vulnerability_levels: Annotated[int, Field(ge=2, le=6)] = Field(
        description="values of each channel in the grid of colors; gray: this to the third power"
    )

    denoiser_names: list[Denoiser] = Field(
        description="denoisers that are trained; without any, the reference defenses alone"
    )
    denoiser_epochs: Positive = Field(description="passes over the training images (GEN03)")
    denoiser_batch: Positive = Field(description="images a step (GEN03)")
    denoiser_learning_rate: Rate = Field(description="of Adam (GEN02)")
    denoiser_noise: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of pixels replaced (NOI02-04)"
    )
    denoiser_median_noise: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        min_length=1, description="levels drawn from for median_cnn (NOI05)"
    )
    denoiser_train_limit: Count = Field(description="images an epoch; 0: all")
    denoiser_crop: Count = Field(
        description="edge of training crops of noise2noise and median_cnn; 0: whole image (GEN04)"
    )
    denoiser_large_limit: Count = Field(
        description="images an epoch of noise2noise and median_cnn; 0: as the others"
    )
    denoiser_precision: Precision = Field(description="of training, as classifier_precision")

    restoration_patch_denoisers: list[Denoiser] = Field(
        description="those of denoiser_names that are used with patch selection too (EVA14)"
    )
    restoration_patch_size: Annotated[int, Field(gt=0)] = Field(
        description="edge in pixels of the patch around a strongly changed pixel, odd (EVA14)"
    )
    restoration_patch_threshold: Share = Field(
        description="a pixel is strongly changed above this share of the range (EVA14)"
    )

    adaptive_defenses: list[str] = Field(
        description="defenses that an attacker knows; those that the run has are tried (EVA16)"
    )
    adaptive_images: Count = Field(
        description="attacked images of each class attacked again through each defense; 0: all"
    )

    ablation_size: Literal[28, 64, 128, 224] = Field(description="edge of AbdomenCT images")
    ablation_train: Count = Field(description="training images; 0: all (DAT10)")
    ablation_test: Count = Field(description="test images; 0: all (DAT10)")
    ablation_epochs: Positive = Field(description="of each variant (GEN03)")
    ablation_seeds: Positive = Field(description="runs of each variant")

    bootstrap_samples: Positive = Field(description="resamples behind each 95 % interval")

    @model_validator(mode="after")
    def _known_names(self) -> "Parameters":
        for kind, value in (("protocol", self.protocol), ("classifier", self.classifier)):
            if value not in names(f"{kind}s"):
                raise unknown(kind, value, names(f"{kind}s"))
        if self.dataset not in names("datasets"):
            raise unknown("data set", self.dataset, names("datasets"))
        # Doing nothing is no defense: to know it is to attack the bare classifier.
        known = ["median3", *DENOISERS, *(name + PATCHES for name in DENOISERS)]
        for name in self.adaptive_defenses:
            if name not in known:
                raise unknown("defense", name, known)
        if self.restoration_patch_size % 2 == 0:
            raise InputError(
                "restoration_patch_size must be odd, so that a patch has a middle, not "
                f"{self.restoration_patch_size}."
            )
        if self.data_phantom_images and self.data_download:
            raise InputError(
                "data_download and data_phantom_images exclude each other: set one of them to 0."
            )
        return self

    @property
    def run_folder(self) -> Path:
        """``runs/<protocol>/<dataset>/<classifier>``."""
        return self.dataset_folder / self.classifier

    @property
    def dataset_folder(self) -> Path:
        """``runs/<protocol>/<dataset>``."""
        return ROOT / self.runs / self.protocol / self.dataset

    def of_step(self, step: str) -> dict[str, Any]:
        """The values that a step depends on, by field name; see `STEPS`."""
        values = self.model_dump()
        return {name: values[name] for name in step_fields(step)}

    def key(self, step: str, *without: str) -> dict[str, Any]:
        """Those of the values that can change what the step finds, less the fields ``without``.

        Where files lie, on which device and in what batches work is done is left out, so that a
        run can be gone on with elsewhere; the images' checksum stands for their file.
        """
        return {k: v for k, v in self.of_step(step).items() if k not in {*PLACES, *without}}


def step_fields(step: str) -> list[str]:
    """Names of the fields of `Parameters` that a step depends on, in their order."""
    if step not in STEPS:
        raise unknown("step", step, STEPS)
    entries = (*COMMON, *STEPS[step])
    prefixes = tuple(entry for entry in entries if entry.endswith("_"))
    return [
        name
        for name in Parameters.model_fields
        if name in entries or (prefixes and name.startswith(prefixes))
    ]


def load(
    protocol: str = "demo", dataset: str = "derma", classifier: str = "resnet50", **overrides: Any
) -> Parameters:
    """Merge the YAML files and ``overrides`` and check the result.

    Args:
        protocol: file in ``params/protocols``.
        dataset: file in ``params/datasets``.
        classifier: file in ``params/classifiers``.
        overrides: any field of `Parameters`; ``None`` means "as in the files".

    Raises:
        InputError: an unknown name (the nearest valid one is named) or an impossible value.
    """
    read("datasets", dataset), read("classifiers", classifier)
    given = values(protocol, dataset, classifier)
    for name, value in overrides.items():
        if name not in Parameters.model_fields:
            raise unknown("parameter", name, Parameters.model_fields)
        if value is not None:
            given[name] = value
    given.update(protocol=protocol, dataset=dataset, classifier=classifier)
    try:
        return Parameters(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "parameters"
        where = f"protocol {protocol!r} or the values given"
        if first["type"] == "extra_forbidden":
            raise unknown("parameter", name, Parameters.model_fields) from None
        if isinstance(cause := first.get("ctx", {}).get("error"), InputError):
            raise cause from None
        got = "" if first["type"] == "missing" else f", not {first['input']!r}"
        raise InputError(f"Parameter {name} in {where}: {first['msg']}{got}.") from None
