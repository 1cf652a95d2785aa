"""The examples of docs/vectors-and-sequences.md, from the data to the report and to predictions of new samples."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import tests.support.learning  # noqa: F401 - loads Keras quietly
from stages.base.errors import EXIT_DONE, EXIT_INVALID
from stages.base.yaml_text import parse_yaml
from stages.download import download
from stages.evaluate import evaluate
from stages.params import validate
from stages.predict import command, score
from stages.prepare import prepare
from stages.report import latency, report
from tests.support.pictures import png
from tests.support.root import ROOT

keras = pytest.importorskip("keras")

from stages.export import command as export_command  # noqa: E402  (beside Keras, like the next line)
from stages.train import training  # noqa: E402

# Keras reads TensorFlow's variables with np.array(), and NumPy 2 warns about it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
PAGE = (ROOT / "docs" / "vectors-and-sequences.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```yaml\n(.*?)```", PAGE, re.DOTALL)
PICTURE_WORDS = re.compile(r"image|pixel|picture", re.IGNORECASE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "params"),
    [pytest.param(*EXAMPLES[0], id="vectors")]
    + [
        pytest.param(*example, id=name, marks=pytest.mark.farm)
        for name, example in zip(("time_series", "texts"), EXAMPLES[1:], strict=True)
    ],
)
@pytest.mark.farm
def test_examples_of_the_page(
    code: str,
    params: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An example of the page runs as it stands: its models learn, and predict what they should from new files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INKFLOW_MIRROR", "mirror")
    Path("mirror").mkdir()
    exec(code, {})
    Path("params.yaml").write_text(params, encoding="utf-8")
    content = parse_yaml(params)
    name, section = content["dataset"], content["datasets"][content["dataset"]]
    assert validate.main(["--out", "data/params_valid.txt"]) == EXIT_DONE
    assert download.main(["--out", "data/raw"]) == EXIT_DONE
    assert prepare.main(["--raw", "data/raw", "--out", "data/prepared"]) == EXIT_DONE
    with np.load(f"mirror/{name}.npz") as arrays:
        x_test, y_test = arrays["x_test"], arrays["y_test"]
    for model in content["models"]:
        out, evaluation = f"models/{model}", f"evaluation/{model}"
        assert training.main(["--model", model, "--data", "data/prepared", "--out", out]) == EXIT_DONE
        arguments = ["--model", f"{out}/model.onnx", "--raw", "data/raw", "--out", evaluation]
        assert evaluate.main(arguments) == EXIT_DONE
        assert json.loads(Path(evaluation, "metrics.json").read_text())["accuracy"] >= 0.85
        session = onnxruntime.InferenceSession(f"{out}/model.onnx", providers=["CPUExecutionProvider"])
        assert [(port.name, port.shape[1:]) for port in session.get_inputs()] == [("samples", section["shape"])]
    assert report.main(["--out", "reports"]) == EXIT_DONE
    check_report(Path("reports"))
    assert latency.main([f"models/{model}" for model in content["models"]]) == EXIT_DONE
    check_predictions(next(iter(content["models"])), x_test, y_test, capsys)


def check_report(folder: Path) -> None:
    """Checks that neither page nor summary say anything of pictures, and that the page has none."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"<(style|script)[^>]*>.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not PICTURE_WORDS.findall(text)
    assert "<img" not in re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert 'class="confusion' in page
    assert not PICTURE_WORDS.findall((folder / "summary.md").read_text(encoding="utf-8"))


def check_predictions(model: str, x_test: np.ndarray, y_test: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """Checks predictions from each kind of file, the table of `score`, and the export in another format."""
    inbox = Path("inbox")
    inbox.mkdir()
    np.save(inbox / "a.npy", x_test)
    np.savez(inbox / "b.npz", x_test=x_test, y_test=y_test)
    rows = x_test.reshape(len(x_test), -1)
    heading = ",".join(f"feature {number}" for number in range(rows.shape[1]))
    np.savetxt(inbox / "c.csv", rows, "%.9g", ",", header=heading, comments="")
    (inbox / "d.png").write_bytes(png(28, 28))
    capsys.readouterr()
    results = []
    for file in ("a.npy", "b.npz", "c.csv"):
        assert command.main([model, str(inbox / file), "--json", "--anyway"]) == EXIT_DONE
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        results.append([(line["label"], line["probability"]) for line in lines])
    assert len(results[0]) == len(x_test)
    assert results == [results[0]] * 3
    assert command.main([model, str(inbox / "d.png"), "--anyway"]) == EXIT_INVALID
    assert "is a picture, but the model takes" in capsys.readouterr().err
    arguments = [f"--model={model}", f"--folder={inbox}", "--out=scores.parquet", "--anyway"]
    assert score.main(arguments) == EXIT_DONE
    assert "3 files scored, 0 scored before, 1 could not be scored" in capsys.readouterr().out
    assert export_command.main([model, "--format", "saved_model"]) == EXIT_DONE
