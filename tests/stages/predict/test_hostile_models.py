"""`inkflow predict` with model files of unknown origin: one sentence and exit code 2, in bounded time."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data
from PIL import Image

from stages.base.errors import ModelError
from stages.inference import onnx_session
from stages.predict.classifier import open_classifier
from stages.predict.image_arrays import Images
from stages.predict.predict import predict

WEIGHTS = np.zeros((784, 10), np.float32)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a picture."""
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 12:16] = 255
    Image.fromarray(pixels).save("1.png")
    return tmp_path


def tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """Returns the description of a float32 input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def classifier_nodes() -> list[onnx.NodeProto]:
    """Returns the nodes of a classifier from x (b, 28, 28) to y (b, 10), with the weights w."""
    return [
        helper.make_node("Reshape", ["x", "shape"], ["row"]),
        helper.make_node("MatMul", ["row", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto] | None = None,
    inputs: Sequence[onnx.ValueInfoProto] = (tensor("x", "b", 28, 28),),
    outputs: Sequence[onnx.ValueInfoProto] = (tensor("y", "b", 10),),
    external: str | None = None,
    **metadata: str,
) -> Path:
    """Writes a model: a classifier if nothing else is given, with its weights in the file `external`, or in itself."""
    weights = onnx.numpy_helper.from_array(WEIGHTS, "w")
    if external is not None:
        set_external_data(weights, external)
        weights.ClearField("raw_data")
    shape = onnx.numpy_helper.from_array(np.array([-1, 784]), "shape")
    graph = helper.make_graph(nodes or classifier_nodes(), "g", inputs, outputs, [weights, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {name.replace("__", "."): value for name, value in metadata.items()})
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "task",
    [
        {"kind": "two_class", "positive": [10**12]},
        {"kind": "two_class", "positive": [-30]},
        {"kind": "two_class", "positive": [1e400]},
        {"kind": "two_class", "positive": [True, "1"]},
        {"kind": ["two_class"], "positive": [1]},
        {"kind": {}, "positive": {}},
        {"kind": "regression", "values": [float("inf"), float("nan")]},
        {"kind": "regression", "values": [10**400]},
        {"kind": "multiclass", "values": 3},
        [],
    ],
)
def test_hostile_task(task: object, capsys: pytest.CaptureFixture[str]) -> None:
    """A task of numbers out of bounds or of other types is invalid metadata."""
    with pytest.raises(ModelError, match="has invalid metadata"):
        predict(str(save(Path("m.onnx"), inkflow__task=json.dumps(task))), ["1.png"], False, "text", None)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"kind": ' * 50_000, "9" * 10_000, "{"])
def test_hostile_json(text: str) -> None:
    """Metadata that is nested too deep, or has a number of thousands of digits, is invalid metadata."""
    with pytest.raises(ModelError, match="has invalid metadata"):
        open_classifier(save(Path("m.onnx"), inkflow__task=text))


def test_class_names_that_are_no_text() -> None:
    """A class whose name has half a character, as only JSON can name it, is answered with that half escaped."""
    model = open_classifier(save(Path("m.onnx"), class_names=json.dumps(["a\udcff", *"123456789"])))
    assert model.class_names == ("a\\udcff", *"123456789")
    "".join(model.class_names).encode()


@pytest.mark.parametrize("many", [1, 9])
def test_an_address_in_the_place_of_a_file(many: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The password and the token of an address that is taken for a file are not printed."""
    addresses = [f"http://me:swordfish@host/{number}.png?token=hidden" for number in range(many)]
    assert predict(str(save(Path("m.onnx"))), addresses, False, "text", None)
    shown = capsys.readouterr().err
    assert "http://me:***@host/0.png?token=***" in shown and "swordfish" not in shown and "hidden" not in shown


