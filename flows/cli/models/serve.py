"""`inkflow serve`: runs the server of a model; with MODEL@STAGE it follows the stage."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flows.core.code_path import own_command
from flows.core.git import git_succeeds, git_text
from flows.core.project import find_project, make_state_folder
from flows.engine.processes.command_runner import die_with_parent
from flows.registry.model_files import is_address
from flows.registry.tags import VERSION
from stages.base.errors import EXIT_DONE, InkflowError
from stages.base.files import write_json

POLL_S = 1.0
OPTIONS = ("host", "port", "max_body", "max_pixels", "timeout", "max_queue")


def serve(arguments: argparse.Namespace) -> int:
    """Serves the model and returns the exit code of the server.

    Raises:
        InvalidInput: there is no such model, stage or version.
        RegistryFailed: the tag, dvc.lock and the files do not agree.
    """
    model = arguments.model
    if not is_address(model):
        return _run(_command(arguments, model, arguments.name))
    root, (name, _, target) = find_project(), model.partition("@")
    folder = _resolve(root, model)
    name = arguments.name or name
    if VERSION.fullmatch(target):
        return _run(_command(arguments, str(folder), name))
    make_state_folder(root)
    pointer = root / ".inkflow" / "serve" / f"{os.getpid()}.json"
    write_json(pointer, {"folder": str(folder)})
    try:
        return _follow(root, model, pointer, _command(arguments, str(pointer), name), arguments.fetch)
    finally:
        pointer.unlink(missing_ok=True)


def _follow(root: Path, model: str, pointer: Path, command: list[str], fetch_s: float | None) -> int:
    """Runs the server, and points it to another folder when the stage gets another version."""
    server = _start(command)
    tags, fetched = _tags(root), time.monotonic()
    while server.poll() is None:
        try:
            server.wait(POLL_S)
            break
        except subprocess.TimeoutExpired:
            pass
        if fetch_s is not None and time.monotonic() - fetched >= fetch_s:
            fetched = time.monotonic()
            if not git_succeeds(["fetch", "--quiet", "--tags"], root):
                print("serve: the tags of Git's remote cannot be fetched; the next try follows", file=sys.stderr)
        if (found := _tags(root)) == tags:
            continue
        tags = found
        try:
            folder = str(_resolve(root, model))
        except InkflowError as error:
            print(f"serve: {error}; the version so far stays", file=sys.stderr, flush=True)
            continue
        if json.loads(pointer.read_text(encoding="utf-8"))["folder"] != folder:
            write_json(pointer, {"folder": folder})
    return server.returncode


def _resolve(root: Path, model: str) -> Path:
    """Returns the folder with the files of a registered model; another process does it, since DVC takes 100 MB."""
    done = subprocess.run(
        own_command("flows.registry.resolve", model),
        cwd=root,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        error = InkflowError(lines[-1].removeprefix("error: "))
        error.exit_code = done.returncode
        raise error
    return Path(done.stdout.splitlines()[-1])


def _tags(root: Path) -> str:
    return git_text(["for-each-ref", "--format=%(refname) %(objectname)", "refs/tags"], root)


def _command(arguments: argparse.Namespace, source: str, name: str | None) -> list[str]:
    options = [f"--{option.replace('_', '-')}={getattr(arguments, option)}" for option in OPTIONS]
    options += [f"--host-name={item}" for item in arguments.host_name]
    options += [f"--name={name}"] if name else []
    options += ["--anyway"] if arguments.anyway else []
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
    code = _start(command).wait()
    return EXIT_DONE if code in (-signal.SIGINT, -signal.SIGTERM) else code
