"""`inkflow doctor`: checks this machine for problems that would stop a run, and prints how to fix each."""

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from flows.cli.output import print_json
from flows.core.code_path import own_command
from flows.core.errors import ServerUnreachable
from flows.core.params_edit import has_schema, load_project_params
from flows.core.project import MIRROR
from flows.core.redaction import mask, say
from flows.engine import resources
from flows.prefect_server.credentials import login_variables
from flows.prefect_server.environment import variables_set
from flows.prefect_server.server_check import check_health, check_server, configured_url
from stages.base.dvc_settings import expanded
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InkflowError
from stages.base.files import parse_json

FINE, NOTE, WRONG = "fine", "note", "wrong"
MARKS = {FINE: "=", NOTE: "!", WRONG: "x"}
PYTHONS = ((3, 11), (3, 13))
LOCK = Path("requirements.lock")
NOT_CHECKED = "not checked: this project does not use the schema of Inkflow"
MAX_NAMED = 3  # packages in a message
FREE_BYTES = 2 * 10**9  # MNIST, six models and their history take a tenth of it
REMOTE_S, GPU_S, DATA_S = 30.0, 120.0, 10.0
COUNT_GPUS = "import tensorflow; print(len(tensorflow.config.list_physical_devices('GPU')))"


@dataclass(frozen=True)
class Finding:
    """The result of one check; `fix` is a command or advice, empty if there is nothing to fix."""

    check: str
    state: str
    message: str
    fix: str = ""


def doctor(arguments: argparse.Namespace) -> int:
    """Runs all checks, prints their findings, and returns the exit code: 1 if something must be fixed before a run."""
    root = Path()
    checks: list[Callable[[Path], Finding]] = [python, packages, gpu, server, remote, dataset, disk]
    findings = []
    for check in checks:
        findings.append(check(root))
        if not arguments.json:
            _print_finding(findings[-1])
    if arguments.json:
        rows = [{"check": row.check, "state": row.state, "says": row.message, "mend": row.fix} for row in findings]
        print_json({"findings": rows})
    return EXIT_FAILED if any(finding.state == WRONG for finding in findings) else EXIT_DONE


def python(root: Path) -> Finding:
    """Checks that the packages support this version of Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("Python", FINE, version)
    fix = "make setup PYTHON=python3.12" if has_schema(root) else "install Inkflow with Python 3.12"
    return Finding("Python", WRONG, f"got {version}, expected 3.11 to 3.13", fix)


def packages(root: Path) -> Finding:
    """Checks that the installed packages have the versions in requirements.lock."""
    if not has_schema(root):  # the lock file of another project has a tool of its own
        return Finding("packages", FINE, NOT_CHECKED)
    if not (root / LOCK).exists():
        return Finding("packages", NOTE, f"there is no {LOCK} to compare with")
    try:
        locked = dict(_locked((root / LOCK).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return Finding("packages", WRONG, f"{LOCK} cannot be read ({reason})", f"git checkout {LOCK}")
    wrong = []
    for name, version in locked.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "none"
        if installed != version:
            wrong.append(f"{name} {installed} instead of {version}")
    if not wrong:
        return Finding("packages", FINE, f"{len(locked)} packages match {LOCK}")
    more = f" and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
    return Finding("packages", WRONG, f"{', '.join(wrong[:MAX_NAMED])}{more}", "make setup")


def gpu(root: Path) -> Finding:
    """Checks that TensorFlow can use the GPUs of this machine."""
    if not has_schema(root):  # its stages may use another library
        return Finding("GPU", FINE, NOT_CHECKED)
    if not (resources.gpus() or shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        return Finding("GPU", FINE, "none: trainings run on the CPU")
    try:
        process = subprocess.run([sys.executable, "-c", COUNT_GPUS], capture_output=True, text=True, timeout=GPU_S)
    except subprocess.TimeoutExpired:
        return Finding("GPU", WRONG, f"TensorFlow did not answer within {GPU_S:g} s", "nvidia-smi")
    words = process.stdout.split()
    if process.returncode == 0 and words and words[-1] != "0":
        return Finding("GPU", FINE, f"TensorFlow sees {words[-1]}")
    fix = ".venv/bin/uv pip install --constraint requirements.lock --editable '.[gpu]'"
    return Finding("GPU", WRONG, "there is a GPU, but TensorFlow sees none: trainings run on the CPU", fix)


def server(root: Path) -> Finding:
    """Checks that the configured Prefect server answers."""
    url = configured_url()
    if url is None:
        return Finding("Prefect server", FINE, "none is configured: each run starts a temporary one")
    try:
        check_health(url)
    except ServerUnreachable:
        return Finding("Prefect server", WRONG, f"{mask(url)} does not answer", "inkflow up, or unset PREFECT_API_URL")
    try:
        with variables_set(login_variables(root, url)):
            check_server(url)
    except ServerUnreachable as error:
        return Finding("Prefect server", WRONG, str(error), "correct or unset PREFECT_API_URL")
    return Finding("Prefect server", FINE, f"{mask(url)} answers")


def remote(root: Path) -> Finding:
    """Checks that DVC's default remote can be reached."""
    from flows.dvc_repo.remotes import default_remote, has_remote  # late: DVC takes 0.5 s to import

    try:
        name, is_named = default_remote(root), has_remote(root)
    except InkflowError as error:
        return Finding("DVC remote", WRONG, mask(str(error)), "correct .dvc/config or .dvc/config.local")
    if name is None and is_named:
        return Finding("DVC remote", NOTE, "none is the default: the run cache stays here", "dvc remote default NAME")
    if name is None:
        return Finding("DVC remote", NOTE, "none: results stay on this machine", "dvc remote add --default NAME URL")
    try:
        process = subprocess.run(
            own_command("flows.dvc_repo.remote.check"), cwd=root, capture_output=True, text=True, timeout=REMOTE_S
        )
    except subprocess.TimeoutExpired:
        return Finding("DVC remote", WRONG, f"{name} did not answer within {REMOTE_S:g} s", f"dvc status -r {name}")
    if process.returncode == 0:
        return Finding("DVC remote", FINE, f"{name} can be reached")
    reason = mask(" ".join((process.stdout or process.stderr).split()[:40]))
    return Finding("DVC remote", WRONG, f"{name} cannot be reached ({reason})", f"dvc remote modify {name} ...")


