"""`inkflow doctor`: what this machine lacks for a run, each with the command that mends it."""

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from flows.core.code_path import python_path
from flows.core.errors import ServerUnreachable
from flows.core.params_edit import edited_params
from flows.core.redaction import mask
from flows.engine import resources
from flows.prefect_server.server import ensure_answer, named
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InkflowError

FINE, NOTE, WRONG = "fine", "note", "wrong"
MARKS = {FINE: "=", NOTE: "!", WRONG: "x"}
PYTHONS = ((3, 11), (3, 13))
LOCK = Path("requirements.lock")
SHOWN = 3  # packages by name
FREE_BYTES = 2 * 10**9  # MNIST, six models and their history take a tenth of it
REMOTE_S, GPU_S, DATA_S = 30.0, 120.0, 10.0
MIRROR = "INKFLOW_MIRROR"
FIND_GPU = "import tensorflow; print(len(tensorflow.config.list_physical_devices('GPU')))"


@dataclass(frozen=True)
class Finding:
    """What one check found; `mend` says what to do, where there is something to do."""

    check: str
    state: str
    says: str
    mend: str = ""


def doctor(arguments: argparse.Namespace) -> int:
    """Check everything and print it; exit code 1 when something has to be mended."""
    root = Path()
    checks: list[Callable[[Path], Finding]] = [python, packages, gpu, server, remote, dataset, disk]
    findings = []
    for check in checks:
        findings.append(check(root))
        if not arguments.json:
            _show(findings[-1])
    if arguments.json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2, ensure_ascii=False))
    return EXIT_FAILED if any(finding.state == WRONG for finding in findings) else EXIT_DONE


def python(root: Path) -> Finding:
    """Whether this is a Python that the packages are made for."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("Python", FINE, here)
    return Finding("Python", WRONG, f"got {here}, expected 3.11 to 3.13", "make distclean setup PYTHON=python3.12")


def packages(root: Path) -> Finding:
    """Whether the packages are those of requirements.lock."""
    if not (root / LOCK).exists():
        return Finding("packages", NOTE, f"there is no {LOCK} to compare with")
    wanted = dict(_locked((root / LOCK).read_text(encoding="utf-8")))
    wrong = []
    for name, version in wanted.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != version:
            wrong.append(f"{name} {found} instead of {version}")
    if not wrong:
        return Finding("packages", FINE, f"{len(wanted)} as {LOCK} says")
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return Finding("packages", WRONG, f"{', '.join(wrong[:SHOWN])}{more}", "make setup")


def gpu(root: Path) -> Finding:
    """Whether TensorFlow can use the GPUs that the machine has."""
    count = len(resources.gpus())
    if not count and not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        return Finding("GPU", FINE, "none: trainings run on the processor")
    try:
        done = subprocess.run([sys.executable, "-c", FIND_GPU], capture_output=True, text=True, timeout=GPU_S)
    except subprocess.TimeoutExpired:
        return Finding("GPU", WRONG, f"TensorFlow did not answer within {GPU_S:g} s", "nvidia-smi")
    said = done.stdout.split()
    if done.returncode == 0 and said and said[-1] != "0":
        return Finding("GPU", FINE, f"TensorFlow sees {said[-1]}")
    mend = ".venv/bin/uv pip install --constraint requirements.lock --editable '.[gpu]'"
    return Finding("GPU", WRONG, "there is a GPU, and TensorFlow sees none: it runs on the processor", mend)


def server(root: Path) -> Finding:
    """Whether the Prefect server that is named answers."""
    url = named()
    if url is None:
        return Finding("Prefect server", FINE, "none is named: each run starts a temporary one")
    try:
        ensure_answer(url)
    except ServerUnreachable:
        mend = "inkflow up, or unset PREFECT_API_URL"
        return Finding("Prefect server", WRONG, f"{mask(url)} does not answer", mend)
    return Finding("Prefect server", FINE, f"{mask(url)} answers")


def remote(root: Path) -> Finding:
    """Whether DVC's default remote can be reached."""
    from flows.dvc_repo.remotes import default_remote  # late: DVC takes its time to import

    try:
        name = default_remote(root)
    except InkflowError as error:
        return Finding("DVC remote", WRONG, mask(str(error)), "mend .dvc/config or .dvc/config.local")
    if name is None:
        return Finding("DVC remote", NOTE, "none: results stay on this machine", "dvc remote add --default NAME URL")
    code = {"PYTHONPATH": python_path()}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flows.dvc_repo.remote_check"],
            cwd=root, env=os.environ | code, capture_output=True, text=True, timeout=REMOTE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding("DVC remote", WRONG, f"{name} did not answer within {REMOTE_S:g} s", f"dvc status -r {name}")
    if done.returncode == 0:
        return Finding("DVC remote", FINE, f"{name} can be reached")
    said = mask(" ".join((done.stdout or done.stderr).split()[:40]))
    return Finding("DVC remote", WRONG, f"{name} cannot be reached ({said})", f"dvc remote modify {name} ...")


