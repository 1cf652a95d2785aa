"""A model that is replaced while it is used or promoted: an answer is of one version, a tag of a committed one."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import Toy, wait_until
from tests.flows.engine.helpers import stage_processes, status
from tests.support.pictures import encoded, scan, write_reader
from tests.support.registered_reader import MODEL, PIPELINE, git, reader
from tests.support.root import ROOT
from tests.torture.conftest import Rounds, Try

__all__ = ["reader"]
SUBJECT = "At the same time"
SEED = 17
ROUNDS = 8  # in `make torture`
SLOW = PIPELINE.replace("&& cp", f"&& head -c 300 in.onnx > {MODEL} && sleep 0.8 && cp")


def start(*words: str) -> "subprocess.Popen[str]":
    """Starts `inkflow` with these words in the current folder."""
    command = [sys.executable, "-m", "flows", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.farm
def test_a_model_that_is_replaced(promise: Try, rounds: Rounds, reader: Toy) -> None:
    """`predict` and `promote` at random moments of a run that makes the model anew."""
    dice = random.Random(SEED)
    reader.write({"dvc.yaml": SLOW})
    Path("seven.png").write_bytes(encoded(scan(7, 1), "PNG"))
    seen: Counter[str] = Counter()
    sentence = "While a run replaces a model, an answer is of the whole old or new one, and a tag of a committed one."
    for words in (("run", "--no-server"), ("promote", "reader", "prod")):
        began_s = time.monotonic()
        output, errors = (first := start(*words)).communicate(timeout=240)
        assert first.returncode == 0, (output, errors)
        promotion_s = time.monotonic() - began_s
        git("add", "--all")
        git("commit", "--allow-empty", "-qm", "slow")
    with promise(SUBJECT, sentence, "") as tried:
        for number in range(rounds(1, ROUNDS)):
            run, predict, promote = begin(dice, number, promotion_s)
            with tried.attempt(f"predict, round {number}, seed {SEED}"):
                output, errors = predict.communicate(timeout=240)
                assert predict.returncode == 0, errors
                label = json.loads(output)["label"]
                old = f"v{number - 1} 7" if number else "one 7"
                assert label in (old, f"v{number} 7"), label
                seen["an earlier model's answer" if label == old else "the new model's answer"] += 1
            with tried.attempt(f"promote, round {number}, seed {SEED}"):
                output, errors = promote.communicate(timeout=240)
                assert "Traceback" not in errors and (promote.returncode == 0 or errors.startswith("error: ")), errors
                seen["refused" if promote.returncode else "promoted"] += 1
            with tried.attempt(f"run, round {number}, seed {SEED}"):
                output, errors = run.communicate(timeout=240)
                assert run.returncode == 0, errors
                assert status() == {}
                tags_are_true()
            git("add", "--all")
            git("commit", "-qm", f"v{number}")
        tried.how = (
            "predictions and promotions at random moments of runs that make the model anew, in a stage that writes "
            f"twice: {', '.join(f'{what} {count}' for what, count in sorted(seen.items()))}"
        )
        with tried.verdict("a promotion beside a run"):
            assert rounds(1, 0) or (seen["promoted"] and git("tag", "--list", "reader@v*")), seen


def begin(dice: random.Random, number: int, promotion_s: float) -> "tuple[subprocess.Popen[str], ...]":
    """Starts a run that makes the model anew, a prediction and a promotion, which alone takes `promotion_s`.

    Git has an edit once the run can begin, and `promote` then refuses: in every other round it begins before. So does
    the prediction, whose program takes longer to start than the stage.
    """
    is_early = number % 2 == 0
    promotes = [start("promote", "reader", "prod")] if is_early else []
    time.sleep(dice.uniform(0.6, 1.1) * promotion_s if is_early else 0.0)  # it is about to look, or has
    write_reader(Path("in.onnx"), [f"v{number} {digit}" for digit in range(10)])
    run = start("run", "--no-server")
    if not is_early:
        wait_until(partial(is_running_or_over, run), timeout_s=120)
    time.sleep(dice.uniform(0.0, 1.0))
    predict = start("predict", "reader", "seven.png", "--json")
    return run, predict, promotes[0] if promotes else start("promote", "reader", "prod")


def is_running_or_over(run: "subprocess.Popen[str]") -> bool:
    """Returns True once the stage runs, or the run has ended."""
    return bool(stage_processes(Path.cwd())) or run.poll() is not None


def tags_are_true() -> None:
    """Each tag of a version names the hash that dvc.lock has at its commit."""
    for tag in git("tag", "--list", "reader@v*").splitlines():
        message = git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")
        listed = [line.removeprefix("MD5: ") for line in message.splitlines() if line.startswith("MD5: ")]
        lock = YAML(typ="safe").load(git("show", f"{tag}:dvc.lock"))
        assert listed == [lock["stages"]["train"]["outs"][0]["md5"]], tag
