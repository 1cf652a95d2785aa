"""`cnn_best`, the model that is kept ready in params.yaml: test accuracy and time of fit, a quarter of an hour.

Test scores took part in the choice of its recipe (docs/decisions.md), so this score is no estimate for new images.
"""

from benchmarks import common

NAME = "cnn_best"


def main() -> None:
    """Train it once, with the seed that params.yaml fixes."""
    given = common.parser(__doc__).parse_args()
    work = given.work / "best"
    params = common.params_with(work, {f"models.{NAME}": common.read_params()["more_models"][NAME]})
    common.prepare(given.mnist, work, params)
    found = common.ours(NAME, work, params)
    common.report(
        f"{NAME}: one fit",
        "test accuracy at least 0.9970, at most 900 s",
        seconds={"fit": found.fit_s},
        runs=1,
        test_accuracy=found.accuracy,
    )


if __name__ == "__main__":
    main()
