"""An epoch of `cnn` against an epoch of the same layers in PyTorch, in its best precision and memory layout.

PyTorch is no dependency: `--python` names an interpreter that has it, such as one of `uv venv`.
"""

import json
import subprocess
from statistics import median

from benchmarks import common, limit
from benchmarks.support.measure import ROOT
from stages.params.schema import Params
from stages.train.device import choose_precision, load_keras, set_up_device

SAMPLES = limit.STEPS * 32


def pytorch(python: str, mnist: str) -> dict[str, limit.Seconds]:
    """Wall time and processor time of an epoch in each way of PyTorch."""
    program = str(ROOT / "benchmarks" / "plain" / "pytorch_cnn.py")
    output = subprocess.check_output([python, program, mnist, str(SAMPLES)], text=True)
    lines = [json.loads(line) for line in output.splitlines()]
    return {line["way"]: limit.Seconds(line["wall_s"], line["processor_s"]) for line in lines}


def main() -> None:
    """Both in turn, on the same number of samples."""
    parser = common.parser(__doc__)
    parser.add_argument("--python", required=True, help="a Python that has PyTorch")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    load_keras()
    model = Params.model_validate(common.read_params()).models[limit.MODEL]
    work = limit.training(choose_precision(model, set_up_device(model.device, model.threads)))
    work()  # builds the graph
    runs = [(limit.timed(work), pytorch(given.python, str(given.mnist))) for _ in range(given.runs)]
    best = min(runs[0][1], key=lambda way: median(theirs[way].processor for _, theirs in runs))
    common.report(
        f"{limit.STEPS} steps of {limit.MODEL} against PyTorch's best",
        "ratio at most 0.5",
        seconds={
            limit.MODEL: round(median(ours.wall for ours, _ in runs), 3),
            f"PyTorch, {best}": round(median(theirs[best].wall for _, theirs in runs), 3),
        },
        ratio=round(median(ours.wall / theirs[best].wall for ours, theirs in runs), 3),
        ratio_of_processor_times=round(median(ours.processor / theirs[best].processor for ours, theirs in runs), 3),
        processor_s_of_pytorch={
            way: round(median(theirs[way].processor for _, theirs in runs), 2) for way in runs[0][1]
        },
        runs=given.runs,
    )


if __name__ == "__main__":
    main()
