"""Parameters: the files of ``params/``, merged in one place and checked.

Precedence, weakest first: the protocol file (after the one that it names as its ``base``), the
data set's and classifier's own overrides in it, then what the caller gives. All values live in one
flat model, because papermill can only set flat names; the prefix says which step a value belongs
to. Values may be texts of a command line: the field's type says how a text is read.
"""

import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)  # fmt: skip

from lib.params.errors import InputError, unknown
from lib.params.field_types import (
    AnyDefense,
    Attacker,
    Count,
    Defense,
    Denoiser,
    ListOf,
    Pixels,
    Positive,
    Precision,
    Rate,
    SearchPrecision,
    Seed,
    Share,
    Size,
)  # fmt: skip
from lib.params.files import ROOT, fingerprint
from lib.params.protocols import names, read, values
from lib.params.stages import COMMON, STEPS, VERSIONS

REFERENCES = ("identity", "median3")
# Where and in what batches work is done: results depend on them by float rounding at most.
PLACES = ("device", "runs", "results", "data_root", "data_download", "attack_batch")
ATTACKS = {1: "one_pixel", 2: "two_pixel"}


class Parameters(BaseModel):
    """Every setting of a run; ids such as ATK05 are those of the book's page of decisions."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
    _changed: dict[str, Any] = PrivateAttr(default_factory=dict)

    protocol: str = Field(description="how hard to try: a file in params/protocols")
    dataset: str = Field(description="data set: a file in params/datasets")
    classifier: str = Field(description="network to attack: a file in params/classifiers")
    seed: Seed = Field(description="fixes every random choice")
    device: str = Field(description="torch device; 'auto' takes an NVIDIA GPU if there is one")
    runs: str = Field(description="folder that run folders are written under")
    results: str = Field(description="folder of recorded results")

    data_root: str = Field(description="folder of the npz files in MedMNIST's form")
    data_size: Size = Field(description="edge of an image in pixels (DAT08)")
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
    classifier_sizes: ListOf[Annotated[int, Field(ge=28)]] = Field(
        description="edges that training images are reduced to one after another, each for an "
        "equal share of the epochs; []: as they are (CLS05)"
    )
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

    attack_pixels: ListOf[Pixels] = Field(min_length=1, description="attacks to run")
    attack_population: Annotated[int, Field(ge=4)] = Field(description="of a generation (ATK05)")
    attack_generations: Count = Field(description="after the initial one (ATK08)")
    attack_strategy: Literal["rand1", "best1bin"] = Field(
        description="rand1 (ATK04, ATK07), or the peers' best1bin with dither and crossover"
    )
    attack_mutation_factor: Annotated[float, Field(gt=0, le=2)] = Field(
        description="F of rand1 (ATK06)"
    )
    attack_dither: ListOf[Annotated[float, Field(ge=0, le=2)]] = Field(
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
    attack_precision: SearchPrecision = Field(
        description="of the search, as classifier_precision; acceptance is always float32"
    )

    vulnerability_images: Positive = Field(description="images with a map of every position")
    vulnerability_levels: Annotated[int, Field(ge=2, le=6)] = Field(
        description="values of each channel in the grid of colors; gray: this to the third power"
    )

    denoiser_names: ListOf[Denoiser] = Field(
        description="denoisers that are trained; without any, the reference defenses alone"
    )
    denoiser_epochs: Positive = Field(description="passes over the training images (GEN03)")
    denoiser_batch: Positive = Field(description="images a step (GEN03)")
    denoiser_learning_rate: Rate = Field(description="of Adam (GEN02)")
    denoiser_noise: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of pixels replaced (NOI02-04)"
    )
    denoiser_median_noise: ListOf[Annotated[float, Field(gt=0, le=1)]] = Field(
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

    restoration_patch_denoisers: ListOf[Denoiser | Literal["median3"]] = Field(
        description="defenses that are used with patch selection too, if the run has them (EVA14)"
    )
    restoration_patch_size: Annotated[int, Field(gt=0)] = Field(
        description="edge in pixels of the patch around a strongly changed pixel, odd (EVA14)"
    )
    restoration_patch_threshold: Share = Field(
        description="a pixel is strongly changed above this share of the range (EVA14)"
    )

    adaptive_defenses: ListOf[Defense] = Field(
        description="defenses that an attacker knows; those that the run has are tried (EVA16)"
    )
    adaptive_images: Count = Field(description="attacked images of each class for it; 0: all")

    attackers_names: ListOf[Attacker] = Field(description="attackers, run through ...")
    attackers_defenses: ListOf[AnyDefense] = Field(description="... those of these the run has")
    attackers_images: Count = Field(description="attacked images of each class for them; 0: all")
    attackers_epsilons: ListOf[Positive] = Field(description="of dense ones, in 255ths of a value")
    masking_size: Positive = Field(description="edge of a mask of double masking, in pixels")
    masking_images: Count = Field(description="test images of each class to certify; 0: all")

    ablation_size: Size = Field(description="edge of AbdomenCT images")
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
    def changed(self) -> dict[str, Any]:
        """Values given to `load` that are not the protocol's, by name; `PLACES` do not count."""
        return self._changed

    @property
    def run_name(self) -> str:
        """``<protocol>``, or ``<protocol>+<name>=<value>`` for a run with other values."""
        parts = [f"{name}={_in_name(value)}" for name, value in sorted(self.changed.items())]
        name = "+".join((self.protocol, *parts))
        return name if len(name) <= 120 else f"{self.protocol}+{fingerprint(self.changed)}"

    @property
    def protocol_folder(self) -> Path:
        """``runs/<run_name>``: a run with other values never replaces the protocol's own."""
        return ROOT / self.runs / self.run_name

    @property
    def dataset_folder(self) -> Path:
        """``runs/<run_name>/<dataset>``."""
        return self.protocol_folder / self.dataset

    @property
    def run_folder(self) -> Path:
        """``runs/<run_name>/<dataset>/<classifier>``."""
        return self.dataset_folder / self.classifier

    def of_step(self, step: str) -> dict[str, Any]:
        """The values that a step depends on, by field name; see `STEPS`."""
        values = self.model_dump()
        return {name: values[name] for name in step_fields(step)}

    def key(self, step: str, *without: str) -> dict[str, Any]:
        """What decides a step's result: its version and its values, less the fields ``without``.

        `PLACES` are left out, so that a run can continue elsewhere. The number of phantoms is left
        to the images' checksum.
        """
        skipped = {*PLACES, "data_phantom_images", *without}
        found = {name: value for name, value in self.of_step(step).items() if name not in skipped}
        return {"version": VERSIONS[step], **found}


