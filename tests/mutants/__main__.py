"""Tries the mutants of modules that decide: `python -m tests.mutants [MODULE...]`.

Prints each mutant that no test noticed, or that exceeded the limit of time, and that tests/mutants/explained.toml does
not explain, and then ends with 1.
The table of docs/mutants.md gets the numbers of the modules that were tried whole and have none.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE, exit_with
from stages.base.files import write_text
from tests.mutants.mutations import Mutant
from tests.mutants.registry import Explanation, Module, chosen, explanations, modules
from tests.mutants.trial import Result, run
from tests.support.root import ROOT

PAGE = ROOT / "docs" / "mutants.md"
START, END = "<!-- generated: mutants -->\n", "<!-- end: mutants -->"
HEAD = "| module | mutants | noticed | timed out | explained |\n|---|---:|---:|---:|---:|\n"
FAILED = 1


def problems(result: Result, explained: Sequence[Explanation], *, is_sample: bool) -> list[str]:
    """Returns what is wrong: mutants that no test noticed, without an explanation, and explanations without one."""
    harmless, loops = ([item for item in explained if item.loops is value] for value in (False, True))
    new = [mutant for mutant in result.survivors if not any(item.explains(mutant) for item in harmless)]
    late = [mutant for mutant in result.timed_out if not any(item.explains(mutant) for item in loops)]
    return [
        *(f"{result.module}, {mutant}" for mutant in new),
        *(f"{result.module}, timed out: {mutant}" for mutant in late),
        *(
            f"{result.module}: explained, but no {'loop' if item.loops else 'survivor'}: {item.function}: {item.now}"
            for item in explained
            if _is_stale(item, result, is_sample=is_sample)
        ),
    ]


def _is_stale(item: Explanation, result: Result, *, is_sample: bool) -> bool:
    """Returns whether no mutant is as the explanation says; of a sample, whether one was tried that is not."""
    right = [*result.timed_out, *result.noticed] if item.loops else result.survivors
    is_met = any(map(item.explains, [*result.survivors, *result.noticed, *result.timed_out]))
    return not any(map(item.explains, right)) and (is_met or not is_sample)


def with_rows(page: str, results: Sequence[Result]) -> str:
    """Returns the page with the lines of these modules, whose mutants are noticed or explained, in its table."""
    before, _, rest = page.partition(START)
    table, _, after = rest.partition(END)
    rows = {line.split("`")[1]: line for line in table.splitlines() if "`" in line}
    for result in results:
        numbers = (result.tried, *map(len, (result.noticed, result.timed_out, result.survivors)))
        rows[result.module] = f"| `{result.module}` | {' | '.join(map(str, numbers))} |"
    return before + START + HEAD + "".join(f"{rows[name]}\n" for name in modules() if name in rows) + END + after


def sampled(found: list[Module], count: int, of_module: int, seed: int) -> list[Result]:
    """Returns the results of at most `of_module` random mutants of each of `count` random modules."""
    choice = random.Random(seed)

    def some(_: Module, mutants: list[Mutant]) -> list[Mutant]:
        return choice.sample(mutants, min(of_module, len(mutants)))

    return run(choice.sample(found, min(count, len(found))), some)


def main() -> int:
    """Tries the mutants and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("module", nargs="*", help="path of a module, or how paths begin; all without")
    parser.add_argument("--write", type=Path, help="file for the survivors, too")
    parser.add_argument("--sample", type=int, nargs=2, metavar=("MODULES", "EACH"), help="some random mutants alone")
    parser.add_argument("--seed", type=int, default=0, help="of the random choice")
    options = parser.parse_args()
    found, known = chosen(options.module, modules()), explanations()
    count, each = options.sample or (0, 0)
    results = sampled(found, count, each, options.seed) if options.sample else run(found)
    wrong = {
        result.module: problems(result, known.get(result.module, []), is_sample=bool(options.sample))
        for result in results
    }
    text = "".join(f"{problem}\n" for found in wrong.values() for problem in found)
    sys.stdout.write(text)
    if options.write:
        write_text(options.write, text)
    right = [result for result in results if not wrong[result.module]]
    if right and not options.sample:
        write_text(PAGE, with_rows(PAGE.read_text(encoding="utf-8"), right))
    return FAILED if text else EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
