"""Parameters: every setting of a run, with its meaning and its range.

All values live in one flat model, because papermill can only set flat names; the prefix says which
step a value belongs to. `lib.params.loading` merges the files of ``params/`` into it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from lib.params import field_types as ft
from lib.params.errors import unknown
from lib.params.files import ROOT
from lib.params.own_files import name_of_run, recorded
from lib.params.stages import COMMON, STEPS, VERSIONS
from lib.params.together import check_together

REFERENCES = ("identity", "median3")
# Where and in what batches work is done: results depend on them by float rounding at most.
PLACES = (
    "device", "runs", "results", "data_root", "data_download", "attack_batch", "attack_shards",
)  # fmt: skip
ATTACKS = {1: "one_pixel", 2: "two_pixel"}


class Parameters(BaseModel):
    """Every setting of a run; ids such as ATK05 are those of the book's page of decisions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    _changed: dict[str, Any] = PrivateAttr(default_factory=dict)
    _own_weights: dict[str, Any] = PrivateAttr(default_factory=dict)  # as they were then

    protocol: ft.Text = Field(description="settings of the run: a file in params/protocols")
    dataset: ft.Text = Field(description="data set: a file in params/datasets")
    classifier: ft.Text = Field(description="network to attack: a file in params/classifiers")
    seed: ft.Seed = Field(description="fixes every random choice")
    device: ft.Device = Field(description="torch device; 'auto' uses an NVIDIA GPU if there is one")
    runs: ft.Folder = Field(description="folder for run folders")
    results: ft.Folder = Field(description="folder of recorded results")

    data_root: ft.Folder = Field(description="folder of the npz files in the MedMNIST format")
    data_size: ft.Size = Field(description="image size in pixels (DAT08)")
    data_split: Literal["official", "paper", "by_image"] = Field(
        description="official: as in the file; paper: 70/10/20 by class and patient (SPL01-04); "
        "by_image: the same, but images of one patient may come into different parts"
    )
    data_download: bool = Field(description="download a missing official file with medmnist")
    data_phantom_images: Annotated[ft.Count, Field(le=10**6)] = Field(
        description="number of phantoms to draw if the file is missing; 0: real images only"
    )

    classifier_weights: ft.Weights = Field(
        description="initial weights: imagenet, random, or auto, which is ImageNet if available "
        "(CLS02); or the path of your own weights, which replace the training"
    )
    classifier_optimizer: Literal["sgd", "adamw"] = Field(description="optimizer (CLS03)")
    classifier_schedule: Literal["constant", "one_cycle"] = Field(
        description="learning-rate schedule (CLS03)"
    )
    classifier_learning_rate: ft.Rate = Field(description="learning rate; with one_cycle, its peak")
    classifier_momentum: ft.Share = Field(description="momentum of SGD (CLS03)")
    classifier_weight_decay: ft.Share = Field(description="weight decay of AdamW (CLS03)")
    classifier_batch: Annotated[ft.Batch, Field(ge=2)] = Field(description="batch size (CLS04)")
    classifier_epochs: ft.Epochs = Field(description="maximum number of epochs (CLS05)")
    classifier_sizes: ft.ListOf[Annotated[int, Field(ge=28, le=ft.MOST)]] = Field(
        description="image sizes used one after another, for equally many epochs; []: full size"
    )
    classifier_masking: ft.Count = Field(
        default=0,
        description="edge in pixels of two masks that hide parts of each training image, as double "
        "masking does; 0: none",
    )
    classifier_stop_train: ft.Share = Field(
        description="training accuracy of the stopping rule; both must be exceeded (CLS06)"
    )
    classifier_stop_validation: ft.Share = Field(
        description="validation accuracy of the stopping rule (CLS06)"
    )
    classifier_precision: ft.Precision = Field(
        description="precision of training; 'auto': bfloat16 where the device supports it"
    )
    classifier_train_limit: ft.Count = Field(description="training images at most; 0: all")
    classifier_include_normal: bool = Field(description="Chest: train on Normal images too (SPL03)")
    classifier_threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="Chest: a label is predicted if its output exceeds this (CLS09)"
    )
    classifier_paper_epochs: ft.Rounds = Field(
        description="epochs with the paper's optimizer, run for comparison; 0: none"
    )

    attack_pixels: ft.SetOf[ft.Pixels] = Field(
        min_length=1, description="numbers of pixels that the attacks change"
    )
    attack_population: Annotated[int, Field(ge=4, le=2**16)] = Field(
        description="candidates per generation (ATK05)"
    )
    attack_generations: ft.Rounds = Field(
        description="generations after the initial population (ATK08)"
    )
    attack_strategy: Literal["rand1", "best1bin"] = Field(
        description="rand1 (ATK04, ATK07), or best1bin as in SciPy, with dither and crossover"
    )
    attack_mutation_factor: Annotated[float, Field(gt=0, le=2)] = Field(
        description="mutation factor F of rand1 (ATK06)"
    )
    attack_dither: ft.ListOf[Annotated[float, Field(ge=0, le=2)]] = Field(
        min_length=2,
        max_length=2,
        description="range of F of best1bin, which is drawn in each generation",
    )
    attack_crossover: ft.Share = Field(description="crossover probability of best1bin")
    attack_initial: Literal["uniform", "normal"] = Field(
        description="distribution of the pixel values in the initial population (ATK13)"
    )
    attack_criterion: Literal["auto", "class", "any_label", "true_label"] = Field(
        description="what counts as a success; 'auto': class, or any_label for Chest (ATK10, ATK11)"
    )
    attack_one_pixel_images: ft.Count = Field(
        description="correct test images of each class to attack with one pixel; 0: all (ATK01)"
    )
    attack_two_pixel_images: ft.Count = Field(
        description="correct images of each class for two pixels, test images first; 0: all (ATK16)"
    )
    attack_batch: Annotated[int, Field(ge=0, le=65_536)] = Field(
        description="candidates per batch; 0: chosen for the device"
    )
    attack_shards: Annotated[int, Field(ge=1, le=999)] = Field(
        default=1, description="jobs that Snakemake splits each attack into, each for some images"
    )
    attack_precision: ft.SearchPrecision = Field(
        description="precision of the search; 'auto': bfloat16 up to 64 pixels where the device "
        "supports it; a success is always confirmed in float32"
    )
    attack_evaluation: Literal["exact", "screened"] = Field(
        default="exact",
        description="exact: every candidate is computed; screened: most are only predicted",
    )

    vulnerability_images: ft.Positive = Field(description="images where every position is tried")
    vulnerability_levels: Annotated[int, Field(ge=2, le=6)] = Field(
        description="levels of each color channel in the grid; gray images use their third power"
    )

    denoiser_names: ft.SetOf[ft.Denoiser] = Field(
        description="denoisers to train; []: only the reference defenses"
    )
    denoiser_epochs: ft.Epochs = Field(description="training epochs (GEN03)")
    denoiser_batch: ft.Batch = Field(description="batch size (GEN03)")
    denoiser_learning_rate: ft.Rate = Field(description="learning rate of Adam (GEN02)")
    denoiser_noise: ft.Noise = Field(description="share of pixels replaced by noise (NOI02-04)")
    denoiser_median_noise: ft.ListOf[ft.Noise] = Field(
        min_length=1, description="noise levels of median_cnn; one is drawn for each image (NOI05)"
    )
    denoiser_train_limit: ft.Count = Field(description="training images per epoch; 0: all")
    denoiser_all_images: bool = Field(
        default=False,
        description="also train on the validation and test images, as the printed counts of images "
        "suggest (SPL05)",
    )
    denoiser_large: ft.SetOf[ft.Denoiser] = Field(
        default=["noise2noise", "median_cnn"],
        description="denoisers trained on crops of fewer images, to save time (GEN04)",
    )
    denoiser_crop: ft.Count = Field(description="crop of denoiser_large in pixels; 0: none (GEN04)")
    denoiser_large_limit: ft.Count = Field(
        description="training images per epoch of denoiser_large; 0: denoiser_train_limit"
    )
    denoiser_halving: ft.SetOf[ft.Denoiser] = Field(
        default=["noise2noise", "median_cnn"],
        description="denoisers whose rate is halved after each quarter of the steps (N2N03, MED05)",
    )
    denoiser_precision: ft.Precision = Field(description="precision, as for classifiers")

    restoration_patch_denoisers: ft.SetOf[ft.Filter] = Field(
        description="defenses also tested with patch selection, if the run has them (EVA14)"
    )
    restoration_patch_size: Annotated[int, Field(ge=1, le=223)] = Field(
        description="size in pixels of the patch around a strongly changed pixel; odd (EVA14)"
    )
    restoration_patch_threshold: ft.Share = Field(
        description="a pixel is strongly changed above this share of the value range (EVA14)"
    )

    attackers_names: ft.SetOf[ft.Attacker] = Field(
        description="attacks to run on each defense (EVA16)"
    )
    attackers_defenses: ft.SetOf[ft.Defense] = Field(
        description="defenses to attack, if the run has them"
    )
    attackers_images: ft.Count = Field(
        description="images of each class for these attacks; 0: all attacked images"
    )
    attackers_epsilons: ft.SetOf[Annotated[int, Field(ge=1, le=255)]] = Field(
        description="bounds of the dense attacks, in 1/255 of the value range"
    )
    masking_size: Annotated[int, Field(ge=1, le=224)] = Field(
        description="mask size of double masking, in pixels"
    )
    masking_images: ft.Count = Field(description="test images of each class to certify; 0: all")
    fine_tuning_epochs: ft.Rounds = Field(
        default=0,
        description="epochs of fine-tuning copies of the classifier on denoised images; 0: none",
    )

    ablation_size: ft.Size = Field(description="size of the AbdomenCT images in pixels")
    ablation_train: ft.Count = Field(description="training images; 0: all (DAT10)")
    ablation_test: ft.Count = Field(description="test images; 0: all (DAT10)")
    ablation_epochs: ft.Epochs = Field(description="training epochs of each variant (GEN03)")
    ablation_seeds: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="number of trainings of each variant"
    )

    bootstrap_samples: Annotated[int, Field(ge=1, le=10**5)] = Field(
        description="bootstrap resamples for each 95 % interval"
    )

    @model_validator(mode="after")
    def _together(self) -> "Parameters":
        check_together(self)
        return self

    @property
    def changed(self) -> dict[str, Any]:
        """Values given to `load` that are not the protocol's, by name; `PLACES` do not count."""
        return self._changed

    @property
    def run_name(self) -> str:
        """``<protocol>``, or ``<protocol>+<name>=<value>`` for a run with other values."""
        values = self.recorded()
        return name_of_run(self.protocol, {name: values[name] for name in self.changed})

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
        values = self.recorded()
        return {name: values[name] for name in step_fields(step)}

    def recorded(self) -> dict[str, Any]:
        """All values as records hold them, see `lib.params.own_files.recorded`."""
        return recorded(self.model_dump()) | self._own_weights

    def key(self, step: str, *without: str) -> dict[str, Any]:
        """What decides a step's result: its version and its values, less the fields ``without``.

        `PLACES` are left out, so that a run can continue elsewhere. The number of phantoms is left
        to the images' checksum. A field that has a default was added later: at its default it does
        not count, so that work finished before stays valid.
        """
        skipped = {*PLACES, "data_phantom_images", *without}
        found = {
            name: value
            for name, value in self.of_step(step).items()
            if name not in skipped and value != Parameters.model_fields[name].default
        }
        return {"version": VERSIONS[step], **found}


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
