"""Runs of the protocol ``sample`` side by side on one GPU where no notebook can run.

    python -m benchmarks.gpu_list all --minutes 25 --jobs 6 oct chest derma

runs each step as a process of its own, as many at once as asked for, the most wanted first, and
starts none after the time is up. ``gpu_wheels.txt`` has the packages. Steps are those of the
notebooks, without their figures; what is finished is read back, so the command can be given again.
``make record PROTOCOL=sample`` then keeps the tables. On an NVIDIA H200 half an hour was enough for
OCT, for Derma and for a part of Chest.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import searches
from lib import attack, data, params
from lib.data import lesions
from lib.defense import attackers, certified, detection, restoration
from lib.evidence import ablation
from lib.metrics import classification
from lib.models import classifier_training, classifiers, denoisers
from lib.models.denoiser_training import train, training_images
from lib.models.weights import behind, checksums
from lib.params.device import pick_device, settled
from lib.params.files import read_json, read_table, write_json, write_table
from lib.params.runs import Run

NETWORKS = ("resnet50", "densenet121")
# Steps that can take smaller batches.
SHARING = ("attack", "searched", "restored", "attackers")
LOGS = params.ROOT / "runs" / "logs"


def parameters(dataset: str, classifier: str = "resnet50"):
    """The protocol's values, with what words of the environment variable GIVEN change.

    Words of GIVEN_<CLASSIFIER> change that classifier's, in the same run folder.
    """
    given = params.from_words(os.environ.get("GIVEN", "").split())
    own = params.from_words(os.environ.get(f"GIVEN_{classifier.upper()}", "").split())
    protocol = given.pop("protocol", "sample")
    p = settled(params.load(protocol, dataset, classifier, **given))
    typed = settled(params.load(protocol, dataset, classifier, **given | own))
    update = {name: getattr(typed, name) for name in own}
    half = p.device != "cpu" and torch.cuda.is_available()
    if half and "attack_precision" not in given | own:
        update["attack_precision"] = "float16"
    return p.model_copy(update=update)


def searched(dataset: str, network: str, pixels: str, images: str) -> None:
    """The searches of `benchmarks.searches` on the same images, into a table beside the run."""
    p = parameters(dataset, network)
    out = p.run_folder / f"searches_{pixels}.csv"
    words = [p.protocol, dataset, network, "--pixels", pixels, "--images", images]
    words += ["--runs", str(p.runs), "--data-root", str(p.data_root), "--out", str(out)]
    searches.main([*words, "--generations", str(p.attack_generations)])


def load(p):
    """The images of a run."""
    return data.load(p.dataset, p.data_root, p.data_size, p.data_split, p.seed, p.data_download)


def begin(step: str, dataset: str, network: str):
    """Parameters, images, and record of a step."""
    p = parameters(dataset, network)
    images = load(p)
    return p, images, Run(p.run_folder, step, p, images.provenance.as_dict())


def classifier(dataset: str, network: str) -> None:
    p, images, run = begin("classifier", dataset, network)
    model, about = classifier_training.train(images, p, p.run_folder)
    device = pick_device(p.device)
    test, facts = images.in_part("test"), images.facts
    values = classifiers.logits(model.to(device), test.images, device)
    task = facts.multi_label, p.classifier_threshold
    decisions = classifiers.classify(model, test.images, *task, device, values)
    measured = classification.summary(test.labels, decisions, values, facts)
    quality = classification.by_class(test.labels, decisions, facts)
    about |= {"test": measured, "test_by_class": quality.to_dict("records")}
    write_json(p.run_folder / "classifier.json", about)
    run.finish(start=about["start"], test=measured)
    print(dataset, network, "test", {k: v for k, v in measured.items() if k != "auc"}, flush=True)


def pixel_attack(dataset: str, network: str) -> None:
    p, images, run = begin("pixel_attack", dataset, network)
    model = classifiers.load(p.run_folder, p.classifier)
    records, _ = attack.attack_runs(model, images, p, p.run_folder)
    attacks = {}
    for pixels, found in records.items():
        attacks[params.ATTACKS[pixels]] = {
            "attacked": len(found), "successes": int(found["success"].sum()),
            "seconds": float(found["seconds"].sum()),
            **found[["evaluations", "computed", "disagreements"]].sum().astype(int).to_dict(),
        }  # fmt: skip
        print(dataset, network, attacks[params.ATTACKS[pixels]], flush=True)
    npz, md5 = params.ROOT / p.data_root / images.provenance.npz, images.provenance.md5
    lesions.keep(npz, md5, records.values(), p.run_folder / lesions.FILE)
    run.finish(weights=checksums(p.run_folder, ()), attacks=attacks)


def denoiser(dataset: str, name: str) -> None:
    p = parameters(dataset)
    images, folder = load(p), p.dataset_folder / "denoisers"
    some = training_images(images, p.denoiser_all_images)
    train(name, some.images, images.in_part("val").images, p, folder)
    about = read_json(folder / f"{name}.json")
    measures = [about[of] for of in ("validation_psnr", "identity_psnr", "wall_seconds")]
    print(dataset, name, *measures, flush=True)


def trained(dataset: str) -> None:
    """The record of all denoisers, once each is trained."""
    p = parameters(dataset)
    folder = p.dataset_folder / "denoisers"
    run = Run(folder, "denoisers", p, load(p).provenance.as_dict())
    psnr = {n: read_json(folder / f"{n}.json")["validation_psnr"] for n in p.denoiser_names}
    run.finish(psnr=psnr)


def restored(dataset: str, network: str) -> None:
    p, images, run = begin("restoration", dataset, network)
    folder, boot = p.dataset_folder / "denoisers", (p.bootstrap_samples, p.seed)
    device = pick_device(p.device)
    model = classifiers.load(p.run_folder, p.classifier).to(device)
    predict = classifiers.predictor(model, p, device)
    names = [*params.REFERENCES, *p.denoiser_names]
    defenses = denoisers.load_all(names, folder, images.facts.channels, device)
    patches, summaries = restoration.Patches.of(p), {}
    for pixels, records in attacks_of(p).items():
        name, clean = params.ATTACKS[pixels], attack.locate(images, records).images
        attacked = attack.rebuild(clean, records)
        table = restoration.restore_all(
            clean, attacked, records, defenses, predict, device, patches
        )
        write_table(p.run_folder / f"restoration_{name}.parquet", table)
        write_table(p.run_folder / f"detection_{name}.parquet", detection.summary(table, *boot))
        shares = restoration.summary(table, *boot)[["defense", "n", "recovered", "kept"]]
        summaries[name] = shares.astype(object).where(shares.notna(), None).to_dict("records")
        print(dataset, network, name, shares.round(3).to_string(), flush=True)
    run.finish(**behind(p.run_folder, p.denoiser_names), summaries=summaries)


def attacks_of(p) -> dict:
    """The attack tables of a run, by number of pixels."""
    return {n: read_table(p.run_folder / f"{params.ATTACKS[n]}.parquet") for n in p.attack_pixels}


def attacked(dataset: str, network: str) -> None:
    p, images, run = begin("attackers", dataset, network)
    model = classifiers.load(p.run_folder, p.classifier)
    found = attackers.attack_all(model, images, attacks_of(p), p, p.run_folder)
    certified.certified_accuracy(model, images, p, p.run_folder)
    defenses = next(iter(found.values()))["defense"].unique()
    run.finish(**behind(p.run_folder, defenses))


def ablated(variant: str, seed: str) -> None:
    """One variant and seed; ``all`` collects them."""
    p = parameters("abdomen_ct")
    images = data.load(p.dataset, p.data_root, p.ablation_size, "official", p.seed)
    folder = p.dataset_folder / "ablation"
    if variant != "all":
        ablation.run(images, p, folder, [variant], [int(seed)])
        return
    run = Run(p.dataset_folder, "ablation", p, images.provenance.as_dict())
    result = ablation.run(images, p, folder)
    write_table(p.dataset_folder / "ablation.parquet", result.metrics)
    write_table(p.dataset_folder / "ablation_models.parquet", result.models)
    summary, contrasts = ablation.summary(result.metrics, p), ablation.contrasts(result.metrics, p)
    print(summary[["variant", "psnr", "psnr_worst", "psnr_best"]].to_string(), flush=True)
    run.finish(
        summary=summary[["variant", "n", "psnr", "ssim"]].to_dict("records"),
        better=contrasts[["variant", "reference", "better"]].to_dict("records"),
    )


STEPS = {
    "classifier": classifier, "attack": pixel_attack, "denoiser": denoiser, "trained": trained,
    "restored": restored, "attackers": attacked, "ablated": ablated, "searched": searched,
}  # fmt: skip


def plan(datasets: list[str]) -> list[tuple[list[str], list[str], list[str]]]:
    """Jobs, the most wanted first: words, files that it waits for, jobs that it waits for."""
    found, last = [], []
    for dataset in [name for name in datasets if name != "abdomen_ct"]:
        p = parameters(dataset)
        file = f"{p.data_root}/{params.facts(dataset).filename(p.data_size)}"
        found += [(["classifier", dataset, n], [file], []) for n in NETWORKS]
        found += [(["attack", dataset, n], [], [f"classifier-{dataset}-{n}"]) for n in NETWORKS]
        found += [(["denoiser", dataset, n], [file], []) for n in reversed(p.denoiser_names)]
        each = [f"denoiser-{dataset}-{n}" for n in p.denoiser_names]
        found.append((["trained", dataset], [], each))
        found += [
            ([step, dataset, n], [], [f"attack-{dataset}-{n}", f"trained-{dataset}"])
            for n in NETWORKS
            for step in ("restored", "attackers")
        ]
        last += [
            (["searched", dataset, n, pixels, "30"], [], [f"classifier-{dataset}-{n}"])
            for n in NETWORKS
            for pixels in ("1", "2")
        ]
    if "abdomen_ct" in datasets:
        p = parameters("abdomen_ct")
        file = f"{p.data_root}/{params.facts('abdomen_ct').filename(p.ablation_size)}"
        each = [
            ["ablated", name, str(seed)]
            for seed in range(p.seed, p.seed + p.ablation_seeds)
            for name in ablation.variants(1)
        ]
        found += [(words, [file], []) for words in each]
        found.append((["ablated", "all", "0"], [], ["-".join(words) for words in each]))
    return found + last


def schedule(datasets: list[str], minutes: float, jobs: int, without: list[str]) -> None:
    """Start jobs as their needs are there, until the time is up; wait for those that run."""
    end = time.monotonic() + 60 * minutes
    LOGS.mkdir(parents=True, exist_ok=True)
    every = plan(datasets)
    waiting = [entry for entry in every if entry[0][0] not in without]
    running, failed = {}, set()
    done = {"-".join(words) for words, _, _ in every if words[0] in without}
    while (waiting and time.monotonic() < end) or running:
        for name, (process, began) in list(running.items()):
            if process.poll() is not None:
                took = time.monotonic() - began
                print(f"{name}: {process.returncode} after {took:.0f} s", flush=True)
                del running[name]
                (failed if process.returncode else done).add(name)
        for entry in list(waiting):
            words, files, needs = entry
            if failed.intersection(needs):  # it can never start
                failed.add("-".join(words))
                waiting.remove(entry)
                continue
            ready = all(Path(f).exists() for f in files) and done.issuperset(needs)
            if ready and len(running) < jobs and time.monotonic() < end:
                name = "-".join(words)
                with (LOGS / f"{name}.log").open("w") as log:
                    process = subprocess.Popen(
                        [sys.executable, "-m", "benchmarks.gpu_list", *words],
                        stdout=log, stderr=subprocess.STDOUT,
                        env=os.environ | {"OMP_NUM_THREADS": "2"},
                    )  # fmt: skip
                running[name] = process, time.monotonic()
                waiting.remove(entry)
        time.sleep(0.5)
    left = ["-".join(words) for words, _, _ in waiting]
    print(f"left: {left}, failed or without what they need: {sorted(failed)}", flush=True)


def main() -> None:
    if sys.argv[1] != "all":
        if torch.cuda.is_available() and sys.argv[1] in SHARING:
            torch.cuda.set_per_process_memory_fraction(float(os.environ.get("GPU_SHARE", 1)))
        STEPS[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("all")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--without", action="append", default=[], choices=STEPS)
    parser.add_argument("datasets", nargs="+")
    given = parser.parse_args()
    schedule(given.datasets, given.minutes, given.jobs, given.without)


if __name__ == "__main__":
    main()