def dataset(root: Path) -> Finding:
    """Whether the chosen data set is here, or its source answers."""
    try:
        params = edited_params({}, root).params
    except InkflowError as error:
        return Finding("data set", WRONG, str(error), "edit params.yaml")
    if params is None:
        return Finding("data set", FINE, "the project has none of ours")
    name = params.dataset
    if params.chosen.embedded:
        return Finding("data set", FINE, f"{name} comes with scikit-learn")
    if _is_here(root, name):
        return Finding("data set", FINE, f"{name} is in data/raw")
    places = [place for place in (_mirrored(name), params.chosen.url) if place]
    answers = [place for place in places if _answers(place)]
    if answers:
        return Finding("data set", FINE, f"{name} is not here yet; {mask(answers[0])} has it")
    cached = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / f"{name}.npz"
    if cached.is_file():
        return Finding("data set", FINE, f"{name} is not here yet; Keras's cache has it")
    tried = ", ".join(mask(place) for place in places) or "no source"
    mend = f"{MIRROR}=/folder/with/{name}.npz inkflow run, or inkflow run --fallback digits"
    return Finding("data set", WRONG, f"{name} is not here, and {tried} does not have it or does not answer", mend)


def disk(root: Path) -> Finding:
    """Whether there is room for results."""
    free = shutil.disk_usage(root).free
    if free >= FREE_BYTES:
        return Finding("disk", FINE, f"{free / 1e9:.1f} GB are free")
    says = f"{free / 1e9:.1f} GB are free, expected {FREE_BYTES / 1e9:.0f} GB or more"
    return Finding("disk", WRONG, says, "inkflow prune --dry-run")


def _locked(text: str) -> Iterator[tuple[str, str]]:
    """Name and version of each package of the lock that is for this machine."""
    for line in text.splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            try:
                requirement = Requirement(line.rstrip("\\ ").split(" #")[0])
                fits = requirement.marker is None or requirement.marker.evaluate()
            except (InvalidRequirement, UndefinedEnvironmentName):
                continue
            if fits:
                yield requirement.name, str(requirement.specifier).removeprefix("==")


def _is_here(root: Path, name: str) -> bool:
    try:
        found = json.loads((root / "data/raw/dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found.get("name") == name) and (root / "data/raw/dataset.npz").is_file()


def _mirrored(name: str) -> str | None:
    mirror = os.environ.get(MIRROR, "").strip()
    return f"{mirror.rstrip('/')}/{name}.npz" if mirror else None


def _answers(place: str) -> bool:
    if urlsplit(place).scheme not in ("http", "https"):
        return Path(place).expanduser().is_file()
    try:
        with httpx.stream("GET", place, timeout=DATA_S, follow_redirects=True) as answer:
            return answer.is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _show(finding: Finding) -> None:
    print(f"{MARKS[finding.state]} {finding.check:<15} {finding.says}", flush=True)
    if finding.mend:
        print(f"  {'':<15} mend: {finding.mend}", flush=True)
