"""Peak resident memory of `prepare` and `train` on data ten times MNIST, made by shifting it, against MNIST itself."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import common

TIMES = 10


def shifted(images: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """`images` (n, h, w) and times - 1 copies, each moved by a few pixels."""
    return np.concatenate([np.roll(images, (copy % 3, copy // 3), (1, 2)) for copy in range(times)])


def make(mnist: Path, folder: Path, times: int) -> Path:
    """A mirror with mnist.npz so many times as large, and its params.yaml."""
    from ruamel.yaml import YAML

    with np.load(mnist) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    content["x_train"] = shifted(content["x_train"], times)
    content["y_train"] = np.tile(content["y_train"], times)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mnist.npz", allow_pickle=False, **content)
    yaml = YAML()
    params = yaml.load((common.ROOT / "params.yaml").read_text())
    digests = {
        name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for name, array in content.items()
    }
    params["datasets"]["mnist"].update({"sha256": digests, "max_bytes": 4_000_000_000})
    params["models"]["dense"]["epochs"] = 1
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    return folder / "params.yaml"


def peak(arguments: list[str]) -> float:
    """Peak resident memory of a program, MB; it runs below a process that had no other child."""
    program = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], check=True, "
        "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=common.ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1024  # Linux counts it in KiB


def measure(mnist: Path, folder: Path, times: int, model: str) -> dict[str, float]:
    """Peaks of both stages on data so many times as large."""
    params = str(make(mnist, folder, times))
    common.call(["-m", "stages.download", "--out", folder / "raw", "--params", params], INKFLOW_MIRROR=str(folder))
    raw, prepared, out = (str(folder / name) for name in ("raw", "prepared", "model"))
    prepare = peak(["-m", "stages.prepare", "--raw", raw, "--out", prepared, "--params", params])
    given = ["--model", model, "--data", prepared, "--out", out, "--params", params, "--checkpoints", out]
    return {"prepare": round(prepare), "train": round(peak(["-m", "stages.train", *given]))}


def main() -> None:
    """Both sizes, both stages."""
    parser = common.parser(__doc__)
    parser.add_argument("--model", default="dense")
    given = parser.parse_args()
    small, large = (measure(given.mnist, given.work / f"times-{times}", times, given.model) for times in (1, TIMES))
    ratios = {stage: round(large[stage] / small[stage], 3) for stage in small}
    for stage, ratio in ratios.items():
        common.report(
            f"peak memory of {stage} on 10 times MNIST against MNIST",
            "ratio at most 1.3",
            ratio=ratio,
            runs=1,
            mb_on_10_times=large[stage],
            mb=small[stage],
        )


if __name__ == "__main__":
    main()