def _in_name(value: Any) -> str:
    """A value as part of a folder's name: letters, digits and a few signs, else its hash."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if re.fullmatch(r"[\w.,+-]{1,32}", text, re.ASCII) else fingerprint(value)[:8]


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
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in overrides:
        if name not in Parameters.model_fields:
            raise unknown("parameter", name, Parameters.model_fields)
    p = _checked(protocol, dataset, classifier, **given)
    # The same for every data set, because the runs of all of them are compared.
    plain = _all_of(protocol) if given.keys() - set(PLACES) else ()
    changed = {
        name: getattr(p, name)
        for name in sorted(given.keys() - set(PLACES))
        if any(getattr(p, name) != getattr(other, name) for other in plain)
    }
    drawn = {name: changed[name] for name in ("data_phantom_images", "seed") if name in changed}
    if p.data_phantom_images and drawn and "data_root" not in given:  # other phantoms, other files
        folder = "+".join(f"{name}={value}" for name, value in drawn.items())
        p = p.model_copy(update={"data_root": f"{p.data_root}/{folder}"})
    p._changed = changed
    return p


def _checked(protocol: str, dataset: str, classifier: str, **given: Any) -> Parameters:
    """Parameters of one run; raises `InputError` as `load` does."""
    merged = values(protocol, dataset, classifier) | given
    merged |= {"protocol": protocol, "dataset": dataset, "classifier": classifier}
    try:
        return Parameters(**merged)
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


@cache
def _all_of(protocol: str) -> list[Parameters]:
    """A protocol's own parameters for each data set and classifier."""
    return [_checked(protocol, *each) for each in product(names("datasets"), names("classifiers"))]
