"""`inkflow serve`: runs the server of a model; with MODEL@STAGE it follows the stage."""

import argparse
import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import psutil

from flows.core.code_path import own_command
from flows.core.git import git_text
from flows.core.project import find_project, make_state_folder
from flows.core.redaction import say
from flows.engine.processes.command_runner import die_with_parent
from flows.registry.model_files import RECORD, is_address
from flows.registry.publication import fetch_tags
from flows.registry.tags import VERSION
from stages.base.errors import EXIT_DONE, InkflowError, SourceUnavailable
from stages.base.files import remove_abandoned, write_json

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
    pointer = root / ".inkflow" / "serve" / f"{os.getpid()}.json"
    _remove_left_pointers(pointer.parent)
    write_json(pointer, _pointer(root, folder))
    server = _start(_command(arguments, str(pointer), name))
    # Threads: the end of the server, signals and local promotions are seen at once, however long a remote takes.
    Thread(target=_follow, args=(server, root, model, pointer, tags), daemon=True).start()
    if arguments.fetch is not None:
        Thread(target=_fetch, args=(server, root, arguments.fetch), daemon=True).start()
    try:
        return _exit_code(server.wait())
    finally:
        for process in psutil.Process().children(recursive=True):  # such as a git that waits for a remote
            with suppress(psutil.NoSuchProcess):
                process.kill()
        pointer.unlink(missing_ok=True)


def _follow(server: "subprocess.Popen[bytes]", root: Path, model: str, pointer: Path, tags: str) -> None:
    """Points the server to another folder whenever the stage gets another version, until the server ends.

    Args:
        server: the server.
        root: the project's folder.
        model: MODEL@STAGE.
        pointer: the file in which the server finds the folder; it is written again if it is removed.
        tags: the tags from which the present folder follows.
    """
    pause_s = POLL_S
    while server.poll() is None:
        time.sleep(pause_s)
        try:
            if (found := _tags(root)) != tags or not pointer.exists():
                content = _pointer(root, _resolve(root, model))
                if not pointer.exists() or json.loads(pointer.read_text(encoding="utf-8")) != content:
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


def _remove_left_pointers(folder: Path) -> None:
    """Removes the files of servers that were killed."""
    remove_abandoned(folder)
    for path in folder.glob("[!.]*.json"):  # one with a dot is a file that another process is writing
        if not (re.fullmatch("[0-9]{1,9}", path.stem) and psutil.pid_exists(int(path.stem))):
            path.unlink(missing_ok=True)


def _resolve(root: Path, model: str) -> Path:
    """Returns the folder with the files of a registered model; another process does it, since DVC takes 100 MB."""
    command = own_command("flows.registry.resolve", model)
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise SourceUnavailable(f"{model}: its files have not arrived within {FETCH_TIMEOUT_S:g} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        failure = InkflowError(lines[-1].removeprefix("error: "))
        failure.exit_code = done.returncode
        raise failure
    return Path(done.stdout.splitlines()[-1])


def _tags(root: Path) -> str:
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
