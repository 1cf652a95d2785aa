"""`inkflow init`: makes a project of a folder, or adds what Inkflow can use to the DVC project that is there."""

import argparse
import os
import re
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from flows.cli.adoption.files import (
    NewFile,
    changes,
    check_template,
    ci_file,
    engine_files,
    template_files,
)
from flows.cli.adoption.requirement import UNKNOWN, requirement
from flows.cli.adoption.surroundings import Surroundings, check_initialisable, look_around
from flows.core.git import run_git
from flows.core.params_edit import has_schema
from flows.core.redaction import say
from flows.core.values import counted, listed
from flows.edits.edited_file import write_edited_bytes
from stages.base.errors import EXIT_DONE
from stages.base.files import remove_abandoned, replacing

FOLDERS = ("stages", "custom", "workers", "src")  # of templates: shown as a whole
DVC_IGNORE = ".dvcignore"
NIGHTLY = re.compile(rb"flows[./]scheduled(\.py:|\.)scheduled")  # an entry point


def init(arguments: argparse.Namespace) -> int:
    """Shows what is missing, writes it, and returns the exit code.

    Raises:
        InvalidInput: the folder or its dvc.yaml cannot be used; nothing was written.
        InkflowError: git or DVC failed, or a file cannot be written; a later call continues.
    """
    found = look_around(Path())
    template = arguments.template or _default_template(found)
    files = template_files(template, found.root) if template else []
    if template:
        check_template(template, files)
    else:
        check_initialisable(found)
    stages = _load_stages(found.root) if found.has_dvc else None  # before anything is written
    taken = {file.path for file in files}
    files = [*(file for file in engine_files(found) if file.path not in taken), *files]
    is_digits = template == "digits" or has_schema(found.root)
    package = requirement("train" if is_digits else None)
    workflows = [ci_file(service, found, package) for service in dict.fromkeys(arguments.ci)]
    new = [file.path.name for file in workflows if not file.is_there]
    files = [*workflows, *files]
    say(f"Project: {found.root}")
    missing = _show(found, files)
    if arguments.dry_run:
        say("nothing was written (--dry-run)" if missing else "Nothing to do.")
        return EXIT_DONE
    for file in files:  # what a killed call left beside it, also if its place was taken
        remove_abandoned(file.path.parent, file.path.name)
    if missing:
        _write(found, files)
    if stages is None or template:
        stages = _load_stages(found.root)
    say(_next_steps(stages, is_digits, is_changed=missing))
    if new and UNKNOWN in package:
        install = "installs" if len(new) == 1 else "install"
        say(f"{listed(new)} {install} Inkflow from {UNKNOWN}: replace this address with that of your copy.")
    return EXIT_DONE


def _default_template(found: Surroundings) -> str | None:
    """Returns the template of an empty folder, also of one in which an earlier call was killed."""
    written = {file.path: file for file in (*template_files("small", found.root), *engine_files(found))}
    folders = {parent for path in written for parent in path.parents}

    def is_written(path: Path) -> bool:
        if path in folders and path.is_dir():
            return all(is_written(each) for each in path.iterdir() if not each.name.startswith("."))
        return path in written and written[path].is_same

    is_empty = not found.has_pipeline and all(is_written(found.root / name) for name in found.names)
    return "small" if is_empty else None


def _load_stages(root: Path) -> int:
    """Returns the number of stages.

    Raises:
        PipelineInvalid: DVC cannot read them.
    """
    from flows.dvc_repo.repository import Repository  # late: DVC takes 0.5 s to import, which --help does not need

    with Repository(root) as repository:
        return len(repository.stages(with_absent=True))


