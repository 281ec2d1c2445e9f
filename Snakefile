# What depends on what. Each step is one notebook that papermill executes in a process of its own;
# a step runs again when its notebook, its parameters, its data or the part of lib it imports
# changes. The executed notebook stands for its step: weights and records are not outputs, because
# Snakemake deletes outputs before it runs a step again. They carry a key to the settings and the
# code that made them, so that a new page about the same results costs no new training, and a
# killed step goes on where it was.
#
#   snakemake --cores 2                                              the demo runs
#   snakemake --cores 2 --config protocol=compact dataset=derma classifier=resnet50
#
# The site is built from whatever has run, by book/build.py.

import ast
import json
import re
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lib import params
from lib.params.stages import RESULTS as RESULTS_PAGES

ATTACKED = ["derma", "pathology", "oct", "chest"]
CLASSIFIERS = params.names("classifiers")
GIVEN = {name.lower(): value for name, value in config.items()}
CHOSEN = {name: GIVEN.pop(name) for name in ("protocol", "dataset", "classifier") if name in GIVEN}
PROTOCOL = CHOSEN.get("protocol", "demo")
BASE = params.load(PROTOCOL, CHOSEN.get("dataset", "derma"), **GIVEN)
RUNS, RESULTS = BASE.runs, BASE.results
DATASETS = [CHOSEN["dataset"]] if "dataset" in CHOSEN else ATTACKED
NETWORKS = [CHOSEN["classifier"]] if "classifier" in CHOSEN else CLASSIFIERS
# The forensic page asks how the paper's numbers were computed, the map of vulnerable positions what
# the search missed, the adaptive attack what is left of a defense that the attacker knows; they take
# long and say much the same for each data set. So they are made for the runs that are named, and
# for the first one where all of them are asked for.
NAMED = {"dataset", "classifier"} & CHOSEN.keys()
EXAMINED = [
    (dataset, network)
    for dataset in DATASETS if dataset in ATTACKED
    for network in NETWORKS
    if NAMED or (dataset, network) == ("derma", "resnet50")
]
STEPS = list(params.STEPS)
EVIDENCE = ("verdicts",)  # steps about the recorded runs of one protocol
RECORD = RESULTS_PAGES  # steps about all recorded runs: pages made from results/ alone
ALONE = ("walkthrough", "comparison", "engine", "audit")  # one page for all runs of a protocol
OVERALL = (*ALONE, *EVIDENCE, *RECORD)  # steps without images of their own
# Variants of a protocol stand on its own pages.
RECORDED = sorted({
    params.base(path.name)
    for path in Path(RESULTS).glob("*") if any(path.glob("**/run.json"))
})


def of(wildcards, step):
    """Parameters of a job."""
    dataset = wildcards.get("dataset", "abdomen_ct" if step == "ablation" else "derma")
    if step == "ablation":
        return params.load(PROTOCOL, dataset, **(GIVEN | {"data_size": BASE.ablation_size}))
    if step in RECORD:
        return params.load("compact", dataset, runs=RUNS, results=RESULTS)
    if step in EVIDENCE:  # of a protocol that was recorded, whichever runs now
        return params.load(wildcards.protocol, runs=RUNS, results=RESULTS)
    return params.load(PROTOCOL, dataset, wildcards.get("classifier", "resnet50"), **GIVEN)


def imports(code):
    """Files of ours that a piece of Python imports directly."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    for name in names:
        if name.split(".")[0] in ("lib", "benchmarks", "book", "notebooks"):
            path = Path(*name.split("."))
            yield from (file for file in (path / "__init__.py", path.with_suffix(".py"))
                        if file.exists())


def lib_files(step):
    """Files of ours that a notebook imports, directly or through others."""
    text = Path(f"notebooks/{step}.md").read_text()
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", text, re.M | re.S)
    code = "\n".join(re.sub(r"^:.*$", "", cell, flags=re.M) for cell in cells)
    found, todo = set(), list(imports(code))
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += imports(file.read_text())
    return sorted(map(str, found))


NEEDS = {step: lib_files(step) for step in STEPS}
PARAMS = [f"lib/params/{name}.py" for name in ("parameters", "dataset_info")]
PRINTED = sorted(map(str, Path("results/printed").glob("*")))
MEASURED = sorted(map(str, (*Path("benchmarks").glob("*.csv"), *Path("benchmarks").glob("*.json"))))


def inputs(step):
    """Input function of a step: notebook, lib, facts, printed and measured tables, phantoms."""

    def files(wildcards):
        p = of(wildcards, step)
        found = [f"notebooks/{step}.ipynb", *NEEDS[step]]
        if "lib/evidence/printed.py" in NEEDS[step]:
            found += PRINTED
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
        # A file that is downloaded is MedMNIST's own, before and after.
        local = not p.data_phantom_images and not p.data_download and file.exists()
        if step not in OVERALL and local:
            found["file"] = [file.stat().st_size, int(file.stat().st_mtime)]
        return json.dumps(found, sort_keys=True)

    return values


def arguments(step):
    """What papermill is given: names, and the values that the user overrode."""

    def text(wildcards):
        p = of(wildcards, step)
        given = {"protocol": p.protocol, "runs": p.runs, "results": p.results}
        given |= {name: getattr(p, name) for name in ("dataset", "classifier")}
        if step not in (*EVIDENCE, *RECORD):
            given |= GIVEN
        fields = params.step_fields(step)
        return shlex.quote(json.dumps({k: v for k, v in given.items() if k in fields}))

    return text


def cores(wildcards):
    """Demo steps are many and small, the others few and long: each has the machine to itself.

    On a cluster there is no such machine, and a job asks for as many cores as training fills.
    """
    if PROTOCOL == "demo":
        return 1
    try:
        return workflow.cores
    except WorkflowError:
        return 8


# Executes one notebook beside its place and moves it there when it has succeeded.
PAPERMILL = """
mkdir -p build/logs "$(dirname {output[0]})"
log=build/logs/$(echo {output[0]} | tr / -).log
partial={output[0]}.partial.ipynb
began=$(date +%s)
if OMP_NUM_THREADS={threads} ${{PAPERMILL:-papermill}} notebooks/{params.step}.ipynb "$partial" \
    --no-progress-bar --cwd . -y {params.given} > "$log" 2>&1
