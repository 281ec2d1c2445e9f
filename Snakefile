# What depends on what. Each step is one notebook that papermill executes in a process of its own. A
# step runs again when its notebook, its parameters, its data or its version (lib/params/stages.py)
# changes; `make book FORCE=1` runs all of them. The executed notebook stands for its step: weights
# and tables are not outputs, because Snakemake deletes outputs before it runs a step again. They
# carry a key to what made them, so that a new page about the same results costs no new training,
# and a killed step continues where it was.
#
#   snakemake --cores 2                                              the demo runs
#   snakemake --cores 2 --config protocol=compact dataset=derma classifier=resnet50
#
# The site is built from whatever has run, by book/build.py.

import json
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lib import params
from lib.params.errors import InputError
from lib.params.files import fingerprint, md5, visible
from lib.params.locks import Lock
from lib.params.resources import asked
from lib.params.runs import lock_file
from lib.params.stages import RESULTS as RECORD  # steps about all recorded runs: from results/ alone

ATTACKED = ["derma", "pathology", "oct", "chest"]
CLASSIFIERS = params.names("classifiers")
try:
    GIVEN = params.from_config(config, workflow.config_settings.config_args or [])
    GIVEN = {name: value for name, value in GIVEN.items() if value is not None}
    params.load_all(**GIVEN)  # every error at once
    CHOSEN = {name: GIVEN.pop(name) for name in params.CHOSEN if name in GIVEN}
    BASE = params.load(**CHOSEN, **GIVEN)
    RECORDED = sorted({  # variants of a protocol stand on its own pages
        params.base(path.name) for path in visible(params.ROOT / BASE.results, "*")
        if path.name in params.names("protocols") and visible(path, "**/run.json")
    })
    for place in (f"{BASE.runs}/{BASE.run_name}", BASE.results, BASE.data_root):
        if {"{", "}"} & {*place}:
            raise InputError(f"{place} has braces, which Snakemake takes for a wildcard: rename it.")
        there = next(each for each in Path(place, "x").absolute().parents if each.exists())
        if not there.is_dir():
            raise InputError(f"{place} cannot be a folder, because {there} is a file.")
except InputError as error:
    raise WorkflowError(str(error))
PROTOCOL = BASE.protocol
CHOSEN = {name: getattr(BASE, name) for name in CHOSEN}
RUNS, RESULTS = BASE.runs, BASE.results
DATASETS = [CHOSEN["dataset"]] if "dataset" in CHOSEN else ATTACKED
NETWORKS = [CHOSEN["classifier"]] if "classifier" in CHOSEN else CLASSIFIERS
NAMED = {"dataset", "classifier"} & CHOSEN.keys()
PAIRS = [(dataset, network) for dataset in DATASETS if dataset in ATTACKED for network in NETWORKS]
if PROTOCOL == "demo" and not NAMED:
    # It proves that everything runs, and the book is there in minutes: color with one label an image
    # and gray with several, each classifier. A run that is named gets what it asks for.
    PAIRS = [("derma", "resnet50"), ("derma", "densenet121"), ("chest", "densenet121")]
    DATASETS = [*dict.fromkeys(dataset for dataset, _ in PAIRS)]
# The forensic page asks how the paper's numbers were computed, the map of vulnerable positions what
# the search missed, the attackers what is left of a defense that the attacker knows; they take long
# and say much the same for each data set. So they are made for the runs that are named, and for the
# first one where all of them are asked for.
EXAMINED = [pair for pair in PAIRS if NAMED or pair == ("derma", "resnet50")]
STEPS = list(params.STEPS)
ALONE = ("walkthrough", "comparison", "engine", "audit")  # one page for all runs of a protocol
OVERALL = (*ALONE, *RECORD)  # steps without images of their own


def of(wildcards, step):
    """Parameters of a job."""
    dataset = wildcards.get("dataset", "abdomen_ct" if step == "ablation" else "derma")
    if step == "ablation":
        return params.load(PROTOCOL, dataset, **(GIVEN | {"data_size": BASE.ablation_size}))
    if step in RECORD:
        return params.load("compact", dataset, runs=RUNS, results=RESULTS)
    return params.load(PROTOCOL, dataset, wildcards.get("classifier", "resnet50"), **GIVEN)


# Hundreds of files, which as inputs would keep the scheduler busier than the notebooks. Pages of the
# record also show what the files of the protocols say.
RECORD_STATE = fingerprint([
    [str(file), md5(file)]
    for file in (
        *visible(RESULTS, "*/*/**/*.*"), *visible(RESULTS, "*.csv"),
        *visible("params/protocols", "*.yaml"),
    )
    if file.is_file() and file.name != "coverage.csv"  # made from these pages' tables
])
PRINTED = [str(path) for path in visible("results/printed", "*")]
MEASURED = [str(path) for kind in ("csv", "json") for path in visible("benchmarks", f"*.{kind}")]