def dataset(root: Path) -> Finding:
    """Checks that the chosen data set is downloaded, or that one of its sources has it."""
    try:
        params = load_project_params(root)
    except InkflowError as error:
        return Finding("data set", WRONG, str(error), "edit params.yaml")
    if params is None:
        return Finding("data set", FINE, NOT_CHECKED)
    name = params.dataset
    if params.selected_dataset.embedded:
        return Finding("data set", FINE, f"{name} comes with scikit-learn")
    if _is_downloaded(root, name):
        return Finding("data set", FINE, f"{name} is in data/raw")
    path = params.selected_dataset.path
    first = (str(root / path), _mirror_source(name)) if path else (_mirror_source(name), params.selected_dataset.url)
    sources = [source for source in first if source]
    if source := next(filter(_has_file, sources), None):
        return Finding("data set", FINE, f"{name} is not here yet; {mask(source)} has it")
    cached = expanded(os.environ.get("KERAS_HOME") or "~/.keras") / "datasets" / f"{name}.npz"
    if cached.is_file() and not path:
        return Finding("data set", FINE, f"{name} is not here yet; Keras's cache has it")
    tried = ", ".join(map(mask, sources)) or "no source"
    fix = f"{MIRROR}=/folder inkflow run, with a folder that has {name}.npz; or inkflow run --fallback digits"
    fix = f"inkflow data add {name} PATH --replace" if path else fix
    return Finding("data set", WRONG, f"{name} is not here, and {tried} does not have it or does not answer", fix)


def disk(root: Path) -> Finding:
    """Checks that the disk has space for results."""
    free = shutil.disk_usage(root).free
    if free >= FREE_BYTES:
        return Finding("disk", FINE, f"{free / 1e9:.1f} GB are free")
    message = f"{free / 1e9:.1f} GB are free, expected {FREE_BYTES / 1e9:.0f} GB or more"
    return Finding("disk", WRONG, message, "inkflow prune --dry-run")


def _locked(text: str) -> Iterator[tuple[str, str]]:
    """Yields name and version of each package in a lock file whose marker fits this machine."""
    for line in text.splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            try:
                requirement = Requirement(line.rstrip("\\ ").split(" #")[0])
                fits = requirement.marker is None or requirement.marker.evaluate()
            except (InvalidRequirement, UndefinedEnvironmentName):
                continue
            if fits:
                yield requirement.name, str(requirement.specifier).removeprefix("==")


def _is_downloaded(root: Path, name: str) -> bool:
    try:
        description = parse_json((root / "data/raw/dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    is_named = isinstance(description, dict) and bool(description.get("name") == name)
    return is_named and (root / "data/raw/dataset.npz").is_file()


def _mirror_source(name: str) -> str | None:
    mirror = os.environ.get(MIRROR, "").strip()
    return f"{mirror.rstrip('/')}/{name}.npz" if mirror else None


def _has_file(source: str) -> bool:
    """Returns True if the URL or path `source` can be read."""
    try:
        if urlsplit(source).scheme not in ("http", "https"):
            return expanded(source).is_file()
        with httpx.stream("GET", source, timeout=DATA_S, follow_redirects=True) as response:
            return response.is_success
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError):
        return False


def _print_finding(finding: Finding) -> None:
    say(f"{MARKS[finding.state]} {finding.check:<15} {finding.message}")
    if finding.fix:
        say(f"  {'':<15} fix: {finding.fix}")
