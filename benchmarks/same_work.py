"""The same work in less time: each system of the seeds, batch size and epochs as they are, against its plain script.

The plain scripts learn from all 60,000 training samples; ours holds 600 of them out here, so that it takes 1 % fewer
steps, and looks at these 600 after each epoch, which is part of its time.
"""

import math
from pathlib import Path

from benchmarks import common

TARGETS = {"dense": 0.5, "cnn": 0.6}
TEST_SAMPLES = 10_000
HELD_OUT = 0.01


def agree(ours: float, plain: float) -> bool:
    """Whether two accuracies on the test part lie within 1.96 standard errors of their difference."""
    error = math.sqrt(sum(share * (1 - share) for share in (ours, plain)) / TEST_SAMPLES)
    return abs(ours - plain) <= 1.96 * error


def params_of(work: Path, system: str, seed: int) -> Path:
    """params.yaml with so few samples held out, and a seed for the system: the plain script draws another each time."""
    return common.params_with(work, {"prepare.validation": HELD_OUT, f"models.{system}.seed": seed})


def main() -> None:
    """Alternating runs of both sides; one line a system."""
    parser = common.parser(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--systems", nargs="*", default=common.SYSTEMS)
    given = parser.parse_args()
    work = given.work / "same-work"
    common.prepare(given.mnist, work, params_of(work, "dense", 0))
    for system in given.systems:
        pairs = [
            (common.ours(system, work, params_of(work, system, seed)), common.plain(system, given.mnist))
            for seed in range(given.runs)
        ]
        ours_s, plain_s = (common.median([pair[side].fit_s for pair in pairs]) for side in (0, 1))
        ours, plain = (common.median([pair[side].accuracy for pair in pairs]) for side in (0, 1))
        common.report(
            f"same work: fit of {system} against its plain script",
            f"ratio at most {TARGETS[system.split('_')[0]]}, accuracies agree",
            seconds={"ours": ours_s, "plain script": plain_s},
            ratio=common.median([mine.fit_s / other.fit_s for mine, other in pairs]),
            runs=given.runs,
            test_accuracy=ours,
            plain_accuracy=plain,
            accuracies_agree="yes" if agree(ours, plain) else "no",
        )


if __name__ == "__main__":
    main()
