"""Own Keras code that does not fit: each mistake is one sentence, with the line where a function fails."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stages.base.errors import InvalidInput
from stages.base.validation_messages import error_messages
from stages.model.config import Model
from stages.train.custom.code import own_errors
from tests.support.learning import Folders, make_model
from tests.support.own_code import SHAPE, learn, own_model, write_code

pytest.importorskip("keras")

from stages.train import networks
from stages.train.network_trial import check_network

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


NETWORKS = {
    "return 3": "returns a int, expected a Keras model",
    "return keras.Sequential([layers.Flatten(), layers.Dense(7)])": (
        r"output has the shape \(None, 7\), expected \(None, 4\)"
    ),
    "return keras.Sequential([keras.Input((5, 5, 1)), layers.Flatten(), layers.Dense(classes)])": (
        r"input has the shape \(None, 5, 5, 1\), expected \(None, 12, 14, 1\)"
    ),
    "x = keras.Input(shape); return keras.Model(x, [layers.Flatten()(x), x])": "2 outputs, expected one",
    "raise ValueError('too few')": r"custom/own.py, line 4, in build: ValueError: too few; correct it",
    "import absent": r"custom/own.py, line 4, in build: ModuleNotFoundError: No module named 'absent'; correct it",
    "return keras.Sequential([layers.Dense(4), layers.Conv2D(2, 99)])": "custom/own.py|check custom.own:build",
    "open('absent.txt')": "custom/own.py, line 4, in build: FileNotFoundError: .*absent.txt",
    "raise SystemExit(0)": "custom/own.py, line 4, in build: SystemExit: 0",
}


@pytest.mark.parametrize("code", NETWORKS)
def test_networks_that_do_not_fit(project: Path, code: str) -> None:
    """A function that returns something else, or fails, gives one sentence, with its line where it fails."""
    write_code(project, f"def build(shape, classes):\n    {code}\n")
    model = own_model()
    with pytest.raises(InvalidInput, match=NETWORKS[code]) as refused, own_errors("mine", model):
        networks.build(model, SHAPE, 4)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("models.mine: ")


OUTPUTS = {
    ("softmax", "ops.log(layers.Dense(classes)(x) * 0 - 1)"): "is not finite on the first 8 training images",
    (
        "softmax",
        "3 + layers.Dense(classes)(x)",
    ): "no probabilities .* end it with a softmax, or choose `output: logits`",
    ("logits", "layers.Dense(classes, activation='softmax')(x)"): "probabilities already; leave out the softmax",
    ("logits", "ops.cumsum(ops.fft2((x, x))[0][:, :4], 1)"): "cannot be exported as ONNX|custom/own.py",
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_that_do_not_fit(folders: Folders, project: Path, case: tuple[str, str]) -> None:
    """Outputs that are not finite, are not what `output` says, or have no form in ONNX are refused before training."""
    output, code = case
    write_code(
        project,
        f"""
        def build(shape, classes):
            images = keras.Input(shape)
            x = layers.Flatten()(images)
            return keras.Model(images, {code})
        """,
    )
    model = own_model(output=output)
    with pytest.raises(InvalidInput, match=OUTPUTS[case]), own_errors("mine", model):
        check_network("mine", networks.build(model, SHAPE, 4), model, folders.data)


LOSS: dict[str, Any] = {"loss": "custom.own:loss"}
CALLBACK: dict[str, Any] = {"callbacks": ["custom.own:C"]}
BATCH_HOOK = """
class C(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass
"""
PARTS: list[tuple[dict[str, Any], str, str]] = [
    (LOSS, "def loss(a, b):\n    raise KeyError('x')\n", r"custom/own.py, line 4, in loss: KeyError"),
    (LOSS, "loss = 3\n", r"`loss: custom.own:loss` is a int, expected a function"),
    (LOSS, "def loss(a, b)\n", r"custom/own.py, line 3: SyntaxError: expected ':'"),
    (LOSS, "def loss(a, b):\n    return a[:, :3] - b\n", r"models.mine: .*, then run again"),
    ({"loss": "custom.own:lose"}, "def loss(a, b):\n    pass\n", r"has no lose; did you mean 'loss'\? define it"),
    ({"loss": "custom.other:loss"}, "", r"there is no file custom/other.py in .*; write it, or correct the name"),
    ({"optimizer": "custom.own:opt"}, "def opt():\n    return 3\n", r"gives a int, expected a keras.optimizers"),
    (
        {"optimizer": {"name": "custom.own:opt", "momentum": 0.5}},
        "def opt():\n    pass\n",
        r"TypeError: .*'momentum'; check",
    ),
    ({"metrics": ["custom.own:m"]}, "m = 3\n", r"`metrics: custom.own:m` is a int, expected a function"),
    (CALLBACK, "class C:\n    pass\n", r"gives a C, expected a keras.callbacks.Callback"),
    (CALLBACK, BATCH_HOOK, r"has on_train_batch_end, which is never called: .* or on_epoch_end"),
]


@pytest.mark.parametrize(
    ("changes", "code", "sentence"), PARTS, ids=[f"{changes}-{code}" for changes, code, _ in PARTS]
)
def test_parts_that_do_not_fit(
    folders: Folders, project: Path, changes: dict[str, Any], code: str, sentence: str
) -> None:
    """Losses, metrics, optimizers and callbacks that are something else, or fail, give one sentence."""
    write_code(project, code)
    model = make_model(**changes)
    with pytest.raises(InvalidInput, match=sentence) as refused, own_errors("mine", model):
        learn(folders, model)
    assert "\n" not in str(refused.value)


EXPECTED = "expected custom.module:function, such as custom.example:build"
OUTSIDE = (
    "which is outside of the folder custom/, the only own code that a training depends on; move it there and write"
)
SECTIONS: list[tuple[dict[str, Any], str]] = [
    ({"build": "mine.nets:build"}, f"build: got 'mine.nets:build', {OUTSIDE} custom.nets:build"),
    ({"build": "mine:build"}, f"build: got 'mine:build', {OUTSIDE} custom.mine:build"),
    ({"callbacks": ["keras.callbacks:C"]}, f"callbacks.0: got 'keras.callbacks:C', {OUTSIDE} custom.callbacks:C"),
    ({"build": "build"}, f"build: got 'build', {EXPECTED}"),
    ({"loss": "../x:y"}, f"loss: got '../x:y', {EXPECTED}"),
    ({"dropout": 0.5}, "`dropout` has no effect on `network: custom`: `build` decides; remove it"),
    ({"units": [3]}, "`units` has no effect on `network: custom`: `build` decides; remove it"),
    (
        {"label_smoothing": 0.1, "loss": "custom.own:loss"},
        "`label_smoothing` is not compatible with `loss: custom.own:loss`; choose categorical_crossentropy",
    ),
    ({"metrics": ["auc", "custom.own:auc"]}, "`metrics` has auc twice; remove or rename one"),
    ({"metrics": ["custom.own:loss"]}, "`metrics` has loss twice; remove or rename one"),
    (
        {"optimizer": {"name": "custom.own:opt", "decay": 0.1}},
        "optimizer: `decay` needs `learning_rate` with an optimizer of your own; set it",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), SECTIONS, ids=[str(changes) for changes, _ in SECTIONS])
def test_sections_that_are_refused(changes: dict[str, Any], sentence: str) -> None:
    """Names of another form or folder, and keys without effect, are refused with one sentence."""
    with pytest.raises(ValidationError) as refused:
        own_model(**changes)
    assert error_messages(refused.value, Model) == [sentence]
