"""Makes mutants of a module: its source with one decision changed, by the operators of mutmut and some more."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.pragma_handling import IgnoredCode

OTHER_CALL = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """A changed copy of a module.

    Attributes:
        function: the function or method with the change, as `Scheduler.finish`; empty for one outside of functions.
        was: the changed lines before, without indentation.
        now: the changed lines after.
        line: the number of the first changed line.
        source: the whole module after the change.
    """

    function: str
    was: str
    now: str
    line: int
    source: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.function or 'the module'}\n  - {self.was}\n  + {self.now}"


def mutants(source: str) -> list[Mutant]:
    """Returns the mutants of a module's functions and constants, in the order of its lines.

    The fields of classes have none: classes are created once, when the module is imported.
    """
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor(OPERATORS, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    owners = _owners(module)
    made = {}
    for mutation in visitor.mutations:
        line = positions[mutation.original_node].start.line
        function = _owner(owners, line, positions)
        if function is None:
            continue
        changed = module.deep_replace(mutation.original_node, mutation.mutated_node)
        text = changed.code if isinstance(changed, cst.Module) else source
        if text != source:
            was, now = _difference(source, text)
            made[text] = Mutant(function, was, now, line, text)
    return sorted(made.values(), key=lambda mutant: mutant.line)


class _Visitor(MutationVisitor):  # type: ignore[misc]  # mutmut's types are not followed
    """mutmut's visitor; this one looks into decorated functions too, since the mutants need no copies of them."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            return False
        return bool(super()._skip_node_and_children(node))


def _owners(module: cst.Module) -> list[tuple[str | None, cst.CSTNode]]:
    """Returns the functions of a module and the methods of its classes with their names, and the classes with None."""
    owners: list[tuple[str | None, cst.CSTNode]] = []
    for node in module.body:
        if isinstance(node, cst.FunctionDef):
            owners.append((node.name.value, node))
        elif isinstance(node, cst.ClassDef):
            methods = [item for item in node.body.body if isinstance(item, cst.FunctionDef)]
            owners += [(f"{node.name.value}.{method.name.value}", method) for method in methods]
            owners.append((None, node))
    return owners


def _owner(owners: list[tuple[str | None, cst.CSTNode]], line: int, positions: Any) -> str | None:
    """Returns the function of a line; empty outside of functions and classes, None in the body of a class."""
    spans = ((name, positions[node]) for name, node in owners)
    return next((name for name, span in spans if span.start.line <= line <= span.end.line), "")


def _difference(old: str, new: str) -> tuple[str, str]:
    """Returns the lines between those with which both texts begin and end."""
    one, other = ([line.strip() for line in text.splitlines()] for text in (old, new))
    start = next((number for number, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return " ".join(one[start : len(one) - end]), " ".join(other[start : len(other) - end])


def _other_call(node: cst.Call) -> Iterator[cst.Call]:
    """`any` in the place of `all`, `min` in the place of `max`, and the other way round."""
    if isinstance(node.func, cst.Name) and node.func.value in OTHER_CALL:
        yield node.with_changes(func=cst.Name(OTHER_CALL[node.func.value]))


def _one_operand(node: cst.BooleanOperation) -> Iterator[cst.BaseExpression]:
    """`a` and `b` in the place of `a and b`: the other half of the condition is missing."""
    yield from (node.left, node.right)


def _left_operand(node: cst.BinaryOperation) -> Iterator[cst.BaseExpression]:
    """`a` in the place of `a - b` and `a | b`, as of sets and mappings."""
    if isinstance(node.operator, cst.Subtract | cst.BitOr | cst.BitAnd):
        yield node.left


def _condition(node: cst.If | cst.CompIf) -> Iterator[cst.CSTNode]:
    """A condition that always holds, and one that never holds."""
    yield from (node.with_changes(test=cst.Name(value)) for value in ("True", "False"))


def _no_call(node: cst.Expr) -> Iterator[cst.Expr]:
    """A statement that calls something, left out."""
    if isinstance(node.value, cst.Call):
        yield node.with_changes(value=cst.Name("None"))


def _swap(node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    return () if isinstance(node, cst.BooleanOperation) else mutators.operator_swap_op(node)


# Not those that change texts and arguments: texts are not decisions, and the mutants would be three times as many.
OPERATORS: Any = [
    (cst.BaseNumber, mutators.operator_number),
    (cst.Name, mutators.operator_name),
    (cst.AugAssign, mutators.operator_augmented_assignment),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.IfExp, mutators.operator_if_exp),
    (cst.Match, mutators.operator_match),
    (cst.CSTNode, mutators.operator_keywords),
    (cst.CSTNode, _swap),
    (cst.Call, _other_call),
    (cst.BooleanOperation, _one_operand),
    (cst.BinaryOperation, _left_operand),
    (cst.If, _condition),
    (cst.CompIf, _condition),
    (cst.Expr, _no_call),
]
