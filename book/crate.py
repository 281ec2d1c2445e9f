"""RO-Crate metadata of an archive: of each recorded run its inputs, parameters, software, machine
and times, as a Process Run Crate.

``python -m book.crate FOLDER [DATE]`` writes ``ro-crate-metadata.json`` and validates it. It needs
`rocrate` and `rocrate_validator`, which `make archive` installs beside the project.
"""

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester

from lib.params import STEPS, step_fields
from lib.params.errors import InputError, run_command
from lib.params.files import fingerprint, read_json, sha256, visible
from lib.params.stages import WRITES

VERSION = "1.3"
PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
TERMS = "https://w3id.org/ro/terms/workflow-run#"
PROFILES = (f"ro-crate-{VERSION}", "process-run-crate-0.5")
PARTS = {
    "source/": "The files of one commit; results/ in it is the record.",
    "notebooks/": "Executed notebooks that show no image of a patient.",
    "site/": "The book, built from the record.",
    "weights/": "Trained networks that the record names, with a card each.",
}
HOMES = {
    "python": "https://www.python.org", "torch": "https://pytorch.org",
    "torchvision": "https://pytorch.org/vision", "medmnist": "https://medmnist.com",
    "numpy": "https://numpy.org", "scikit-image": "https://scikit-image.org",
    "piq": "https://piq.readthedocs.io", "papermill": "https://papermill.readthedocs.io",
}  # fmt: skip
KINDS = {
    ".json": "application/json", ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream", ".md": "text/markdown", ".csv": "text/csv",
    ".png": "image/png", ".txt": "text/plain", ".cff": "text/yaml", ".yml": "text/yaml",
}  # fmt: skip


class Crate:
    """The metadata of one folder in the making."""

    def __init__(self, folder: Path, date: str) -> None:
        self.folder = folder
        self.made = ROCrate(version=VERSION)
        about = yaml.safe_load((folder / "source/CITATION.cff").read_text(encoding="utf-8"))
        self.made.name, self.made.description = about["title"], about["abstract"].strip()
        self.made.datePublished, self.made.keywords = date, about["keywords"]
        names = [author["name"] for author in about["authors"]]
        self.agents = [self.entity(f"#{name}", "Organization", name=name) for name in names]
        self.made.root_dataset["author"] = self.agents
        self.made.root_dataset["publisher"] = self.agents[0]
        spdx = f"https://spdx.org/licenses/{about['license']}"
        self.made.license = self.entity(
            spdx, "CreativeWork", name=about["license"],
            description="Code. Text and figures: CC BY 4.0; see the file LICENSE.",
        )  # fmt: skip
        for of in about["references"]:
            self.made.isBasedOn = self.entity(
                f"https://doi.org/{of['doi']}", "ScholarlyArticle", name=of["title"]
            )
        self.made.metadata.extra_terms |= {
            name: TERMS + name for name in ("environment", "resourceUsage")
        }
        profile = self.entity(PROCESS, ["CreativeWork", "Profile"], name="Process Run Crate",
                              version="0.5")  # fmt: skip
        self.made.root_dataset["conformsTo"] = profile

    def entity(self, id_: str, kind: str | list[str], **properties: Any) -> ContextEntity:
        """What is described once, however often it is named."""
        id_ = quote(id_, safe="#:/@+")
        if found := self.made.get(id_):
            return found
        return self.made.add(ContextEntity(self.made, id_, {"@type": kind} | properties))

    def file(self, path: Path) -> Any:
        """A file of the archive, with its size and checksum."""
        below = path.relative_to(self.folder).as_posix()
        if found := self.made.get(below):
            return found
        return self.made.add_file(path, below, properties={
            "name": path.name, "contentSize": str(path.stat().st_size), "sha256": sha256(path),
            "encodingFormat": KINDS.get(path.suffix, "application/octet-stream"),
        })  # fmt: skip

    def values(self, prefix: str, values: dict[str, Any]) -> list[ContextEntity]:
        """Values by name, each described once for all runs that have it."""
        return [
            self.entity(f"#{prefix}-{name}-{json.dumps(value)}", "PropertyValue", name=name,
                        value=value if isinstance(value, int | float | str) else json.dumps(value))
            for name, value in values.items() if value is not None
        ]  # fmt: skip

    def software(self, commit: str, versions: dict[str, str]) -> ContextEntity:
        """The project at a commit, and the packages that it ran with."""
        needs = [
            self.entity(f"pkg:{'generic' if name == 'python' else 'pypi'}/{name}@{version}",
                        "SoftwareApplication", name=name, version=version, url=HOMES[name])
            for name, version in versions.items()
        ]  # fmt: skip
        key = fingerprint([commit, versions])
        return self.entity(
            f"#software-{key}", "SoftwareApplication", name=self.made.name, version=commit,
            url={"@id": "source/"}, softwareRequirements=needs,
        )  # fmt: skip

    def images(self, data: dict[str, Any]) -> list[ContextEntity]:
        """The file of images that a step has read; it is not part of the archive."""
        files = [data] if "npz" in data else [of for of in data.values() if isinstance(of, dict)]
        return [
            self.entity(
                f"#images-{of['npz']}-{of['md5']}", "CreativeWork", name=of["npz"],
                identifier=of["md5"], description=f"{of['source']}. {of.get('note', '')} Named by "
                "its MD5; images of patients are not part of the archive.",
            )
            for of in files
        ]  # fmt: skip

    def action(self, folder: Path, step: str, run: dict[str, Any]) -> ContextEntity:
        """One step of a recorded run."""
        place = folder.relative_to(self.folder / "source" / "results").as_posix()
        ended = datetime.fromisoformat(run["finished"])
        names = step_fields(step) if step in STEPS else run["parameters"]
        values = {name: run["parameters"].get(name) for name in names}
        patterns = _patterns(step)
        files = [path for path in visible(folder, "*.*")
                 if any(fnmatch(path.name, each) for each in patterns)]  # fmt: skip
        return self.made.add_action(
            self.software(run["commit"], run["versions"]), f"#run-{place}-{step}",
            object=[*self.images(run["data"]), *self.values("parameter", values)],
            result=[self.file(path) for path in files],
            properties={
                "@type": "CreateAction", "name": f"{step} of {place}",
                "description": f"notebooks/{step}.md was executed. Where it read finished work "
                "back, the times are those of the reading.",
                "startTime": (ended - timedelta(seconds=run["wall_seconds"])).isoformat(),
                "endTime": run["finished"], "agent": self.agents,
                "environment": self.values("machine", run["hardware"]),
                "resourceUsage": self.values("seconds", {"wall_seconds": run["wall_seconds"]}),
            },
        )  # fmt: skip

    def write(self) -> Path:
        """Describe everything and write the file."""
        for name, text in PARTS.items():
            if (self.folder / name).is_dir():
                self.made.add_dataset(self.folder / name, name, properties={
                    "name": name.strip("/"), "description": text,
                })  # fmt: skip
        for path in sorted(self.folder.iterdir()):
            if path.is_file():
                self.file(path)
        for path in visible(self.folder / "weights", "**/*.*"):
            self.file(path)
        actions = []
        for path in visible(self.folder / "source" / "results", "*/**/run.json"):
            steps = read_json(path)["steps"]
            actions += [self.action(path.parent, step, steps[step]) for step in steps]
            for other in visible(path.parent, "*.*"):
                self.file(other)
        self.made.root_dataset["mentions"] = actions
        self.made.metadata.write(self.folder)
        return self.folder / "ro-crate-metadata.json"


