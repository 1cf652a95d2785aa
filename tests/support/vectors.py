"""A small model of vectors."""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def write_vector_model(path: Path, weights: NDArray[np.float64] | None = None) -> None:
    """Writes a model softmax(x @ weights) of vectors, or the regression x @ weights of one column; three numbers."""
    path.parent.mkdir(parents=True)
    weights = np.eye(3) if weights is None else weights
    width = weights.shape[1]
    sizes = (("x", len(weights)), ("y", width))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y" if width == 1 else "logits"])]
    nodes += [helper.make_node("Softmax", ["logits"], ["y"], axis=1)] if width > 1 else []
    tensor = numpy_helper.from_array(weights.astype(np.float32), "w")
    graph = helper.make_graph(nodes, "large", ports[:1], ports[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    task = {"inkflow.task": json.dumps({"kind": "regression"})} if width == 1 else {}
    helper.set_model_props(model, {"kind": json.dumps("vector")} | task)
    onnx.save(model, path)
