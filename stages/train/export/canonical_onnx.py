"""Canonical ONNX models: order and names depend on the graph's structure alone, so equal models have equal bytes."""

import itertools
from collections.abc import Iterator, Mapping

import onnx

from stages.model.doubt import UNLIKENESS
from stages.model.tasks import METADATA, Task


def canonical_onnx(
    model: onnx.ModelProto, task: Task, metadata: Mapping[str, str] | None = None, input_name: str = "pixels"
) -> onnx.ModelProto:
    """Changes `model` in place: canonical order and names, and its `task` and `metadata` as properties.

    The names of tf2onnx contain a counter that runs through the whole process.
    """
    graph = model.graph
    outputs = zip((value.name for value in graph.output), (task.output, UNLIKENESS), strict=False)
    names = {"": "", graph.input[0].name: input_name, **dict(outputs)}
    _sort_nodes(graph)
    onnx.helper.set_model_props(model, {METADATA: task.to_json(), **(metadata or {})})
    graph.name, graph.doc_string = "inkflow", ""
    _rename(graph, names, itertools.count())
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _sort_nodes(graph: onnx.GraphProto) -> None:
    """Sorts the nodes in the order in which the outputs need them, and removes unused ones.

    The order of tf2onnx depends on its names.
    """
    for node in graph.node:
        for inner in _inner_graphs(node):
            _sort_nodes(inner)
    _order_copied_outputs(graph)
    producers = {value: number for number, node in enumerate(graph.node) for value in node.output}
    inputs = [[producers[value] for value in _values_read(node) if value in producers] for node in graph.node]
    order: dict[int, None] = {}
    pending = [producers[value.name] for value in reversed(graph.output) if value.name in producers]
    while pending:
        missing = [number for number in inputs[pending[-1]] if number not in order]
        if missing:
            pending += reversed(missing)
        else:
            order.setdefault(pending.pop())
    nodes = [graph.node[number] for number in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _order_copied_outputs(graph: onnx.GraphProto) -> None:
    """Where a value and its copy are both outputs, puts the value first and lets no node read the copy.

    A loop has two equal counters; which of them tf2onnx makes the copy changes from export to export.
    """
    positions = {value.name: position for position, value in enumerate(graph.output)}
    for identity in graph.node:
        if identity.op_type != "Identity" or not {identity.input[0], identity.output[0]} <= positions.keys():
            continue
        original, copy = identity.input[0], identity.output[0]
        first, second = sorted((positions[original], positions[copy]))
        graph.output[first].name, graph.output[second].name = original, copy
        for node in graph.node:
            for position, value in enumerate(node.input):
                if value == copy:
                    node.input[position] = original


def _values_read(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the values that a node reads, including those that its inner graphs read from outside."""
    yield from node.input
    for graph in _inner_graphs(node):
        for inner in graph.node:
            yield from _values_read(inner)
        yield from (value.name for value in graph.output)


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def _rename(graph: onnx.GraphProto, names: dict[str, str], numbers: Iterator[int]) -> None:
    """Numbers nodes and values in the order of computation, including those of inner graphs."""
    for node in graph.node:
        node.name = f"{node.op_type}_{next(numbers)}"
        node.doc_string = ""
        if not node.domain:
            node.ClearField("domain")  # an explicit empty domain and none both mean ONNX's own
        for position, value in enumerate(node.input):
            node.input[position] = names.setdefault(value, f"{node.name}_input_{position}")
        for position, inner in enumerate(_inner_graphs(node)):
            inner.name = f"{node.name}_graph_{position}"
            _rename(inner, names, numbers)
        for position, value in enumerate(node.output):
            node.output[position] = names.setdefault(value, f"{node.name}_output_{position}")
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.setdefault(value.name, f"unused_{len(names)}")
    for value in (*graph.input, *graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_param"):  # an open size, whose name contains a counter
                dimension.ClearField("dim_param")
    graph.initializer.sort(key=lambda value: value.name)
    del graph.value_info[:]