def inputs(step):
    """Input function of a step: notebook, facts, printed and measured tables, phantoms."""

    def files(wildcards):
        p = of(wildcards, step)
        found = [f"notebooks/{step}.md", *PRINTED]
        if step == "engine":
            found += MEASURED
        if step not in OVERALL:
            found.append(f"params/datasets/{p.dataset}.yaml")
            if p.data_phantom_images:
                found.append(f"{p.data_root}/{params.facts(p.dataset).filename(p.data_size)}")
        return found

    return files


def settings(step):
    """Params function: the values that the step depends on; a change runs it again."""

    def values(wildcards):
        p = of(wildcards, step)
        found = p.key(step)
        file = Path(p.data_root) / params.facts(p.dataset).filename(p.data_size)
        if step in RECORD:
            found["record"] = RECORD_STATE
        if step == "results_dataset":  # pictures stand where the files are at hand
            found["files"] = [
                [path.name, path.stat().st_size, int(path.stat().st_mtime)]
                for path in visible(file.parent, f"{file.stem.split('_')[0]}*")
            ]
        # A file that is downloaded is MedMNIST's own, before and after.
        local = not p.data_phantom_images and not p.data_download and file.exists()
        if step not in OVERALL and local:
            found["file"] = [file.stat().st_size, int(file.stat().st_mtime)]
        return json.dumps(found, sort_keys=True)

    return values


def arguments(step):
    """What papermill is given: names, and all values that the user changed.

    The folder of a run is named after these values, so every step gets all of them.
    """

    def text(wildcards):
        p = of(wildcards, step)
        given = {"protocol": p.protocol, "runs": p.runs, "results": p.results}
        given |= {name: getattr(p, name) for name in ("dataset", "classifier")}
        fields = params.step_fields(step)
        given = {name: value for name, value in given.items() if name in fields}
        if step not in RECORD:
            given |= {name: getattr(BASE, name) for name in GIVEN}
        return json.dumps(given)

    return text


def cores(wildcards):
    """Demo steps are many and small, the others few and long: each has the machine to itself.

    On a cluster there is no such machine, and a job asks for as many cores as training fills.
    """
    if PROTOCOL == "demo" or workflow.remote_exec or workflow.resource_settings.cores is None:
        return asked("datasets", BASE)["cores"]
    return workflow.cores


def resource(step, name):
    """Resource function of a step: one value of what its job asks a cluster for."""
    return lambda wildcards: asked(step, of(wildcards, step))[name]


def resources_of(step):
    """Resources of a rule. A GPU must not be named where none is wanted: Kubernetes wants a maker."""
    found = {name: resource(step, name) for name in ("mem_mb", "runtime")}
    if "gpu" in asked(step, BASE):
        found |= {"gpu": 1, "gpu_manufacturer": "nvidia"}
    return found


RUN = f"{RUNS}/{BASE.run_name}"
SET = f"{RUN}/{{dataset}}"
NET = f"{SET}/{{classifier}}"
PAGES = f"{RUNS}/results"


onstart:
    # Held until this process ends, however it ends.
    try:
        Lock(lock_file(BASE), f"The run folder {RUNS}/{BASE.run_name}")
    except InputError as error:
        raise WorkflowError(str(error))


wildcard_constraints:
    dataset="[a-z_]+",
    classifier="[a-z0-9]+",


def denoised(dataset):
    """Whether the runs of a data set have denoisers."""
    return bool(params.load(PROTOCOL, dataset, **GIVEN).denoiser_names)


def drawn(wildcards):
    """The data set of a file of phantoms."""
    flag = wildcards.flag.split("_")[0]
    return next(name for name in params.names("datasets") if params.facts(name).flag == flag)


def targets():
    """Notebooks of the runs asked for."""
    found = []
    for dataset in DATASETS:
        if dataset == "abdomen_ct":
            continue
        found.append(f"{RUN}/{dataset}/datasets.ipynb")
        if denoised(dataset):
            found.append(f"{RUN}/{dataset}/denoisers.ipynb")
    found += [
        f"{RUN}/{dataset}/{network}/{step}.ipynb"
        for dataset, network in PAIRS
        for step in ("classifier", "pixel_attack", "restoration")
    ]
    for dataset, network in EXAMINED:
        if 1 in of({"dataset": dataset, "classifier": network}, "vulnerability").attack_pixels:
            found.append(f"{RUN}/{dataset}/{network}/vulnerability.ipynb")
        found.append(f"{RUN}/{dataset}/{network}/attackers.ipynb")
        if denoised(dataset):
            found.append(f"{RUN}/{dataset}/{network}/forensics.ipynb")
    if "dataset" not in CHOSEN or CHOSEN["dataset"] == "abdomen_ct":
        found.append(f"{RUN}/abdomen_ct/ablation.ipynb")
    if not NAMED:
        found += [f"{RUN}/{step}.ipynb" for step in ALONE]
        found += [f"{PAGES}/{step}.ipynb" for step in RECORD if RECORDED and step != "results_dataset"]
        found += [
            f"{PAGES}/{dataset}/results_dataset.ipynb"
            for dataset in ATTACKED
            if any(visible(Path(RESULTS, name, dataset), "*/run.json") for name in RECORDED)
        ]
    return found


