"""ONNX models that are the same bytes when they compute the same: order and names from the structure alone."""

import itertools
from collections.abc import Iterator, Mapping

import onnx

from stages.model.tasks import METADATA, Task


def canonical_onnx(model: onnx.ModelProto, task: Task, about: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """`model` with its `task` and what else is known `about` it, and names from its structure alone.

    Those of tf2onnx count on in a process.
    """
    graph = model.graph
    names = {"": "", graph.input[0].name: "pixels", graph.output[0].name: task.output}
    _sort(graph)
    onnx.helper.set_model_props(model, {METADATA: task.to_json(), **(about or {})})
    graph.name, graph.doc_string = "inkflow", ""
    _rename(graph, names, itertools.count())
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _sort(graph: onnx.GraphProto) -> None:
    """Bring nodes into the order in which the outputs need them; tf2onnx orders by names that count on."""
    for node in graph.node:
        for inner in _inner_graphs(node):
            _sort(inner)
    _settle_copies(graph)
    makers = {value: number for number, node in enumerate(graph.node) for value in node.output}
    needs = [[makers[value] for value in _taken(node) if value in makers] for node in graph.node]
    order: dict[int, None] = {}
    waiting = [makers[value.name] for value in reversed(graph.output) if value.name in makers]
    while waiting:
        needed = [number for number in needs[waiting[-1]] if number not in order]
        if needed:
            waiting += reversed(needed)
        else:
            order.setdefault(waiting.pop())
    nodes = [graph.node[number] for number in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _settle_copies(graph: onnx.GraphProto) -> None:
    """Where a value and its copy are both outputs, put the value first and let nothing else read the copy.

    Which of the two counters of a loop is the copy changes from export to export; they are equal.
    """
    places = {value.name: place for place, value in enumerate(graph.output)}
    for copy in graph.node:
        if copy.op_type != "Identity" or copy.input[0] not in places or copy.output[0] not in places:
            continue
        original, twin = copy.input[0], copy.output[0]
        first, second = sorted((places[original], places[twin]))
        graph.output[first].name, graph.output[second].name = original, twin
        for node in graph.node:
            for place, value in enumerate(node.input):
                if value == twin:
                    node.input[place] = original


def _taken(node: onnx.NodeProto) -> Iterator[str]:
    """Values that a node takes, those that its inner graphs take from outside too."""
    yield from node.input
    for graph in _inner_graphs(node):
        for inner in graph.node:
            yield from _taken(inner)
        yield from (value.name for value in graph.output)


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def _rename(graph: onnx.GraphProto, names: dict[str, str], numbers: Iterator[int]) -> None:
    """Number nodes and values in the order of computation, those of inner graphs too."""
    for node in graph.node:
        node.name = f"{node.op_type}_{next(numbers)}"
        node.doc_string = ""
        if not node.domain:
            node.ClearField("domain")  # said or unsaid, it is ONNX's own
        for place, value in enumerate(node.input):
            node.input[place] = names.setdefault(value, f"{node.name}_input_{place}")
        for place, inner in enumerate(_inner_graphs(node)):
            inner.name = f"{node.name}_graph_{place}"
            _rename(inner, names, numbers)
        for place, value in enumerate(node.output):
            node.output[place] = names.setdefault(value, f"{node.name}_output_{place}")
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.setdefault(value.name, f"unused_{len(names)}")
    for value in (*graph.input, *graph.output):
        for side in value.type.tensor_type.shape.dim:
            if side.HasField("dim_param"):  # a size that is open, under a name with a number
                side.ClearField("dim_param")
    graph.initializer.sort(key=lambda value: value.name)
    del graph.value_info[:]
