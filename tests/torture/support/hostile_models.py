"""Model files that try to run code, to read files that are not theirs, or to fill the memory."""

import base64
import io
import json
import marshal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]  # comes with Keras
import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from stages.data.memory import bound, share_of_machine
from tests.support.hostile_zip import HUGE, entries_of, zip_of

CODE = {  # entries that name code: they have to be refused where a model is opened
    "a Lambda of code", "a Lambda by registered_name", "os.system as activation", "builtins.exec as activation",
    "a function of keras.utils", "subprocess.Popen as layer", "numpy.load as layer", "a wrapped Torch module",
    "a SavedModel of another folder", "own code that is not there", "own code that climbs out",
    "own code of a like name", "an operator of another domain", "an operator of Python",
}  # fmt: skip
OUTSIDE = {  # entries that name data in a file outside: they have to be refused as well
    "a vocabulary of another file", "a vocabulary of text of another file",
    "weights in another file", "weights behind a link", "weights of a virtual data set",
    "data in an absolute path", "data in the folder above", "data in a longer way up", "data behind a link",
    "data behind a linked folder", "data in a device",
}  # fmt: skip
DEVICE = Path("/dev/full")  # it gives zeros without end, as /dev/zero does, and hardly any program opens it
Config = dict[str, Any]
Keras = Callable[[bytes, Path], bytes]  # from a good file, and the folder of the canaries


def _edited(edit: Callable[[Config, Path], object]) -> Keras:
    """Returns a function that edits the description in a .keras file."""

    def make(good: bytes, outside: Path) -> bytes:
        entries = entries_of(good)
        config = json.loads(entries["config.json"])
        edit(config, outside)
        return zip_of(entries | {"config.json": json.dumps(config).encode()})

    return make


def _layer(config: Config) -> Config:
    """Returns the last layer of the network."""
    layers: list[Config] = config["config"]["layers"]
    return layers[-1]


def _activation(**function: Any) -> Keras:
    """Replaces the activation of the last layer by a function of another module."""
    return _edited(lambda config, _: _layer(config)["config"].update(activation=function))


def _lambda(config: Config, outside: Path) -> None:
    """The layer becomes a Lambda whose code writes a file."""
    code = compile(f"open({str(outside / 'ran')!r}, 'w')", "<lambda>", "exec")
    value = [base64.b64encode(marshal.dumps(code)).decode(), None, None]
    function = {"class_name": "__lambda__", "config": {"value": value}}
    _layer(config).update({"class_name": "Lambda", "config": {"name": "l", "function": function}})


def _class(module: str, name: str, config: Callable[[Path], Config]) -> Keras:
    """Replaces the last layer by an object of another class."""
    return _edited(
        lambda found, outside: _layer(found).update(
            {"module": module, "class_name": name, "registered_name": name, "config": config(outside)}
        )
    )


def _entry(name: str, content: Callable[[Path], bytes]) -> Keras:
    """Adds or replaces a file in the .keras file."""
    return lambda good, outside: zip_of(entries_of(good) | {name: content(outside)})


