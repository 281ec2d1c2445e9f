"""Any value of any parameter: taken and used to the end on tiny phantoms, or refused at once."""

import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import TinyNet, make_images, refused
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from lib import data, params
from lib.attack.run_attacks import attack_run, vulnerability_map_of
from lib.data import phantoms
from lib.defense import attackers, restoration
from lib.evidence import ablation
from lib.models import classifier_training, classifiers, denoiser_training, denoisers
from lib.models.weights import save_weights
from lib.params import Parameters
from lib.params.device import settled
from lib.params.errors import InputError

SCHEMA = Parameters.model_json_schema()["properties"]
ODD = (
    "", " ", "nan", "inf", "-inf", "1e400", "-1", "0", "007", "1_0", "0x10", "1,5", "true", "yes",
    "None", "null", "~", "[]", "[1", "[[1]]", "{}", "a\0b", "a\nb", "ä", "٣", "x" * 3000, "[" * 999,
    "../..", -1, 0, 1, 2, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), 10**30, True, [],
    [[]], [None], {}, (), b"1", object,
)  # fmt: skip
# Work grows with these without end; more of the same is not tried.
BUDGET = {
    "epochs": 2, "seeds": 2, "generations": 4, "population": 40, "samples": 300, "images": 120,
    "levels": 3, "sizes": 200,
}  # fmt: skip


def values(name: str) -> st.SearchStrategy:
    """Values of a field: its bounds and their neighbors, others inside, odd ones, as texts too."""
    return st.one_of(_of(SCHEMA[name]), _of(SCHEMA[name]).map(str), st.sampled_from(ODD))


def _of(schema: dict) -> st.SearchStrategy:
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], f"{schema['enum'][0]}x"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 2**32))
    if kind == "integer":
        edges = [low - 1, low, low + 1, low + 2, high - 1, high, high + 1]
        return st.one_of(st.sampled_from(edges), st.integers(low, low + 130))
    if kind == "number":
        inside = st.floats(low, high, allow_subnormal=False)
        edges = [low, high, np.nextafter(low, high), np.nextafter(high, low), high + 1, low - 1]
        return st.one_of(st.sampled_from([float(edge) for edge in edges]), inside)
    if kind == "array":
        return st.lists(_of(schema["items"]), max_size=4)
    if kind == "boolean":
        return st.booleans()
    return st.sampled_from(["dae", "median3", "median3+patches", "auto", "cpu", "demo", "derma"])


@pytest.mark.parametrize("name", SCHEMA)
def test_a_value_is_taken_or_refused_in_one_sentence(name):
    @settings(max_examples=40, derandomize=True, database=None)
    @given(value=values(name))
    def check(value):
        began = time.process_time()
        try:
            p = params.load(**{"protocol": "demo", name: value})
        except InputError as error:
            assert "\n" not in str(error) and 20 < len(str(error)) < 700, error
        else:
            taken = getattr(p, name)
            again = params.load(**{"protocol": "demo", name: str(taken).replace("'", '"')})
            assert getattr(again, name) == taken  # as text it means the same
        assert time.process_time() - began < 2

    check()


