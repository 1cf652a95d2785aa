"""`inkflow data add`: adds data of many forms to params.yaml as a data set."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flows.core.file_lock import run_lock
from flows.core.own_data import OWN, finish_copy, new_copy, remember
from flows.core.params_edit import PATH, ParamsEdit, edit_dataset, load_project_params, require_models
from flows.core.redaction import say
from flows.core.stage_program import run_program
from flows.edits.edited_file import write_edited
from stages.base.config import Name
from stages.base.errors import EXIT_DONE, InvalidInput, OutputError
from stages.base.files import is_folder, remove_abandoned
from stages.base.shown_text import one_line, url_secrets

MADE = ("data", "models", "evaluation", "reports", ".inkflow")  # folders that the pipeline writes
STORES = (".dvc", ".git")  # where a file that DVC linked into the project lies under another name
NOT_READING = ("action", "dry_run", "folder", "licence", "parser", "replace", "title", "use", "verb")
KEPT = ("title", "licence", "groups", "stand_in_for", "max_bytes")  # of an entry that is replaced, what the user wrote


def data(arguments: argparse.Namespace) -> int:
    """Adds a data set and returns the exit code.

    Raises:
        InvalidInput: the name is taken or not possible; params.yaml is as before.
        ProgramFailed: the data cannot be used; nothing was written.
    """
    root = Path()
    in_place = _in_project(arguments, root)
    with run_lock(root, say):
        old = _old_entry(arguments, root)
        finish_copy(root, arguments.name, old.get("sha256", {}))
        with _new_file(root, arguments.name) as (new, result):
            options = result.with_name("options.json")  # a command line holds a few thousand paths
            given = _options(arguments, old.get("max_bytes"), in_place=in_place is not None)
            given |= {} if arguments.dry_run else {"out": str(new), "result": str(result)}
            options.write_text(json.dumps(given), encoding="utf-8")
            sys.stdout.flush()
            run_program("own_data", [f"@{options}"], root, show=True)
            if arguments.dry_run:
                say("nothing was written (--dry-run)")
                return EXIT_DONE
            found = json.loads(result.read_text(encoding="utf-8"))
            copy = {"path": (OWN / f"{arguments.name}.npz").as_posix()}
            source = in_place if in_place and found["unchanged"] else copy
            entry = _entry(arguments, old, source, found)
            edit = edit_dataset(arguments.name, entry, root, use=arguments.use)
            _write(root, arguments.name, new, found["entry"]["sha256"], edit)
    sources = [] if found["unchanged"] else [*arguments.paths, *arguments.test]
    remember(root, arguments.name, _command(arguments), sources)
    if "groups" in old and "groups" not in entry:
        say(f"datasets.{arguments.name}.groups removed: these were the groups of other samples")
    _print_result(arguments, source, source is copy)
    return EXIT_DONE


def _entry(
    arguments: argparse.Namespace, old: dict[str, Any], source: dict[str, str], found: dict[str, Any]
) -> dict[str, Any]:
    """Returns the new entry of the data set; of the `old` one, what does not come from the data stays."""
    entry = {"title": arguments.name} | {key: old[key] for key in KEPT if key in old}
    if arguments.max_bytes:  # a larger one than the default is in the new entry
        entry.pop("max_bytes", None)
    if not _are_same_samples(old, found["entry"]):
        entry.pop("groups", None)  # one number for each of the old samples, in their order
    given = {"title": arguments.title, "licence": arguments.licence}
    entry |= {key: text for key, text in given.items() if text} | source
    is_same_file = found["unchanged"] and old.get("path") == source.get("path")
    if is_same_file and len(old.get("class_names", ())) == found["entry"]["classes"]:
        entry["class_names"] = old["class_names"]  # an npz file has none
    new: dict[str, Any] = found["entry"]
    return entry | new


def _are_same_samples(old: dict[str, Any], new: dict[str, Any]) -> bool:
    before = old.get("sha256", {})
    others = ("w_train", "g_train", "g_test")
    return all(before.get(name) == digest for name, digest in new["sha256"].items() if name not in others)


def _old_entry(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Returns the entry that is replaced; nothing for a new one.

    Raises:
        InvalidInput: the name is not possible, or taken and not to be replaced.
    """
    require_models(root, "data")
    params = load_project_params(root)
    try:
        TypeAdapter(Name).validate_python(arguments.name)
    except ValidationError as error:
        raise InvalidInput(
            f"got the name {arguments.name!r}, expected lower-case letters, digits and _, a letter first, at most 40"
        ) from error
    if params is None or arguments.name not in params.datasets:
        return {}
    if not (arguments.replace or arguments.dry_run):
        raise InvalidInput(f"the data set {arguments.name} exists; choose another name, or replace it with --replace")
    old = params.datasets[arguments.name]
    if old.kind != "image":
        raise InvalidInput(
            f"the data set {arguments.name} has the kind {old.kind}, and `inkflow data add` reads images; write its "
            f"digests into params.yaml: python -m stages.download.source_digests --dataset {arguments.name}"
        )
    return old.model_dump(exclude_unset=True, exclude_none=True)


