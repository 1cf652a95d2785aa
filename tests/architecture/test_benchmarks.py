"""`make bench`: its default programs start without arguments, and what programs print becomes a page."""

import argparse
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks import common
from benchmarks.support import report
from tests.support.root import ROOT


class Parsed(Exception):
    """A program has parsed its options, and would begin to measure."""


@pytest.fixture
def parses_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program called without arguments ends after it has parsed its options; MNIST seems to be there."""
    parse = argparse.ArgumentParser.parse_args

    def parse_alone(parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parse(parser, [])
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
    (tmp_path / "mnist.npz").touch()
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path))


def has_options(program: str) -> bool:
    """Returns whether a program parses options; others have no argument that could be missing."""
    return "parse_args" in (ROOT / "benchmarks" / f"{program}.py").read_text(encoding="utf-8")


@pytest.mark.usefixtures("parses_only")
def test_make_bench_runs_programs_that_need_no_argument() -> None:
    """Each program of the default list starts without arguments; the others are those that the Makefile names."""
    command = ["make", "-s", "--eval", "list:;@echo $(BENCHMARKS)", "list"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    programs = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "common"}
    assert programs - set(listed) == {"earlier", "gpu", "others", "pytorch", "recipes", "search"}
    assert set(listed) <= programs and len(listed) > 20
    for program in filter(has_options, listed):
        with pytest.raises(Parsed):
            import_module(f"benchmarks.{program}").main()


def test_a_printed_line_is_a_row_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines that `common.report` prints, the way of all programs without a comparison, are rows of the page."""
    common.report("events", "none", runs=2, best=[0.1, 0.2], killed=[{"process": 1}])
    lines = tmp_path / "bench-search.jsonl"
    lines.write_text(f"progress\n{capsys.readouterr().out}")
    for name in ("RESULTS", "PAGE"):
        monkeypatch.setattr(report, name, tmp_path / name)
    (tmp_path / "RESULTS").write_text("{}")
    monkeypatch.setattr("sys.argv", ["report", str(lines)])
    assert report.main() == 0
    assert "| events | best [0.1, 0.2]; killed [{'process': 1}]; load " in (tmp_path / "PAGE").read_text()