rule runs:
    default_target: True
    input:
        targets(),


rule notebooks:
    input:
        expand("notebooks/{step}.ipynb", step=STEPS),


rule notebook:
    input:
        "notebooks/{step}.md",
    output:
        "notebooks/{step}.ipynb",
    shell:
        "{sys.executable:q} -m jupytext --quiet --to ipynb --output {output} {input}"


rule phantoms:
    output:
        "{root}/{flag}.npz",
    params:
        version=params.VERSIONS["phantoms"],
        dataset=drawn,
        size=lambda w: int(w.flag.split("_")[1]) if "_" in w.flag else 28,
        images=lambda w: params.load(PROTOCOL, drawn(w), **GIVEN).data_phantom_images,
        seed=BASE.seed,
    wildcard_constraints:
        root=re.escape(BASE.data_root),
    priority: 4
    resources:
        mem_mb=asked("phantoms", BASE)["mem_mb"],
        runtime=asked("phantoms", BASE)["runtime"],
    shell:
        """
        OMP_NUM_THREADS=1 {sys.executable:q} -m lib.data.phantoms --root {wildcards.root:q} \
            --size {params.size} --images {params.images} --seed {params.seed} {params.dataset} \
            > /dev/null
        {sys.executable:q} -m book.say {output:q}
        """


# Where each step's page lies.
PLACE = {"datasets": SET, "denoisers": SET, "ablation": f"{RUN}/abdomen_ct"}
PLACE |= dict.fromkeys(ALONE, RUN)
PLACE |= dict.fromkeys(RECORD, PAGES) | {"results_dataset": f"{PAGES}/{{dataset}}"}
PAGE = {step: f"{PLACE.get(step, NET)}/{step}.ipynb" for step in STEPS if step != "explore"}


def before(step):
    """Input function: pages that must be there first. Without denoisers the references are used."""
    return lambda wildcards: [
        PAGE[each].format(**wildcards) for each in params.AFTER.get(step, ())
        if each != "denoisers" or denoised(wildcards.dataset)
    ]


BEFORE = {step: [before(step)] for step in PAGE}
BEFORE["comparison"] = [
    PAGE["restoration"].format(dataset=dataset, classifier=network) for dataset, network in PAIRS
]


def shards(wildcards):
    """Marks of finished shards of a run's attacks; none where an attack is one job."""
    p = of(wildcards, "pixel_attack")
    place = NET.format(dataset=p.dataset, classifier=p.classifier)
    return [
        f"{place}/.{params.ATTACKS[pixels]}-{shard + 1}-of-{p.attack_shards}"
        for pixels in p.attack_pixels for shard in range(p.attack_shards)
        if p.attack_shards > 1
    ]


BEFORE["pixel_attack"].append(shards)


# What others wait for comes first; pages that nothing waits for fill the cores at the end.
PRIORITY = {"classifier": 3, "denoisers": 2, "pixel_attack": 2, "restoration": 1}


# Some images of one attack; what it finds lies in the run folder for the notebook that merges it.
rule attack_shard:
    input:
        PAGE["classifier"],
    output:
        temp(touch(f"{NET}/.{{attack}}-{{shard}}-of-{{shards}}")),
    params:
        pixels=lambda w: {name: pixels for pixels, name in params.ATTACKS.items()}[w.attack],
        given=arguments("pixel_attack"),
        values=settings("pixel_attack"),
    wildcard_constraints:
        attack="|".join(params.ATTACKS.values()),
        shard=r"\d+",
        shards=r"\d+",
    priority: PRIORITY["pixel_attack"]
    threads: cores
    resources:
        **resources_of("pixel_attack"),
    shell:
        """
        TQDM_DISABLE=1 OMP_NUM_THREADS={threads} {sys.executable:q} -m lib.attack \
            {wildcards.shard}/{wildcards.shards} {params.pixels} {params.given:q}
        {sys.executable:q} -m book.say {output:q}
        """


for step, page in PAGE.items():

    rule:
        name:
            step
        input:
            inputs(step),
            BEFORE[step],
        output:
            page,
        params:
            step=step,
            given=arguments(step),
            values=settings(step),
        priority: PRIORITY.get(step, 0)
        threads: cores
        resources:
            **resources_of(step),
        shell:
            "OMP_NUM_THREADS={threads} {sys.executable:q} -m notebooks.execute {params.step} "
            "{output:q} {params.given:q}"
