"""Time to the seeds' headline: fit of `cnn_fast` to test accuracy 0.9905, against ten epochs of the plain script S4."""

from benchmarks import common

ACCURACY = 0.9905


def main() -> None:
    """Several seeds of ours, each beside a run of the plain script, which takes two minutes."""
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    common.prepare(given.mnist, given.work)
    plain, ours = [], []
    for seed in range(given.seeds):
        plain.append(common.plain("cnn", given.mnist))
        params = common.params_with(given.work, {"models.cnn_fast.seed": seed})
        ours.append(common.ours("cnn_fast", given.work, params))
    ours_s, plain_s = (common.median([run.fit_s for run in runs]) for runs in (ours, plain))
    reached = sum(run.accuracy >= ACCURACY for run in ours)
    common.report(
        f"fit of cnn_fast to {ACCURACY} against 10 epochs of the plain S4",
        "ratio at most 0.125, at least 4 of 5 seeds",
        seconds={"cnn_fast": ours_s, "plain S4": plain_s},
        ratio=common.median([mine.fit_s / other.fit_s for mine, other in zip(ours, plain, strict=True)]),
        runs=given.seeds,
        seeds_that_reached_it=f"{reached} of {given.seeds}",
        test_accuracies=[run.accuracy for run in ours],
        plain_accuracies=[round(run.accuracy, 4) for run in plain],
    )


if __name__ == "__main__":
    main()