then
    mv "$partial" {output[0]}
    sh book/say.sh "{output[0]} ($(($(date +%s) - began)) s)"
else
    rm -f "$partial"
    sh book/say.sh "{output[0]} failed: $(grep -E '^[A-Za-z_.]*(Error|Exception|Interrupt)' "$log" \
        | tail -n 1), log $log"
    exit 1
fi
"""
RUN = f"{RUNS}/{PROTOCOL}"
SET = f"{RUN}/{{dataset}}"
NET = f"{SET}/{{classifier}}"
PAGES = f"{RUNS}/results"


wildcard_constraints:
    dataset="[a-z_]+",
    classifier="[a-z0-9]+",
    protocol="[^/]+",


def targets():
    """Notebooks of the runs asked for."""
    found = []
    for dataset in DATASETS:
        if dataset == "abdomen_ct":
            continue
        found.append(f"{RUN}/{dataset}/datasets.ipynb")
        if BASE.denoiser_names:
            found.append(f"{RUN}/{dataset}/denoisers.ipynb")
        for network in NETWORKS:
            found += [
                f"{RUN}/{dataset}/{network}/{step}.ipynb"
                for step in ("classifier", "pixel_attack", "restoration")
            ]
    for dataset, network in EXAMINED:
        if 1 in BASE.attack_pixels:
            found.append(f"{RUN}/{dataset}/{network}/vulnerability.ipynb")
        found.append(f"{RUN}/{dataset}/{network}/adaptive.ipynb")
        if BASE.denoiser_names:
            found.append(f"{RUN}/{dataset}/{network}/forensics.ipynb")
    if "dataset" not in CHOSEN or CHOSEN["dataset"] == "abdomen_ct":
        found.append(f"{RUN}/abdomen_ct/ablation.ipynb")
    if not NAMED:
        found += [f"{RUN}/{step}.ipynb" for step in ALONE]
        found += [f"{RUNS}/{protocol}/{step}.ipynb" for protocol in RECORDED for step in EVIDENCE]
        found += [f"{PAGES}/{step}.ipynb" for step in RECORD if RECORDED and step != "results_dataset"]
        found += [
            f"{PAGES}/{dataset}/results_dataset.ipynb"
            for dataset in ATTACKED
            if any(any(Path(RESULTS, name, dataset).glob("*/run.json")) for name in RECORDED)
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
        "jupytext --quiet --to ipynb --output {output} {input}"


rule phantoms:
    output:
        "{root}/{flag}.npz",
    input:
        [*map(str, Path("lib/data/phantoms").glob("*.py")), *PARAMS],
    params:
        dataset=lambda w: next(
            name for name in params.names("datasets")
            if w.flag.split("_")[0] == params.facts(name).flag
        ),
        size=lambda w: int(w.flag.split("_")[1]) if "_" in w.flag else 28,
        images=BASE.data_phantom_images,
        seed=BASE.seed,
    wildcard_constraints:
        root=re.escape(BASE.data_root),
    shell:
        """
        OMP_NUM_THREADS=1 python -m lib.data.phantoms --root {wildcards.root} --size {params.size} \
            --images {params.images} --seed {params.seed} {params.dataset} > /dev/null
        sh book/say.sh {output}
        """


def recorded(wildcards):
    """Files of the record of a protocol."""
    names = (wildcards.protocol, *params.variants(wildcards.protocol))
    return sorted(str(file) for name in names for file in Path(RESULTS, name).glob("**/*.*"))


def every_record(wildcards):
    """Files of the record of all protocols."""
    return sorted(str(file) for file in Path(RESULTS).glob("*/*/**/*.*"))


# A protocol without denoisers restores with the reference defenses alone.
DENOISED = [f"{SET}/denoisers.ipynb"] if BASE.denoiser_names else []
ATTACKS = [f"{NET}/pixel_attack.ipynb"]
RESTORED = expand(f"{NET}/restoration.ipynb", dataset=ATTACKED, classifier=CLASSIFIERS)
# Where each step's page lies, and what must be there before besides `inputs`.
CHAIN = {
    "walkthrough": (RUN, []),
    "datasets": (SET, []),
    "classifier": (NET, []),
    "pixel_attack": (NET, [f"{NET}/classifier.ipynb"]),
    "vulnerability": (NET, ATTACKS),
    "denoisers": (SET, []),
    "restoration": (NET, ATTACKS + DENOISED),
    "adaptive": (NET, ATTACKS + DENOISED),
    "forensics": (NET, ATTACKS + DENOISED),
    "ablation": (f"{RUN}/abdomen_ct", []),
    "comparison": (RUN, RESTORED),
    "engine": (RUN, []),
    "audit": (RUN, []),
    "verdicts": (f"{RUNS}/{{protocol}}", recorded),
    **{step: (PAGES, every_record) for step in RECORD},
    "results_dataset": (f"{PAGES}/{{dataset}}", every_record),
}

for step, (place, before) in CHAIN.items():

    rule:
        name:
            step
        input:
            inputs(step),
            before,
        output:
            f"{place}/{step}.ipynb",
        params:
            step=step,
            given=arguments(step),
            values=settings(step),
        threads: cores
        shell:
            PAPERMILL