def _show(found: Surroundings, files: list[NewFile]) -> bool:
    """Prints what is to be done and what stays, and returns whether there is something to do."""
    rows = [] if found.repository or found.has_dvc else [("run", "git init", "")]
    rows += [] if found.has_dvc else [("run", "dvc init --subdir" if found.is_subfolder else "dvc init", "")]
    additions = {file.path: rules for file, rules in changes(files)}
    rows += [("write", ".dvc/config.local", "pages of `dvc plots` without a network")] if _lacks_plots(found) else []
    is_needed = bool(rows or additions)
    for name, group in groupby(files, key=lambda file: _shown_name(file, found.root)):
        members = list(group)
        missing = [file for file in members if file.path in additions]
        if len(members) > 1:
            rows += [("write", name, f"{len(missing)} of {len(members)} files")] if missing else [("keep", name, "")]
        elif not missing:
            rows.append(("keep", name, _note(members[0])))
        elif rules := additions[missing[0].path]:
            more = f" and {len(rules) - 3} more rules" if len(rules) > 3 else ""
            rows.append(("add to", name, " ".join(rules[:3]) + more))
        else:
            rows.append(("write", name, missing[0].purpose))
    width = max((len(name) for _, name, _ in rows), default=0)
    for action, name, text in rows:
        say(f"  {action:6}  {name:{width}}  {text}".rstrip())
    return is_needed


def _shown_name(file: NewFile, root: Path) -> str:
    """Returns the path from `root`; for programs of a template, their folder."""
    name = os.path.relpath(file.path, root)
    top = Path(name).parts[0]
    return f"{top}/" if top in FOLDERS else name


def _note(file: NewFile) -> str:
    """Returns what an existing file lacks."""
    if file.path.name == "prefect.yaml" and file.path.is_file() and not NIGHTLY.search(file.path.read_bytes()):
        return "it has no deployment of inkflow.flows.scheduled.scheduled, as in docs/init.md"
    return "" if file.is_same or file.path.name != ".gitlab-ci.yml" else "add the jobs of docs/init.md to it"


def _write(found: Surroundings, files: list[NewFile]) -> None:
    """Initialises git and DVC where they are missing, and writes the files; never one that has appeared meanwhile."""
    if not (found.repository or found.has_dvc):
        run_git(["init", "--quiet"], found.root)
    ignore = [file for file, _ in changes(files) if file.path.name == DVC_IGNORE and not file.is_there]
    for file in ignore:
        _place(file)  # else `dvc init` would write one with other content
    if not found.has_dvc:
        from flows.dvc_repo.creation import create_project  # late, as above

        create_project(found.root, is_subfolder=found.is_subfolder)
    for file, _ in changes(files):
        if file.is_there:
            _add_rules(file)
        else:
            _place(file)
    if _lacks_plots(found):
        from flows.cli.adoption.plots import write_template  # late, as above

        write_template(found.root)


def _lacks_plots(found: Surroundings) -> bool:
    """Returns True if the pages of `dvc plots` need a network, and the library that changes this is installed."""
    from flows.cli.adoption.plots import lacks_template  # late, as above

    return lacks_template(found.root)


def _place(file: NewFile) -> None:
    """Moves a complete file to its place.

    Raises:
        OutputError: it cannot be written, or something of this name has appeared.
    """
    with replacing(file.path) as temporary:
        temporary.write_bytes(file.content)
        try:
            os.link(temporary, file.path)  # other than a rename, it replaces no file; a rename to itself does nothing
        except OSError:
            if os.path.lexists(file.path):
                raise
            # a file system without links


def _add_rules(file: NewFile) -> None:
    """Appends the missing rules to an ignore file, with its line ends."""
    old = file.path.read_bytes()
    end = b"\r\n" if b"\r\n" in old else b"\n"
    start = old if not old or old.endswith(b"\n") else old + end
    write_edited_bytes(file.path, start + b"".join(rule.encode() + end for rule in file.lacks))


def _next_steps(stages: int, is_digits: bool, *, is_changed: bool) -> str:
    if not stages:
        return "There is no stage yet: `dvc stage add` writes the first one into dvc.yaml."
    lines = [] if is_changed else ["Nothing to do: everything is there."]
    count = counted(stages, "stage")
    lines.append(f"{count}: `inkflow plan` shows what would run, `inkflow run` runs it, and `inkflow up` each night.")
    if is_digits and not find_spec("tensorflow"):
        lines.append("The stages need TensorFlow: pip install 'inkflow[train]'")
    return "\n".join(lines)
