"""`inkflow serve`: runs the server of a model; with MODEL@STAGE it follows the stage."""

import argparse
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil

from flows.core.code_path import own_command
from flows.core.file_lock import exclusive_lock, try_exclusive_lock
from flows.core.git import git_text, require_repository
from flows.core.project import STATE, find_project, make_state_folder
from flows.core.redaction import say
from flows.engine.processes.command_runner import die_with_parent
from flows.registry.model_files import RECORD, is_address
from flows.registry.overtaken import fetch_tags
from flows.registry.tags import VERSION
from stages.base.errors import EXIT_DONE, InkflowError, SourceUnavailable
from stages.base.files import parse_json, remove_abandoned, write_json

FOLDER, STARTS, LOCK_SUFFIX = STATE / "serve", ".starts", ".lock"
POLL_S, MAX_PAUSE_S = 1.0, 60.0
FETCH_TIMEOUT_S = 600.0
OPTIONS = ("host", "port", "max_body", "max_pixels", "timeout", "max_queue")


def serve(arguments: argparse.Namespace) -> int:
    """Serves the model and returns the exit code of the server.

    Raises:
        InvalidInput: there is no such model, stage or version.
        RegistryFailed: the tag, dvc.lock and the files do not agree.
        SourceUnavailable: the files take too long to arrive.
    """
    model = arguments.model
    if not is_address(model):
        return _run(_command(arguments, model, arguments.name))
    root, (name, _, target) = find_project(), model.partition("@")
    name = arguments.name or name
    if VERSION.fullmatch(target):
        return _run(_command(arguments, str(_resolve(root, model)), name))
    tags = _tags(root)  # first: a promotion while the files are fetched is followed afterwards
    folder = _resolve(root, model)
    make_state_folder(root)
    with _own_pointer(root / FOLDER) as pointer:
        write_json(pointer, content := _pointer(root, folder))
        server = _start(_command(arguments, str(pointer), name))
        # Threads: the end of the server, signals and local promotions are seen at once, however long a remote takes.
        Thread(target=_follow, args=(server, root, model, pointer, content, tags), daemon=True).start()
        if arguments.fetch is not None:
            Thread(target=_fetch, args=(server, root, arguments.fetch), daemon=True).start()
        try:
            return _exit_code(server.wait())
        finally:
            for process in psutil.Process().children(recursive=True):  # such as a git that waits for a remote
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _follow(
    server: "subprocess.Popen[bytes]", root: Path, model: str, pointer: Path, content: dict[str, str], tags: str
) -> None:
    """Points the server to another folder whenever the stage gets another version, until the server ends.

    Args:
        server: the server.
        root: the project's folder.
        model: MODEL@STAGE.
        pointer: the file in which the server finds the folder; it is written again if it is removed or changed.
        content: its present content.
        tags: the tags from which the present folder follows.
    """
    pause_s = POLL_S
    while server.poll() is None:
        time.sleep(pause_s)
        try:
            if (found := _tags(root)) != tags or _content(pointer) != content:
                content = _pointer(root, _resolve(root, model))
                if _content(pointer) != content:
                    write_json(pointer, content)
                tags = found
            pause_s = POLL_S
        except Exception as error:  # noqa: BLE001 - whatever it is, the server answers on
            pause_s = min(MAX_PAUSE_S, 2 * pause_s)
            if server.poll() is None:
                say(f"serve: {error}; the version so far stays, the next look follows", error=True)


def _fetch(server: "subprocess.Popen[bytes]", root: Path, every_s: float) -> None:
    """Fetches the registry's tags of Git's remote every `every_s` seconds, until the server ends.

    A failure is said once, until a fetch succeeds or fails for another reason.
    """
    pause_s, said = max(POLL_S, every_s), ""
    while server.poll() is None:
        time.sleep(pause_s)
        try:
            fetch_tags(root)
            pause_s, said = max(POLL_S, every_s), ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the server answers on
            pause_s = max(every_s, min(MAX_PAUSE_S, 2 * pause_s))
            if server.poll() is None and str(error) != said:
                said = str(error)
                say(f"serve: the tags of Git's remote are not fetched: {said}; those here are followed", error=True)


def _pointer(root: Path, folder: Path) -> dict[str, str]:
    """Returns what the server is pointed to: a folder, and the digest of its model."""
    record = json.loads((root / folder / RECORD).read_text(encoding="utf-8"))
    return {"folder": str(folder), "sha256": record["sha256"]}


def _content(pointer: Path) -> object:
    """Returns the content of a pointer; None for one that is missing or damaged."""
    try:
        return parse_json(pointer.read_bytes())
    except (OSError, ValueError):
        return None


@contextmanager
def _own_pointer(folder: Path) -> Iterator[Path]:
    """Yields the path of a pointer for this server alone, and removes it at the end; those of killed ones go before.

    While a server runs it holds the lock of the file beside its pointer: in two containers that share the folder, both
    servers can have the same process id.
    """
    pointer = folder / f"{secrets.token_hex(8)}.json"
    lock = pointer.with_suffix(LOCK_SUFFIX)
    with ExitStack() as held:
        with exclusive_lock(folder / STARTS):  # another start would remove the lock's file before it is locked
            _remove_left_pointers(folder)
            held.enter_context(exclusive_lock(lock))
        try:
            yield pointer
        finally:
            for path in (pointer, lock):
                path.unlink(missing_ok=True)


def _remove_left_pointers(folder: Path) -> None:
    """Removes the files of servers that were killed, whose locks are free."""
    remove_abandoned(folder)
    names = {path.stem for path in folder.glob("[!.]*")}  # one with a dot is a file that another process is writing
    for lock in (folder / f"{name}{LOCK_SUFFIX}" for name in names):
        with suppress(OSError), try_exclusive_lock(lock, 0.0) as is_left:
            if is_left:
                lock.with_suffix(".json").unlink(missing_ok=True)
                lock.unlink()


def _resolve(root: Path, model: str) -> Path:
    """Returns the folder with the files of a registered model; another process does it, since DVC takes 100 MB."""
    command = own_command("flows.registry.resolve", model)
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise SourceUnavailable(f"{model}: its files have not arrived within {FETCH_TIMEOUT_S:g} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        failure = InkflowError(lines[-1].removeprefix("error: "))
        failure.exit_code = done.returncode
        raise failure
    return Path(os.fsdecode(done.stdout.removesuffix(b"\n").rpartition(b"\n")[2]))


def _tags(root: Path) -> str:
    require_repository(root, "and the registry of models is its tags")
    return git_text(["for-each-ref", "--format=%(refname) %(objectname)", "refs/tags"], root)


def _command(arguments: argparse.Namespace, source: str, name: str | None) -> list[str]:
    options = [f"--{option.replace('_', '-')}={getattr(arguments, option)}" for option in OPTIONS]
    options += [f"--host-name={item}" for item in arguments.host_name]
    options += [f"--name={name}"] if name else []
    options += ["--anyway"] if arguments.anyway else []
    options += ["--no-watch"] if arguments.no_watch else []
    return own_command("stages.serve", *options, "--", source)


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    """Starts the server; a signal to this process is passed on, and the server dies with it."""
    server = subprocess.Popen(die_with_parent(command), start_new_session=True)

    def forward(number: int, _: object) -> None:
        if server.poll() is None:
            server.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    return server


def _run(command: list[str]) -> int:
    return _exit_code(_start(command).wait())


def _exit_code(code: int) -> int:
    """Returns the exit code of a server; one that was asked to end has done its work."""
    return EXIT_DONE if code in (-signal.SIGINT, -signal.SIGTERM) else code