def _weights(change: Callable[[Any, str, Path], object]) -> Keras:
    """Changes the first array of the weights."""

    def make(good: bytes, outside: Path) -> bytes:
        entries = entries_of(good)
        file = io.BytesIO(entries["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            names: list[str] = []
            weights.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            change(weights, names[0], outside)
        return zip_of(entries | {"model.weights.h5": file.getvalue()})

    return make


def _external(weights: Any, name: str, outside: Path) -> None:
    shape = weights[name].shape
    del weights[name]
    weights.create_dataset(name, shape, "f4", external=[(str(outside / "secret"), 0, h5py.h5f.UNLIMITED)])


def _write_secret(outside: Path, values: Any) -> None:
    with h5py.File(outside / "secret.h5", "w") as file:
        file["secret"] = values


def _linked(weights: Any, name: str, outside: Path) -> None:
    _write_secret(outside, weights[name][...])
    del weights[name]
    weights[name] = h5py.ExternalLink(str(outside / "secret.h5"), "/secret")


def _virtual(weights: Any, name: str, outside: Path) -> None:
    _write_secret(outside, weights[name][...])
    shape = weights[name].shape
    del weights[name]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(outside / "secret.h5"), "secret", shape)
    weights.create_virtual_dataset(name, layout)


def _huge_weights(weights: Any, name: str, _: Path) -> None:
    del weights[name]
    weights.create_dataset(name, (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), fillvalue=1.0)


KERAS: dict[str, Keras] = {
    "a Lambda of code": _edited(_lambda),
    "a Lambda by registered_name": _class("builtins", "Lambda", lambda _: {"function": "os.system"}),
    "os.system as activation": _activation(
        module="os", class_name="function", config="system", registered_name="function"
    ),
    "builtins.exec as activation": _activation(
        module="builtins", class_name="function", config="exec", registered_name="exec"
    ),
    "a function of keras.utils": _activation(
        module="keras.src.utils.file_utils", class_name="function", config="get_file", registered_name="get_file"
    ),
    "subprocess.Popen as layer": _class("subprocess", "Popen", lambda out: {"args": ["touch", str(out / "ran")]}),
    "numpy.load as layer": _class("numpy", "load", lambda out: {"file": str(out / "secret"), "allow_pickle": True}),
    "a wrapped Torch module": _class(
        "keras.layers", "TorchModuleWrapper", lambda out: {"module": "gASVAAAAAA==", "name": "t"}
    ),
    "a vocabulary of another file": _class(
        "keras.layers", "StringLookup", lambda out: {"name": "s", "vocabulary": str(out / "secret")}
    ),
    "a vocabulary of text of another file": _class(
        "keras.layers", "TextVectorization", lambda out: {"name": "s", "vocabulary": str(out / "secret")}
    ),
    "a SavedModel of another folder": _class(
        "keras.layers", "TFSMLayer", lambda out: {"name": "s", "filepath": str(out), "call_endpoint": "serve"}
    ),
    "own code that is not there": _class("custom.absent", "Layer", lambda _: {"name": "s"}),
    "own code that climbs out": _class("custom.....outside.evil", "Layer", lambda _: {"name": "s"}),
    "own code of a like name": _class("customised_evil", "Layer", lambda _: {"name": "s"}),
    "a layer of 10 billion units": _edited(lambda config, _: _layer(config)["config"].update(units=10**10)),
    "a layer of a billion units": _edited(lambda config, _: _layer(config)["config"].update(units=10**9)),
    "negative units": _edited(lambda config, _: _layer(config)["config"].update(units=-3)),
    "no layers": _edited(lambda config, _: config["config"].update(layers=[])),
    "a list as description": _entry("config.json", lambda _: b"[1]"),
    "a text as description": _entry("config.json", lambda _: b'"keras"'),
    "nothing as description": _entry("config.json", lambda _: b"null"),
    "a description that is no UTF-8": _entry("config.json", lambda _: b"\xff\xfe{}"),
    "a description nested deep": _entry("config.json", lambda _: b"[" * 200_000),
    "a description that is a bomb": _entry("config.json", lambda _: b" " * HUGE),
    "weights that are a bomb": _entry("model.weights.h5", lambda _: bytes(HUGE)),
    "weights that are no HDF5": _entry("model.weights.h5", lambda _: b"no weights"),
    "weights in another file": _weights(_external),
    "weights behind a link": _weights(_linked),
    "weights of a virtual data set": _weights(_virtual),
    "weights of 4 TB": _weights(_huge_weights),
    "an asset that climbs out": _entry("../../outside/ran", lambda _: b"x"),
    "an asset of an absolute path": lambda good, out: zip_of(entries_of(good) | {str(out / "ran"): b"x"}),
    "not a zip file": lambda good, _: b"no model",
    "half a file": lambda good, _: good[: len(good) // 2],
    "an empty file": lambda good, _: b"",
}


def _tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _classifier(head: list[onnx.NodeProto], *weights: onnx.TensorProto, domain: str = "") -> bytes:
    """Returns a model from x (b, 28, 28) to y (b, 10); `head` gives the tensor z, one number that is added."""
    nodes = [
        *head,
        helper.make_node("Flatten", ["x"], ["row"]),
        helper.make_node("MatMul", ["row", "w"], ["product"]),
        helper.make_node("Add", ["product", "z"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    own = [] if any(tensor.name == "w" for tensor in weights) else [_array("w", np.zeros((784, 10), np.float32))]
    graph = helper.make_graph(nodes, "g", [_tensor("x", "b", 28, 28)], [_tensor("y", "b", 10)], [*own, *weights])
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model: bytes = helper.make_model(graph, opset_imports=domains, ir_version=9).SerializeToString()
    return model


def _array(name: str, values: Any) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def _filled(*shape: int, from_input: bool = False) -> bytes:
    """A tensor of this shape, which is made where the model is opened, or where it runs."""
    sizes, place, head = _array("sizes", np.array(shape, np.int64)), "sizes", []
    if from_input:  # so that no optimiser can compute it
        place = "scaled"
        head = [helper.make_node("Shape", ["x"], ["count"], start=0, end=1)]
        head.append(helper.make_node("Mul", ["count", "sizes"], ["scaled"]))
    head.append(helper.make_node("ConstantOfShape", [place], ["huge"]))
    head.append(helper.make_node("ReduceMax", ["huge"], ["z"], keepdims=0))
    return _classifier(head, sizes)


def stored_elsewhere(location: str) -> Callable[[Path], bytes]:
    """Returns a function that makes a model whose weights are in another file; {outside} is the canaries' folder."""

    def make(outside: Path) -> bytes:
        weights = _array("w", np.zeros((784, 10), np.float32))
        set_external_data(weights, location.format(outside=outside))
        weights.ClearField("raw_data")
        return _classifier([], weights, _array("z", np.float32(0)))

    return make


def _lying_weights(_: Path) -> bytes:
    weights = _array("w", np.zeros((1, 10), np.float32))
    del weights.dims[:]
    weights.dims.extend([1 << 40, 1 << 20])
    return _classifier([], weights, _array("z", np.float32(0)))


def _other_shape(*shape: int | str) -> Callable[[Path], bytes]:
    def make(_: Path) -> bytes:
        nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Softmax", ["f"], ["y"])]
        graph = helper.make_graph(nodes, "g", [_tensor("x", *shape)], [_tensor("y", "b", 10)])
        model: bytes = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
        ).SerializeToString()
        return model

    return make


ONNX: dict[str, Callable[[Path], bytes]] = {
    "data in an absolute path": stored_elsewhere("{outside}/secret"),
    "data in the folder above": stored_elsewhere("../../../outside/secret"),
    "data in a longer way up": stored_elsewhere("a/../../../../outside/secret"),
    "data behind a link": stored_elsewhere("link"),
    "data behind a linked folder": stored_elsewhere("folder/secret"),
    "data in a device": stored_elsewhere(str(DEVICE)),
    "an operator of another domain": lambda _: _classifier(
        [helper.make_node("Run", ["x"], ["z"], domain="evil")], domain="evil"
    ),
    "an operator of Python": lambda _: _classifier(
        [helper.make_node("PyOp", ["x"], ["z"], domain="ai.onnx.contrib", code="import os")], domain="ai.onnx.contrib"
    ),
    "a constant of 400 GB": lambda _: _filled(100_000_000_000),
    "a constant of 12 GB": lambda _: _filled(3_000_000_000),
    "400 GB for each image": lambda _: _filled(100_000_000_000, from_input=True),
    "little more than the bound for each image": lambda _: _filled(
        bound(share_of_machine()) // 32 * 9, from_input=True
    ),
    "weights that say they are larger": _lying_weights,
    "another shape": _other_shape("b", 7, 7, 5),
    "a fixed batch": _other_shape(1, 28, 28),
    "a huge shape": _other_shape("b", 1 << 30, 1 << 30),
    "a negative shape": _other_shape("b", -28, 28),
    "no shape": _other_shape(),
    "no model": lambda _: b"no model",
    "nothing": lambda _: b"",
}
