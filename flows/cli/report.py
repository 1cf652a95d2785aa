"""`inkflow report`: writes an untracked copy of the report, with the timings of this machine and the commit.

reports/index.html must have the same bytes for the same inputs, so it contains no timings and no commit. It has a slot
for them, which is filled in the copy in .inkflow/report/.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

from flows.cli.output import open_page, print_json
from flows.core.commit import commit_date, describe, file_sha256, is_model, is_recorded, require_undamaged
from flows.core.notices import note_once
from flows.core.params_edit import require_models
from flows.core.project import make_state_folder
from flows.core.redaction import say
from flows.core.stage_program import run_program
from flows.core.values import counted
from flows.engine.output_backup import has_backups
from stages.base.digests import TIMINGS, read_sealed
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import parse_json, write_text
from stages.base.sample_kinds import KINDS
from stages.params.schema import load_params

PAGE = Path("reports/index.html")
DESCRIPTION = Path("data/raw/dataset.json")
COPY = Path(".inkflow/report/index.html")
MACHINE = TIMINGS / "machine.json"
SLOT = '<script type="application/json" id="machine">null</script>'


def report(arguments: argparse.Namespace) -> int:
    """Writes the page with the figures of this machine, or the page over all runs, and returns the exit code."""
    if arguments.runs:
        from flows.cli.runs.report_runs import report_runs  # late: the report itself needs nothing of it

        return report_runs(arguments)
    for option in ("baseline", "limit"):
        if getattr(arguments, option) is not None:
            raise InvalidInput(f"--{option} belongs to the page over all runs; add --runs, or leave --{option} out")
    require_models(Path(), "report")
    if not has_backups(Path()):  # else a run is making the outputs again
        require_undamaged(Path(), lambda path: path == str(PAGE) or is_model(path))
    figures = machine_figures(Path())
    page = fill_page(Path(), figures)
    if arguments.json:
        print_json(figures)
    else:
        say(str(page))
    if arguments.open:
        open_page(page)
    return EXIT_DONE


def fill_page(root: Path, figures: dict[str, Any]) -> Path:
    """Writes the copy of the page with `figures` in its slot, and returns its path below `root`.

    Raises:
        InvalidInput: the page is missing, or it has no slot.
    """
    try:
        page = (root / PAGE).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{PAGE}: cannot be read ({error.strerror}); run `inkflow run` to write it") from error
    if page.count(SLOT) != 1:
        raise InvalidInput(f"{PAGE}: was written by another version of Inkflow; run `inkflow run` to write it again")
    text = json.dumps(figures, ensure_ascii=False).replace("<", "\\u003c")
    make_state_folder(root)
    write_text(root / COPY, page.replace(SLOT, SLOT.replace("null", text)))
    return COPY


def machine_figures(root: Path) -> dict[str, Any]:
    """Returns the timings of this machine for the models of params.yaml, and the commit of the results.

    Measures the latency of models that have no record with their digest yet.
    """
    names = list(load_params(root / "params.yaml").models)
    files = {name: root / "models" / name / "model.onnx" for name in names}
    digests = {name: file_sha256(path) for name, path in files.items() if path.is_file()}
    facts = _read(root / MACHINE)
    unmeasured = [
        Path("models") / name
        for name, digest in digests.items()
        if not (facts and _record(root, "latency", name, digest))
    ]
    if unmeasured:
        run_program("report.latency", unmeasured, root)
        facts = _read(root / MACHINE)
    models = {name: _model_figures(root, name, digest) for name, digest in digests.items()}
    version, machine = _version(root), _describe_machine(facts)
    return {
        "version": version,
        "date": commit_date(root),
        "models": models,
        "note": f"One {_noun(root)} and batches: median with ONNX Runtime on this machine ({machine}); "
        "fit: the last training of this model on this machine, if there was one.",
        "facts": {"Commit": version, "This machine": machine},
    }


def _noun(root: Path) -> str:
    """Returns what a sample of the data set is: "sample" if its description is not at hand."""
    try:
        return KINDS[parse_json((root / DESCRIPTION).read_text(encoding="utf-8")).get("kind", "image")].noun
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "sample"


def _version(root: Path) -> str:
    """Returns the commit, with a note if the page is not one of its results: it may be older than the checkout."""
    commit = describe(root)
    if not commit:
        return "not in git"
    return commit if is_recorded(root, PAGE) else f"{commit}, not the results of this commit"


def _describe_machine(facts: dict[str, Any]) -> str:
    """Returns processor and cores as the latency program recorded them, system and architecture."""
    cores = facts.get("cores", 0)
    parts = [facts.get("processor"), cores and counted(cores, "core")]
    return ", ".join(str(part) for part in (*parts, platform.system(), platform.machine()) if part)


def _model_figures(root: Path, name: str, digest: str) -> dict[str, float]:
    """Returns the numbers in the records of a model; the key of a damaged seal would be among the others."""
    figures = _record(root, "latency", name, digest) | _record(root, "train", name, digest)
    return {key: value for key, value in figures.items() if isinstance(value, int | float)}


def _record(root: Path, kind: str, name: str, digest: str) -> dict[str, Any]:
    """Returns the record of the model `name`; empty if there is none, or if it is of a file with another digest."""
    record = _read(root / TIMINGS / f"{kind}@{name}.json")
    return record if record.get("sha256") == digest else {}


def _read(path: Path) -> dict[str, Any]:
    """Returns the record in the file `path`; empty if there is none, or a damaged one."""
    try:
        return read_sealed(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        note_once(f"{path} is not used: it cannot be read ({error})")
        return {}
