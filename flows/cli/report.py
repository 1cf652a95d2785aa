"""`inkflow report`: the page with this machine's figures and the commit, as a copy that no version tracks.

reports/index.html must be the same bytes for the same inputs, so it has no timings and no commit. It has a slot for
them; the copy in .inkflow/report/ has the slot filled.
"""

import argparse
import hashlib
import json
import platform
import webbrowser
from pathlib import Path
from typing import Any

from flows.core.commit import describe, is_recorded
from flows.core.stage_program import run_program
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import write_text
from stages.params.schema import load_params

PAGE = Path("reports/index.html")
COPY = Path(".inkflow/report/index.html")
TIMINGS = Path(".inkflow/timings")
MACHINE = TIMINGS / "machine.json"
SLOT = '<script type="application/json" id="machine">null</script>'


def report(arguments: argparse.Namespace) -> int:
    """Write the page with this machine's figures, and give the exit code."""
    figures = machine(Path())
    path = fill(Path(), figures)
    print(json.dumps(figures, indent=2, ensure_ascii=False) if arguments.json else path)
    if arguments.open and not webbrowser.open(path.resolve().as_uri()):
        raise InvalidInput(f"no browser could be started here; open {path} yourself")
    return EXIT_DONE


def fill(root: Path, figures: dict[str, Any]) -> Path:
    """Write the copy of the page with `figures` in its slot; gives its path.

    Raises:
        InvalidInput: there is no page yet, or it has no slot.
    """
    try:
        page = (root / PAGE).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{PAGE}: cannot be read ({error.strerror}); run `inkflow run` to make it") from error
    if page.count(SLOT) != 1:
        raise InvalidInput(f"{PAGE}: was made by another version of Inkflow; run `inkflow run` to make it again")
    text = json.dumps(figures, ensure_ascii=False).replace("<", "\\u003c")
    write_text(root / COPY, page.replace(SLOT, SLOT.replace("null", text)))
    return COPY


def machine(root: Path) -> dict[str, Any]:
    """This machine's figures about the models of params.yaml, and where the results come from."""
    names = list(load_params(root / "params.yaml").models)
    here = [name for name in names if (root / "models" / name / "model.onnx").is_file()]
    digests = {name: _digest(root / "models" / name / "model.onnx") for name in here}
    known = _read(root / MACHINE)
    missing = [Path("models") / name for name in here if not (known and _figures(root, "latency", name, digests[name]))]
    if missing:
        run_program("report.latency", missing, root)
        known = _read(root / MACHINE)
    models = {name: _of_model(root, name, digests[name]) for name in here}
    version, computer = _version(root), _computer(known)
    return {
        "version": version,
        "models": models,
        "note": f"One image and batches: ONNX Runtime on this machine "
        f"({computer}), median; fit: the last training of this very "
        "model on this machine, where there was one.",
        "facts": {"Commit": version, "This machine": computer},
    }


def _version(root: Path) -> str:
    """The commit, and whether the page is one of its results: another commit may be checked out by now."""
    commit = describe(root)
    if not commit:
        return "not in git"
    return commit if is_recorded(root, PAGE) else f"{commit}, not the results of this commit"


def _computer(known: dict[str, Any]) -> str:
    """This machine: processor and cores as the latency program noted them, system."""
    cores = known.get("cores", 0)
    noted = [known.get("processor"), cores and f"{cores} core{'s' if cores > 1 else ''}"]
    return ", ".join(str(part) for part in (*noted, platform.system(), platform.machine()) if part)


def _of_model(root: Path, name: str, digest: str) -> dict[str, float]:
    found = _figures(root, "latency", name, digest) | _figures(root, "train", name, digest)
    return {key: value for key, value in found.items() if key != "sha256"}


def _figures(root: Path, kind: str, name: str, digest: str) -> dict[str, Any]:
    """The record of the model with `digest`; empty where there is none."""
    found = _read(root / TIMINGS / f"{kind}@{name}.json")
    return found if found.get("sha256") == digest else {}


def _read(path: Path) -> dict[str, Any]:
    """A record of this machine; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