def _options(arguments: argparse.Namespace, max_bytes: int | None, *, in_place: bool) -> dict[str, Any]:
    """Returns the options of the program, without the paths to write to; `max_bytes` is that of the old entry.

    Raises:
        InvalidInput: a path or another word is no text.
    """
    for value in vars(arguments).values():
        for word in map(str, value if isinstance(value, list) else [value]):
            if any("\ud800" <= character <= "\udfff" for character in word):  # Python's form of other bytes
                raise InvalidInput(f"{one_line(word)}: has bytes that are no UTF-8, expected a text; rename the file")
    given = {key: value for key, value in vars(arguments).items() if key not in NOT_READING and value is not None}
    given |= {"sheet": str(arguments.sheet) if arguments.sheet else None, "in_place": in_place}
    return ({"max_bytes": max_bytes} if max_bytes else {}) | given


@contextmanager
def _new_file(root: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """Yields the paths of a new npz file and of the program's result, which are removed after the block."""
    new = root / OWN / f".{name}.{os.getpid()}.new.npz"
    _remove_copies(root, name)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield new, Path(folder) / "result.json"
    finally:
        _remove_copies(root, name)


def _remove_copies(root: Path, name: str) -> None:
    """Removes the new copies of a data set that took no place, also those of killed processes; under the run lock."""
    remove_abandoned(root / OWN)  # that the program was writing
    for path in (root / OWN).glob(f".{name}[.-]*npz"):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _in_project(arguments: argparse.Namespace, root: Path) -> dict[str, str] | None:
    """Returns the source of a single file that could be used where it is: an address, or a path in the project."""
    if len(arguments.paths) != 1 or arguments.test:
        return None
    (location,) = arguments.paths
    if location.lower().startswith(("http://", "https://")):
        return None if url_secrets(location) else {"url": location}  # git tracks params.yaml
    given, folder = Path(location), root.resolve()
    named = given.parent.resolve() / given.name  # a link keeps its name
    is_own = named.parent == folder / OWN  # also where DVC linked it there
    if is_folder(given) or not (is_own or all(_is_kept(path, folder) for path in (named, given.resolve()))):
        return None
    return {"path": named.relative_to(folder).as_posix()}


def _is_kept(path: Path, folder: Path) -> bool:
    """Returns whether a file lies in the project's `folder`, where no run and no other tool replaces it."""
    return path.is_relative_to(folder) and path.relative_to(folder).parts[0] not in (*MADE, *STORES)


def _write(root: Path, name: str, new: Path, digests: Mapping[str, str], edit: ParamsEdit) -> None:
    """Writes params.yaml, and moves the new npz file, if there is one, into its place.

    After a kill between the two, `finish_copy` moves it: it has the name of the digests that params.yaml records.

    Raises:
        OutputError: one of them cannot be written; params.yaml is as before.
    """
    if not new.exists():
        write_edited(root / PATH, edit.text)
        return
    copy = new_copy(root, name, digests)
    _move(new, copy)
    write_edited(root / PATH, edit.text)
    try:
        with suppress(FileNotFoundError):  # another process has finished it
            _move(copy, root / OWN / f"{name}.npz")
    except BaseException:
        write_edited(root / PATH, edit.before)
        raise


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutputError(target, error) from error


def _command(arguments: argparse.Namespace) -> list[str]:
    """Returns the command line that adds the same files again."""
    command = ["inkflow", "data", "add", arguments.name, *arguments.paths]
    for key, value in vars(arguments).items():
        if key in (*NOT_READING, "name", "paths", "sheet") or value is None or value is False or value == []:
            continue
        words = [",".join(value)] if key == "class_names" else value if isinstance(value, list) else [value]
        command += [f"--{key.replace('_', '-')}", *([] if value is True else map(str, words))]
    return [*command, "--replace"]


def _print_result(arguments: argparse.Namespace, source: dict[str, str], is_copy: bool) -> None:
    name = arguments.name
    say(f"{PATH}: datasets.{name} written")
    if path := source.get("path"):
        ignored = "git ignores it: " if Path(path).parent == OWN else ""
        say(f"{path}: {'a copy; ' * is_copy}{ignored}`dvc add {path}` keeps versions, `dvc push` shares them")
    say("the next `inkflow run` uses it" if arguments.use else f"use it: inkflow run --dataset {name}")
