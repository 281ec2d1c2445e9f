"""What a job of each step asks a cluster for: cores, memory, minutes and a GPU, from the protocol.

Generous bounds, not forecasts, and never more than a day, as queues limit jobs. A step that runs
into its limit keeps its checkpoints, and goes on from them when it is started again.
"""

from lib.params.dataset_info import facts
from lib.params.parameters import Parameters

CORES = 8
GIB = 4  # of a process with its libraries; images come on top
LEAST, MOST = 20, 24 * 60  # minutes
MARGIN = 3
# What is done a second at 224 pixels on few cores and on a GPU: near what was measured, which the
# page "On a cluster" shows. Candidates of an attack; images of training; images that are judged.
RATES = {"attack": (50, 4000), "train": (5, 300), "denoise": (2, 90), "restore": (1, 1)}
SMALLEST = 64  # pixels; smaller images are hardly faster


def asked(step: str, p: Parameters) -> dict[str, int]:
    """Resources of one job of a step, or of drawing ``phantoms``.

    A shard of an attack asks for what the attack's own job does, which merges the shards in the
    same precision and so needs the same device.

    Returns:
        ``cores``, ``mem_mb`` and ``runtime`` (minutes), named as Snakemake's executors want them,
        and ``gpu``, which is missing where none is needed.
    """
    work = _work(step, p)
    gpu = p.device != "cpu" and bool(work)
    size = p.ablation_size if step == "ablation" else p.data_size
    faster = (224 / max(size, SMALLEST)) ** 2
    seconds = 0.0
    for kind, amount in work.items():
        # A denoised image is judged at its own size by measures that a GPU does not speed up.
        seconds += amount / (RATES[kind][gpu] * (1 if kind == "restore" else faster))
    stored = _images(p) * size**2 * facts(p.dataset).channels / 2**30
    return {
        "cores": 1 if p.protocol == "demo" else CORES,
        "mem_mb": round(1024 * (GIB + 2.5 * stored)),
        "runtime": min(round(LEAST + MARGIN * seconds / 60), MOST),
    } | ({"gpu": 1} if gpu else {})


def _images(p: Parameters) -> int:
    of = facts(p.dataset)
    return p.data_phantom_images or of.images or sum(each.count for each in of.classes)


def _work(step: str, p: Parameters) -> dict[str, float]:
    """How much of each kind of `RATES` a step does at most; nothing for one that takes minutes."""
    images, classes = _images(p), len(facts(p.dataset).attack_classes)
    some = {
        1: p.attack_one_pixel_images * classes or images / 5,  # test images
        2: p.attack_two_pixel_images * classes or images,
    }
    attacked = sum(min(some[pixels], images) for pixels in p.attack_pixels)
    budget = p.attack_population * (p.attack_generations + 1)
    # An attack through a denoiser evaluates whole images: the engine's windows do not apply.
    through = 4 * budget * len(p.attack_pixels) * classes
    tried = len(p.attackers_names) * len(p.attackers_defenses)
    epochs = p.classifier_epochs + p.classifier_paper_epochs
    levels = p.vulnerability_levels**3
    denoised = len(p.denoiser_names) * p.denoiser_epochs
    ablated = 10 * p.ablation_seeds * p.ablation_epochs
    return {
        "classifier": {"train": (p.classifier_train_limit or images) * epochs},
        "denoisers": {"denoise": denoised * (p.denoiser_train_limit or images)},
        "pixel_attack": {"attack": attacked * budget / p.attack_shards},
        "vulnerability": {"attack": p.vulnerability_images * p.data_size**2 * levels},
        "restoration": {"restore": attacked},
        "forensics": {"restore": attacked},
        "attackers": {"attack": through * (p.attackers_images or images) * tried},
        "ablation": {"denoise": ablated * (p.ablation_train or images)},
    }.get(step, {})