def _patterns(step: str) -> list[str]:
    """Patterns of the names of the files that a step writes."""
    names = [re.sub(r"<\w+>", "*", Path(each).name) for each in WRITES.get(step, ())]
    return [
        "run.json", *(name.replace("<one|two>", each) for name in names for each in ("one", "two"))
    ]  # fmt: skip


class Shipped(requests.adapters.BaseAdapter):
    """Gives the context of RO-Crate as `rocrate` ships it, so that nothing is downloaded."""

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        """The context, whatever was asked for below its address."""
        response = requests.Response()
        response.request, response.url, response.status_code = request, request.url, 200
        response.headers["Content-Type"] = "application/ld+json"
        response._content = (resources.files("rocrate") / "data/ro-crate.jsonld").read_bytes()
        return response

    def close(self) -> None:
        """Nothing is open."""


def problems(folder: Path) -> list[str]:
    """What is not as the profiles require, a sentence each."""
    # It warns of each path with a blank, which the metadata themselves do not have.
    logging.getLogger("rdflib.term").setLevel(logging.ERROR)
    wrong = []
    for profile in PROFILES:
        settings = services.ValidationSettings(
            rocrate_uri=str(folder), profile_identifier=profile, no_cache=True,
            # The second one is written for RO-Crate 1.1, and its own rules alone are asked for.
            disable_inherited_profiles_issue_reporting=profile != PROFILES[0],
        )  # fmt: skip
        HttpRequester().session.mount(f"https://w3id.org/ro/crate/{VERSION}/context", Shipped())
        result = services.validate(settings)
        wrong += [f"{profile}: {issue.message}" for issue in result.get_issues()]
    return wrong


def main(folder: str, date: str = "") -> None:
    """Raises `InputError` for metadata that do not validate."""
    Crate(Path(folder), date or datetime.now(UTC).date().isoformat()).write()
    if wrong := problems(Path(folder)):
        raise InputError("\n".join(wrong))
    print(f"RO-Crate: valid by {' and '.join(PROFILES)}")


if __name__ == "__main__":
    run_command(lambda words: main(*words))
