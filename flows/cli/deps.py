"""`inkflow deps`: compares the code that stages declare in dvc.yaml with what their programs import, or declares it."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from flows.cli.output import print_json
from flows.core.errors import PipelineInvalid
from flows.core.redaction import say
from flows.core.values import counted
from flows.dvc_repo.code.graph_code import may_be_declared, stage_code
from flows.dvc_repo.repository import Repository
from flows.edits.edited_file import read_edited, write_edited
from flows.python_code.cosmetic import CosmeticJudge
from flows.python_code.deps_edit import Edit, Project, apply_edit, of_one_entry, plan_edit
from flows.python_code.imports import ImportFinder
from flows.python_code.stage_code import Finding, StageCode, compare, python_files
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InvalidInput

NOTHING_MISSING = "ok"


def deps(arguments: argparse.Namespace) -> int:
    """Prints the comparison or edits dvc.yaml, and returns the exit code: 1 if `--check` found a difference.

    Raises:
        InvalidInput: dvc.yaml cannot be edited; it is as before.
    """
    root = Path().resolve()
    files = python_files(root)
    with Repository() as repository:
        targets = repository.resolve(arguments.stages, arguments.folder)
        finder = ImportFinder(root, files)
        stages = repository.dvc_stages
        codes = [code for code in map(stage_code, stages) if code]
        asked = {_entry(code) for code in codes if not targets or code.name in targets}
        entries = _compare([code for code in codes if _entry(code) in asked], finder, files)
        by_name = {item.stage.name: item for entry in entries for item in entry}
        findings = [by_name[code.name] for code in codes if not targets or code.name in targets]
        judge = CosmeticJudge(root, finder)
        judgements = {item.stage.name: judge.judge(item.stage) for item in findings if item.files}
        reasons = {name: reason for name, reason in judgements.items() if isinstance(reason, str)}
        project = Project(root, files, partial(may_be_declared, stages))
        edits = _plan(entries, project) if arguments.write else []
    if edits:
        _write(edits, root)
    if arguments.json:
        print_json({"stages": [_row(finding, reasons, strict=arguments.strict) for finding in findings]})
    elif arguments.write:
        _print_edits(edits)
    else:
        _print_findings(findings, reasons, strict=arguments.strict)
    is_wrong = any(item.missing or item.needless or (arguments.strict and item.unused) for item in findings)
    return EXIT_FAILED if arguments.check and is_wrong else EXIT_DONE


def _compare(codes: Sequence[StageCode], finder: ImportFinder, files: Sequence[str]) -> list[list[Finding]]:
    """Returns what was found, the stages of one template together."""
    groups = [list(group) for _, group in groupby(sorted(codes, key=_entry), key=_entry)]
    return [
        of_one_entry([compare(code, finder, files) for code in group], read_edited(finder.root / group[0].file))
        for group in groups
    ]


def _plan(entries: Sequence[Sequence[Finding]], project: Project) -> list[Edit]:
    """Returns the edits for the entries of dvc.yaml files."""
    edits = [plan_edit(entry, project, read_edited(project.root / entry[0].stage.file)) for entry in entries]
    return [edit for edit in edits if edit is not None]


def _entry(code: StageCode) -> tuple[str, str]:
    return code.file, code.entry


def _write(edits: Sequence[Edit], root: Path) -> None:
    """Edits the dvc.yaml files; restores all of them if DVC cannot read the result."""
    before = {edit.file: read_edited(root / edit.file) for edit in edits}
    texts = dict(before)
    for edit in edits:
        try:
            texts[edit.file] = apply_edit(texts[edit.file], edit)
        except InvalidInput as error:
            needed = f"; {edit.entry} needs {', '.join(edit.add)}" if edit.add else ""
            raise InvalidInput(f"{edit.file}: {error}{needed}; nothing was changed") from error
    try:
        _put(texts, root)
        Repository().close()
    except BaseException as error:
        _put(before, root)
        if isinstance(error, PipelineInvalid):
            raise InvalidInput(f"with the dependencies that are needed, {error}; nothing was changed") from error
        raise


def _put(texts: Mapping[str, str], root: Path) -> None:
    for file, text in texts.items():
        write_edited(root / file, text)


def _row(finding: Finding, reasons: Mapping[str, str], *, strict: bool) -> dict[str, Any]:
    return {
        "stage": finding.stage.name,
        "file": finding.stage.file,
        "files": sorted(finding.files),
        "missing": list(finding.missing),
        "needless": list(finding.needless),
        "dynamic": list(finding.dynamic),
        "not_looked_at": list(finding.unknown),
        "comments_count": reasons.get(finding.stage.name),
        **({"unused": list(finding.unused)} if strict else {}),
    }


def _print_edits(edits: Sequence[Edit]) -> None:
    for edit in edits:
        changes = [f"+ {path}" for path in edit.add] + [f"- {path}" for path in edit.remove]
        say(f"{edit.file}, {edit.entry}: {', '.join(changes)}")
    changed = f"{counted(len(edits), 'entry', 'entries')} changed"
    say(changed if edits else "Nothing to change: all stages declare their code")


def _print_findings(findings: Sequence[Finding], reasons: Mapping[str, str], *, strict: bool) -> None:
    for finding in findings:
        say(f"{finding.stage.name}: {'; '.join(_parts(finding, strict=strict)) or NOTHING_MISSING}")
    notes = {
        "Imports of computed modules, which cannot be followed; declare what they load yourself": [
            note for finding in findings for note in finding.dynamic
        ],
        "Not looked at, since it is no Python program of this project": [
            f"{item.stage.name}: {text}" for item in findings for text in item.unknown
        ],
        "A change of comments runs these stages": [f"{name}: {reason}" for name, reason in reasons.items()],
    }
    for title, texts in notes.items():
        if texts:
            say(f"\n{title}:")
            say("\n".join(f"  {text}" for text in dict.fromkeys(texts)))
    wrong = sum(bool(item.missing or item.needless) for item in findings)
    if wrong:
        counts = f"{wrong} of {counted(len(findings), 'stage')} {'declares' if wrong == 1 else 'declare'}"
        say(f"\n{counts} other code than the imported one: `inkflow deps --write`")


def _parts(finding: Finding, *, strict: bool) -> list[str]:
    kinds = {"missing": finding.missing, "needless": finding.needless, "not imported": finding.unused if strict else ()}
    known = [counted(len(finding.files), "file")] if finding.files else ["no Python program of this project"]
    found = [f"{kind}: {', '.join(paths)}" for kind, paths in kinds.items() if paths]
    return found or [*known, *([NOTHING_MISSING] if finding.files else [])]