class Shallow(nn.Module):
    """Stands for a denoiser."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def example(name: str, count: int) -> data.Images:
    images = make_images(name, count)
    images.part[:] = (["train", "val", "test"] * count)[:count]
    return images


def classifier(p, folder):
    classifier_training.train(example(p.dataset, 30), p, folder)


def attacked(p, folder):
    """Attack tables of a tiny network that is right for all images."""
    images = example(p.dataset, 6)
    channels, classes = images.facts.channels, len(images.facts.classes)
    model = TinyNet(channels, 28, classes).eval()
    model.architecture = "tiny"
    if images.facts.multi_label:  # no label at all is a category, two are none
        nn.init.constant_(model.linear.bias, -60)
    save_weights(model, folder / "classifier.safetensors")
    task = images.facts.multi_label, p.classifier_threshold
    images = replace(images, labels=classifiers.classify(model, images.images, *task))
    tables = {n: attack_run(model, images, n, p, folder)[0] for n in p.attack_pixels}
    return model, images, tables


def vulnerability(p, folder):
    images = example(p.dataset, 3)
    model = TinyNet(images.facts.channels, 28, len(images.facts.classes)).eval()
    rows = vulnerability_map_of(p, images.facts).iterate(model, images.images[0], images.labels[0])
    next(rows)


def denoiser(p, folder):
    images = example("oct", 6).images
    for name in p.denoiser_names:
        denoiser_training.train(name, images[:4], images[4:], p, folder)


def restored(p, folder):
    _, images, tables = attacked(p.model_copy(update={"attack_generations": 1}), folder)
    defenses = {name: Shallow(images.facts.channels) for name in p.denoiser_names}
    defenses["median3"] = denoisers.build("median3", images.facts.channels)
    for records in tables.values():
        clean = images.take(np.flatnonzero(np.isin(images.index, records["index"]))).images
        frame = restoration.restore_all(
            clean, clean, records, defenses, lambda x: [0] * len(x), p.device,
            restoration.Patches.of(p),
        )  # fmt: skip
        restoration.summary(frame, p.bootstrap_samples, p.seed)


def known(p, folder):
    model, images, tables = attacked(p, folder)
    # No denoiser is trained here, so that there may be no defense but none.
    defenses = dict.fromkeys(["identity", *p.attackers_defenses])
    p = p.model_copy(update={"denoiser_names": [], "attackers_defenses": [*defenses]})
    attackers.attack_all(model, images, tables, p, folder)


def ablated(p, folder):
    found = ablation.run(example("abdomen_ct", 6), p, folder / "ablation")
    ablation.summary(found.metrics, p)


def drawn(p, folder):
    if p.data_phantom_images:
        phantoms.write(p.dataset, 28, p.data_phantom_images, p.seed, folder)
        assert len(data.load(p.dataset, folder, 28, p.data_split, p.seed)) == p.data_phantom_images


ROUTES = {
    "classifier": (classifier, "derma", 6), "chest classifier": (classifier, "chest", 3),
    "attack": (attacked, "oct", 10), "chest attack": (attacked, "chest", 5),
    "vulnerability": (vulnerability, "derma", 4), "denoiser": (denoiser, "oct", 10),
    "restoration": (restored, "oct", 8), "attackers": (known, "oct", 6),
    "ablation": (ablated, "oct", 8), "data": (drawn, "oct", 8),
}  # fmt: skip
FIELDS = {
    "restoration": ("restoration_", "bootstrap_"), "vulnerability": ("vulnerability_levels",),
    "ablation": ("ablation_", "denoiser_", "bootstrap_"),
    "data": ("data_phantom_images", "data_split"),
}  # fmt: skip
NEVER = {"classifier_weights", "device", "data_root", "runs", "results"}  # tested elsewhere


def affordable(name: str, value) -> bool:
    """Whether a value costs no more than a test may."""
    most = next((n for end, n in BUDGET.items() if name.endswith(end)), None)
    largest = max(value, default=0) if isinstance(value, list) else value
    return most is None or "limit" in name or largest <= most


@pytest.fixture
def light(monkeypatch, small):
    """Networks that take a moment."""
    build = denoisers.build
    monkeypatch.setattr(
        denoisers, "build",
        lambda name, channels: Shallow(channels) if name in denoisers.TRAINED
        else build(name, channels),
    )  # fmt: skip
    monkeypatch.setattr(ablation, "variants", lambda channels: {"proposed": lambda: Shallow(1)})


@pytest.mark.parametrize("route", ROUTES)
def test_a_value_that_is_taken_is_used_to_the_end(route, light, tmp_path_factory, capsys):
    run, dataset, examples = ROUTES[route]
    prefixes = FIELDS.get(route, (f"{route.split()[-1]}_",))
    names = [n for n in SCHEMA if n.startswith(prefixes) and n not in NEVER] + ["seed"]
    plain = {
        "protocol": "demo", "dataset": dataset, "attack_generations": 1, "attack_population": 4,
        "attack_pixels": [1], "attack_one_pixel_images": 1, "attack_two_pixel_images": 1,
        "classifier_epochs": 1, "denoiser_epochs": 1, "ablation_epochs": 1, "ablation_seeds": 1,
        "bootstrap_samples": 50,
    }  # fmt: skip
    some = st.dictionaries(st.sampled_from(names), st.none(), min_size=2, max_size=6)

    @settings(
        max_examples=examples, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data(), some)
    def check(source, chosen):
        own = {}
        for name in chosen:
            value = source.draw(values(name), name)
            try:
                p = params.load(**{**plain, **own, name: value})
            except InputError:
                continue
            if affordable(name, getattr(p, name)):
                own[name] = value
        run(settled(params.load(**{**plain, **own})), tmp_path_factory.mktemp("run"))

    check()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"dataset": "derma", "attack_criterion": "any_label"}, "attack_criterion"),
        ({"dataset": "chest", "attack_criterion": "class"}, "attack_criterion"),
        ({"classifier": "densenet121", "classifier_sizes": [64, 28]}, "classifier_sizes"),
        ({"classifier_masking": 29}, "classifier_masking"),
    ],
)
def test_values_that_do_not_go_together_are_refused_before_anything_runs(given, named):
    with refused(named):
        params.load("demo", **given)
    params.load("demo", "chest", attack_criterion="true_label")
    params.load("demo", classifier_sizes=[28])
