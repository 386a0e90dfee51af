"""What must hold between the values of a trial: ``training.batch_size * training.steps <= 20000``.

Judged here and not by a package: what counts as a path, as unknown and as not applicable is this project's,
and the few lines that are left admit nothing but what they list.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from shapeft_tune.config.fields import MISSING, known_fields, look_up, near, tag_of, values_in
from shapeft_tune.config.problems import cut

CALCULATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,  # of floats: ends at once, however large the numbers
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}
ALLOWED = (
    "a comparison of dotted paths and numbers with + - * / // % **, min, max, abs, and, or, not, such as"
    " training.optimiser.lr * 100 <= training.optimiser.weight_decay"
)
MOST_CHARACTERS = 1000
MOST_LEVELS = 50
"""Of brackets, signs and sums within one another."""


class BadConstraint(ValueError):
    """A text that is no constraint: ``expected``, ``got``, and what to do."""

    def __init__(self, expected: str, got: str, hint: str = "") -> None:
        self.expected, self.got, self.hint = expected, got, hint
        super().__init__(f"expected {expected}; got {got}")


class _Inapplicable(Exception):
    """A field is not there, or has no number, in the trial that is judged."""


class Constraint:
    """One expression over a trial.

    It counts as kept where it does not apply: a field that it names is not there, as the rate of an encoder
    that is frozen, or has no number, as ``gradient_clip: null``. It is not kept where it cannot be computed,
    as a division by zero.

    Raises:
        BadConstraint: the text is no comparison, names a field that no trial has, compares what can never be
            compared, or is far too long.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MOST_CHARACTERS:
            raise BadConstraint(f"at most {MOST_CHARACTERS} characters", str(len(text)), "make two of it")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise BadConstraint(ALLOWED, cut(repr(text))) from error
        if _levels(self._tree) > MOST_LEVELS:
            raise BadConstraint(f"at most {MOST_LEVELS} levels of brackets, signs and sums", cut(text))
        if not _is_statement(self._tree):
            raise BadConstraint(ALLOWED, cut(repr(text)), "compare it with something")
        self.paths = tuple(dict.fromkeys(_paths(self._tree)))
        for path in self.paths:
            if path not in known_fields():
                raise BadConstraint("fields that trials have", cut(path), near(path))
        _refuse_vain_comparisons(self._tree)

    def holds(self, trial: Mapping[str, Any]) -> bool:
        """Whether a trial, or the draft of one, keeps it; defaults count."""
        try:
            return bool(_evaluated(self._tree, trial))
        except _Inapplicable:
            return True
        except (ArithmeticError, ValueError):  # math.pow of a negative number is a ValueError
            return False


@cache
def constraint(text: str) -> Constraint:
    """Return the constraint that a text stands for, read once."""
    return Constraint(text)


def _levels(tree: ast.AST) -> int:
    """Return how many levels an expression has; counted without recursion, which a deep one would end."""
    level, count = [tree], 0
    while level:
        level, count = [part for node in level for part in ast.iter_child_nodes(node)], count + 1
    return count


def _is_statement(node: ast.AST) -> bool:
    match node:
        case ast.Compare():
            return True
        case ast.BoolOp(values=values):
            return all(map(_is_statement, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is_statement(operand)
    return False


def _paths(node: ast.AST) -> list[str]:
    """Return the dotted paths of an expression; raises BadConstraint at what it must not have."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return []
        case ast.Name() | ast.Attribute():
            return [_path(node)]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS and args:
            return [path for each in args for path in _paths(each)]
        case ast.BinOp(op=op) | ast.UnaryOp(op=op) if type(op) in CALCULATIONS or isinstance(op, ast.Not):
            return _paths_inside(node)
        case ast.Compare(ops=ops) if all(type(op) in COMPARISONS for op in ops):
            return _paths_inside(node)
        case ast.BoolOp():
            return _paths_inside(node)
    raise BadConstraint(ALLOWED, cut(ast.unparse(node)))


def _paths_inside(node: ast.AST) -> list[str]:
    parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    return [path for part in parts for path in _paths(part)]


def _path(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=key):
            return f"{_path(value)}.{key}"
    raise BadConstraint(ALLOWED, cut(ast.unparse(node)))


def _refuse_vain_comparisons(tree: ast.AST) -> None:
    """Raise BadConstraint for what is the same in every trial, or never applies to one."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, ops=ops, comparators=others):
                if not _paths(node):
                    raise BadConstraint(
                        "a field on one side of a comparison at least", cut(ast.unparse(node))
                    )
                for one, op, other in zip([left, *others], ops, others, strict=False):
                    _refuse_unlike(one, op, other)
            case ast.BinOp(left=left, right=right):
                _refuse_unless_numbers(left, right)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                _refuse_unless_numbers(operand)
            case ast.Call(args=args):
                _refuse_unless_numbers(*args)


def _refuse_unlike(one: ast.expr, op: ast.cmpop, other: ast.expr) -> None:
    if not isinstance(op, ast.Eq | ast.NotEq):
        _refuse_unless_numbers(one, other)
    elif _kinds(one).isdisjoint(_kinds(other)):
        expected = f"values of one kind beside {'==' if isinstance(op, ast.Eq) else '!='}"
        raise BadConstraint(expected, " and ".join(map(_described, (one, other))))


def _refuse_unless_numbers(*nodes: ast.expr) -> None:
    for node in nodes:
        if "number" not in _kinds(node):
            hint = "other values may stand beside == and != only"
            raise BadConstraint("numbers in calculations, <, <=, > and >=", _described(node), hint)


def _described(node: ast.expr) -> str:
    return f"{cut(ast.unparse(node))} ({' or '.join(sorted(_kinds(node)))})"


def _kinds(node: ast.expr) -> frozenset[str]:
    """Return what an operand may be: number, text, truth, null, or anything else."""
    match node:
        case ast.Constant(value=value):
            return values_in(type(value))
        case ast.Name() | ast.Attribute():
            fields = known_fields()[_path(node)]
            return frozenset(kind for field in fields for kind in values_in(field.annotation))
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return values_in(bool)
    return values_in(float)


def _evaluated(node: ast.AST, trial: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            value = tag_of(look_up(trial, _path(node)))
            if value is MISSING:
                raise _Inapplicable
            return value
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_number(each, trial) for each in args))
        case ast.BinOp(left=left, op=op, right=right):
            return CALCULATIONS[type(op)](_number(left, trial), _number(right, trial))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluated(operand, trial)
        case ast.UnaryOp(op=op, operand=operand):
            return CALCULATIONS[type(op)](_number(operand, trial))
        case ast.BoolOp(op=op, values=values):
            # One after the other: what stands after an `or` that holds need not apply.
            parts = (bool(_evaluated(each, trial)) for each in values)
            return all(parts) if isinstance(op, ast.And) else any(parts)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared([left, *others], ops, trial)
    raise AssertionError("what cannot be evaluated was refused before")


def _compared(parts: list[ast.expr], ops: list[ast.cmpop], trial: Mapping[str, Any]) -> bool:
    for left, op, right in zip(parts, ops, parts[1:], strict=False):
        value_of = _evaluated if isinstance(op, ast.Eq | ast.NotEq) else _number
        if not COMPARISONS[type(op)](value_of(left, trial), value_of(right, trial)):
            return False
    return True


def _number(node: ast.AST, trial: Mapping[str, Any]) -> float:
    value = _evaluated(node, trial)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Inapplicable
    return value