@pytest.mark.parametrize("low", [10**400, float("inf"), float("nan"), -(10**300), [], "x"])
def test_hostile_pixel_range(low: object, capsys: pytest.CaptureFixture[str]) -> None:
    """A pixel range that no float32 holds counts as missing."""
    model = save(Path("m.onnx"), pixels=json.dumps({"low": low, "high": 1}))
    assert open_classifier(model).pixel_range == (0.0, 255.0)
    assert predict(str(model), ["1.png"], False, "text", None) == 0
    assert "\n  1.png  0  0.1000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((), (tensor("y", 1, 10), tensor("z", 1, 10))),
        ((tensor("x", "b", 28, 28), tensor("x2", "b", 28, 28)), ()),
        ((tensor("x", "b", 28, 28),), (tensor("y", "b", 2**40),)),
        ((tensor("x", "b", 2**20, 2**20),), (tensor("y", "b", 10),)),
    ],
    ids=["no input", "two inputs", "huge output", "huge input"],
)
def test_other_inputs_and_outputs(
    inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
) -> None:
    """A model without an input, with two of them, or of huge sizes is refused before it runs."""
    made = [helper.make_node("RandomNormal", [], [output.name], shape=[1, 10]) for output in outputs]
    with pytest.raises(ModelError, match=r"is not a classifier of images|is not a valid ONNX model"):
        open_classifier(save(Path("m.onnx"), made or classifier_nodes(), inputs, outputs))


def test_names_of_inputs_make_no_line() -> None:
    """The name of an input is on the line of the error, with its line end escaped."""
    inputs = (tensor("x\nerror: forged", "b", 28, 28), tensor("x2", "b", 28, 28))
    made = [helper.make_node("RandomNormal", [], ["y"], shape=[1, 10])]
    with pytest.raises(ModelError, match=r"got x\\x0aerror: forged tensor") as caught:
        open_classifier(save(Path("m.onnx"), made, inputs, (tensor("y", "b", 10),)))
    assert "\n" not in str(caught.value)


def test_endless_model_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose loop does not end is stopped after its time limit, and the process goes on."""
    monkeypatch.setattr(onnx_session, "RUN_S", 0.0)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Identity", ["v"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            tensor("v", "b", 28, 28),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), tensor("next", "b", 28, 28)],
    )
    for_ever = onnx.numpy_helper.from_array(np.array(2**62), "n")
    nodes = [
        helper.make_node("Constant", [], ["n"], value=for_ever),
        helper.make_node("Loop", ["n", "", "x"], ["v_end"], body=body),
        *classifier_nodes(),
    ]
    nodes[2].input[0] = "v_end"
    endless = open_classifier(save(Path("m.onnx"), nodes))
    image = Images(["a"], np.asarray(Image.open("1.png"))[np.newaxis], True)
    with pytest.raises(ModelError, match="stopped after 1 s"):
        list(endless.predict([image], raw=True))
    quick = open_classifier(save(Path("other.onnx")))
    assert len(next(quick.predict([image], raw=True))) == 1


@pytest.mark.parametrize(
    ("external", "is_read"),
    [("w.bin", True), ("../up.bin", False), ("link.bin", False), ("{work}/up.bin", False), ("cwd.bin", False)],
)
def test_external_data(work: Path, external: str, is_read: bool) -> None:
    """Data outside of the model's file are read from the model's folder alone, not from the current folder."""
    model = save(work / "model" / "m.onnx", external=external.format(work=work))
    for file in ("up.bin", "cwd.bin", "w.bin" if not is_read else "other.bin", "model/w.bin"):
        (work / file).write_bytes(WEIGHTS.tobytes())
    (work / "model" / "link.bin").symlink_to(work / "up.bin")
    if is_read:
        open_classifier(model)
    else:
        with pytest.raises(ModelError, match="is not a valid ONNX model"):
            open_classifier(model)


def test_output_of_another_shape_than_declared() -> None:
    """A model that gives other values than it declares is refused, not an error of indices."""
    model = save(Path("m.onnx"), outputs=[tensor("y", "b", 3)])
    image = Images(["a"], np.asarray(Image.open("1.png"))[np.newaxis], True)
    with pytest.raises(ModelError, match=r"declares|is not a"):
        list(open_classifier(model).predict([image], raw=True))
