"""Sizes that may differ: numbers that remember how they are computed, while a function is traced for any sizes.

Arithmetic on symbols gives symbols. Whatever looks at the number itself, a comparison or a conversion, is noted as a
*guard*: what was recorded holds for those sizes for which the guards come out the same.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arrax.graph.node import Shape


def _broadcast(a: int, b: int) -> int:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    raise ValueError(f"[broadcast_shapes] expected sizes that broadcast, got {a} and {b}")


_LARGEST = 1 << 62


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > 256:
        raise ValueError(f"[size] expected numbers of 64 bits, got {base} to the power of {exponent}")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError(f"[size] expected a real number, got {base} to the power of {exponent}")
    return result


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv,
    "mod": operator.mod, "truediv": operator.truediv, "pow": _power, "neg": operator.neg, "abs": abs,
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "bool": bool, "broadcast": _broadcast,
}  # fmt: skip
OPERANDS = {"neg": 1, "abs": 1, "bool": 1}  # of those that do not have two
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "floordiv": 1}
_REFLECTED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


class _Active:
    traces = 0  # in all threads together: where there is none, nothing needs to be looked at


active = _Active()


@dataclass(eq=False)
class Rules:
    """Numbers that are computed from the sizes of arguments, and what must hold for these.

    Attributes:
        table: how each is computed: an operation and its operands, which are positions in the table as one-element
            tuples, or numbers. The first ones are the arguments' sizes.
        guards: the positions of those that must have certain values, with these.
    """

    table: list[tuple] = field(default_factory=list)
    guards: dict[int, Any] = field(default_factory=dict)

    def values(self, shapes: Sequence[Shape]) -> list[Any] | None:
        """All numbers for some sizes; None where the guards do not hold, or one of them does not exist."""
        found: list[Any] = [n for shape in shapes for n in shape]
        try:
            for name, *operands in self.table[len(found) :]:
                number = OPERATIONS[name](*[found[x[0]] if type(x) is tuple else x for x in operands])
                if abs(number) > _LARGEST:
                    return None
                found.append(number)
        except (ValueError, ArithmeticError):
            return None
        return found if all(found[i] == value for i, value in self.guards.items()) else None


class Symbols(Rules):
    """The symbols of one trace, in the order in which they arise: the rules by which they are computed.

    Args:
        shapes: of the arguments.
        visible: whether the traced program sees symbols as well; it sees numbers else.
    """

    def __init__(self, shapes: Sequence[Shape], *, visible: bool = False) -> None:
        super().__init__()
        self.is_open = True
        self.visible = visible
        self._known: dict[tuple, Symbol] = {}
        self.shapes = [tuple([self._append(("size",), n) for n in shape]) for shape in shapes]

    def __enter__(self) -> Symbols:
        active.traces += 1
        return self

    def __exit__(self, *_: object) -> None:
        active.traces -= 1
        self.is_open = False
        self._known.clear()
        self.shapes = []  # symbols refer to this: no cycles are left behind

    def _append(self, entry: tuple, value: Any) -> Symbol:
        self.table.append(entry)
        return Symbol(self, len(self.table) - 1, value)

    def record(self, name: str, *operands: Any) -> Any:
        """The result of an operation; the same symbol for the same operands."""
        values = [x.value if type(x) is Symbol else x for x in operands]
        value = OPERATIONS[name](*values)
        if not self.is_open:
            return value
        entry = (name, *[(x.position,) if type(x) is Symbol else x for x in operands])
        key = (*entry, *map(type, entry))  # 1, 1.0 and True are others
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._append(entry, value)
        return found

    def guard(self, symbol: Symbol) -> Any:
        """The value, now that it has been looked at."""
        if self.is_open:
            self.guards[symbol.position] = symbol.value
        return symbol.value


class Symbol:
    """A number that depends on the sizes of a trace's arguments.

    Attributes:
        value: what it is for the sizes of the trace.
    """

    __slots__ = ("position", "symbols", "value")

    def __init__(self, symbols: Symbols, position: int, value: Any) -> None:
        self.symbols = symbols
        self.position = position
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __hash__(self) -> int:
        return hash(self.symbols.guard(self))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.symbols.guard(self), name)


def _look(convert: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Symbol, *args: Any) -> Any:
        return convert(self.symbols.guard(self), *args)

    return method


def _binary(name: str, swap: bool) -> Callable[..., Any]:
    neutral = _NEUTRAL.get(name)

    def method(self: Symbol, other: Any) -> Any:
        if type(other) is not Symbol:
            if type(other) is not int and type(other) is not float:
                return NotImplemented
            if type(other) is int and other == neutral and not (swap and name in ("sub", "floordiv")):
                return self
        return self.symbols.record(name, *((other, self) if swap else (self, other)))

    return method


def _comparison(name: str) -> Callable[..., Any]:
    def method(self: Symbol, other: Any) -> Any:
        if other is self:
            return OPERATIONS[name](0, 0)
        if type(other) is not Symbol and not isinstance(other, int | float):
            return NotImplemented
        found = self.symbols.record(name, self, other)
        return found if type(found) is bool else found.symbols.guard(found)

    return method


def _swapped(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: f(b, a)


def _install() -> None:
    for name in ("add", "sub", "mul", "floordiv", "mod", "truediv", "pow"):
        setattr(Symbol, f"__{name}__", _binary(name, False))
        setattr(Symbol, f"__r{name}__", _binary(name, True))
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(Symbol, f"__{name}__", _comparison(name))
    for name in ("and", "or", "xor", "lshift", "rshift", "divmod"):
        f: Any = divmod if name == "divmod" else getattr(operator, f"__{name}__")
        setattr(Symbol, f"__{name}__", _look(f))
        setattr(Symbol, f"__r{name}__", _look(_swapped(f)))
    for name, convert in (
        ("index", int),
        ("int", int),
        ("float", float),
        ("round", round),
        ("invert", operator.invert),
    ):
        setattr(Symbol, f"__{name}__", _look(convert))
    for name in ("neg", "abs"):
        setattr(Symbol, f"__{name}__", lambda self, name=name: self.symbols.record(name, self))
    Symbol.__bool__ = lambda self: _truth(self.symbols.record("bool", self))  # type: ignore[attr-defined]


def _truth(found: Any) -> bool:
    return found if type(found) is bool else found.symbols.guard(found)


_install()


def index(value: Any) -> Any:
    """``operator.index`` that leaves symbols what they are."""
    return value if type(value) is Symbol else operator.index(value)


def same(a: Shape, b: Shape) -> bool:
    """Whether two shapes are equal for all sizes; for shapes of numbers, whether they are equal."""
    if not active.traces:
        return a == b
    return len(a) == len(b) and all(
        m is n or (not isinstance(m, Symbol) and not isinstance(n, Symbol) and m == n)
        for m, n in zip(a, b, strict=True)
    )


def broadcast(m: Any, n: Any) -> Any:
    """The common size of two axes. Raises ValueError where there is none."""
    if m is n or (type(n) is int and n == 1):
        return m
    if type(m) is int and m == 1:
        return n
    symbol = m if type(m) is Symbol else n
    return symbol.symbols.record("broadcast", m, n) if type(symbol) is Symbol else _broadcast(m, n)


def shown(value: Any) -> Any:
    """A shape, or a size, as the program that is traced sees it. The library itself sees symbols."""
    if str(sys._getframe(2).f_globals.get("__name__")).startswith("arrax.core"):
        return value
    return tuple([concrete(n) for n in value]) if isinstance(value, tuple) else concrete(value)


def concrete(value: Any) -> Any:
    """A number for a symbol that the traced program does not see."""
    return value.value if type(value) is Symbol and not value.symbols.visible else value
