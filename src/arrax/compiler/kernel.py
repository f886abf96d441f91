"""The kernel IR: what one kernel computes, neutral of the machine that runs it.

    kernel    := name, arguments, body
    body      := statement*
    statement := Store(buffer, index, value)              buffer[index] = value
               | Update(register, value)                  register = combine(register, value)
               | Reset(register)                          register = its initial value
               | Loop(var, begin, end, kind, body)        kind: parallel | serial | tile | vector
    value     := Const | Arg | Scalar | Var | Register read | Load | operation(value, ...)

Values are pure expressions that share sub-expressions (a DAG) and have no place of their own: a value is computed in
the outermost loop where everything that it needs is known. A ``vector`` loop may run its iterations in any order and
several at once; registers that are updated inside it are combined over its lanes when it ends. ``parallel`` loops are
spread over threads; they are outermost. A ``tile`` loop is a serial one of at most ``step`` iterations inside a vector
loop of ``step`` lanes: what is contiguous along it, and not along the vector loop, is read as whole rows and
transposed.

Semantics of operations: integers wrap; a shift by the width or more gives 0 (or the sign); division by zero gives 0 for
integers; float comparisons are false for NaN but ``ne``; ``min``/``max`` return the second operand where one is NaN;
``fma`` rounds once; ``cast`` from float to integer truncates, and wraps around as ``dtypes.integers_of`` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype

INDEX = dtypes.int64

UNARY = ("neg", "abs", "floor", "ceil", "rint", "trunc", "sqrt", "not", "cast", "bitcast")
BINARY = (
    "add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor", "shl", "shr", "copysign",
    "eq", "ne", "lt", "le", "gt", "ge",
)  # fmt: skip
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
TERNARY = ("fma", "select")
LEAVES = ("const", "arg", "scalar", "var", "reg", "load")
ARITY = dict.fromkeys(UNARY, 1) | dict.fromkeys(BINARY, 2) | dict.fromkeys(TERNARY, 3)


class Value:
    """One expression of the kernel IR: an operation, its operands, its element type."""

    __slots__ = ("_byte", "_wide", "args", "attr", "dtype", "op")

    def __init__(self, op: str, args: tuple[Value, ...], dtype: Dtype, attr: Any = None) -> None:
        self.op = op
        self.args = args
        self.dtype = dtype
        self.attr = attr
        self._wide: Value | None = None
        self._byte: Value | None = None

    @property
    def wide(self) -> Value:
        """The value in the type that arithmetic on it is done in: itself, or half precision widened, once for all."""
        if self.dtype.compute is self.dtype:
            return self
        if self._wide is None:
            self._wide = Value("cast", (self,), self.dtype.compute)
        return self._wide

    @property
    def byte(self) -> Value:
        """A boolean as it is in memory: the byte that it was read from, if it was, or else 0 or 1."""
        if self._byte is None:
            self._byte = Value("cast", (self,), dtypes.uint8)
        return self._byte

    def _with(self, other: Value | float) -> Value:
        return other if isinstance(other, Value) else const(other, self.dtype)

    def __add__(self, other: Value | float) -> Value:
        return Value("add", (self, self._with(other)), self.dtype)

    def __radd__(self, other: float) -> Value:
        return Value("add", (self._with(other), self), self.dtype)

    def __sub__(self, other: Value | float) -> Value:
        return Value("sub", (self, self._with(other)), self.dtype)

    def __rsub__(self, other: float) -> Value:
        return Value("sub", (self._with(other), self), self.dtype)

    def __mul__(self, other: Value | float) -> Value:
        return Value("mul", (self, self._with(other)), self.dtype)

    def __rmul__(self, other: float) -> Value:
        return Value("mul", (self._with(other), self), self.dtype)

    def __truediv__(self, other: Value | float) -> Value:
        return Value("div", (self, self._with(other)), self.dtype)

    def __rtruediv__(self, other: float) -> Value:
        return Value("div", (self._with(other), self), self.dtype)

    def __and__(self, other: Value | int) -> Value:
        return Value("and", (self, self._with(other)), self.dtype)

    def __or__(self, other: Value | int) -> Value:
        return Value("or", (self, self._with(other)), self.dtype)

    def __xor__(self, other: Value | int) -> Value:
        return Value("xor", (self, self._with(other)), self.dtype)

    def __lshift__(self, other: Value | int) -> Value:
        return Value("shl", (self, self._with(other)), self.dtype)

    def __rshift__(self, other: Value | int) -> Value:
        return Value("shr", (self, self._with(other)), self.dtype)

    def __neg__(self) -> Value:
        return Value("neg", (self,), self.dtype)

    def __invert__(self) -> Value:
        return Value("not", (self,), self.dtype)

    def __repr__(self) -> str:
        return f"<{self.op} {self.dtype.name}>"


def const(value: Any, dtype: Dtype) -> Value:
    return Value("const", (), dtype, value)


def op(name: str, *args: Value, dtype: Dtype | None = None) -> Value:
    """An operation; comparisons give bool, ``select`` the type of its branches, others the type of their operands."""
    if dtype is None:
        dtype = dtypes.bool_ if name in COMPARE else args[-1].dtype
    return Value(name, args, dtype)


def _compare(name: str, a: Value, b: Value | float) -> Value:
    return Value(name, (a, b if isinstance(b, Value) else const(b, a.dtype)), dtypes.bool_)


def eq(a: Value, b: Value | float) -> Value:
    return _compare("eq", a, b)


def ne(a: Value, b: Value | float) -> Value:
    return _compare("ne", a, b)


def lt(a: Value, b: Value | float) -> Value:
    return _compare("lt", a, b)


def le(a: Value, b: Value | float) -> Value:
    return _compare("le", a, b)


def gt(a: Value, b: Value | float) -> Value:
    return _compare("gt", a, b)


def ge(a: Value, b: Value | float) -> Value:
    return _compare("ge", a, b)


def quotient(a: Value, b: Value) -> Value:
    """a / b of coordinates and sizes: a is not negative, b is positive."""
    return Value("div", (a, b), INDEX, "index")


def remainder(a: Value, b: Value) -> Value:
    """a modulo b of coordinates and sizes: a is not negative, b is positive."""
    return Value("rem", (a, b), INDEX, "index")


def select(condition: Value, a: Value | float, b: Value | float) -> Value:
    if not isinstance(a, Value):
        assert isinstance(b, Value)
        a = const(a, b.dtype)
    if not isinstance(b, Value):
        b = const(b, a.dtype)
    result = Value("select", (condition, a, b), a.dtype)
    if a._byte is not None and b._byte is not None:
        result._byte = select(condition, a._byte, b._byte)
    return result


def fma(a: Value, b: Value | float, c: Value | float) -> Value:
    """a·b + c with one rounding."""
    b = b if isinstance(b, Value) else const(b, a.dtype)
    c = c if isinstance(c, Value) else const(c, a.dtype)
    return Value("fma", (a, b, c), a.dtype)


def cast(a: Value, dtype: Dtype) -> Value:
    if a.dtype is dtype:
        return a
    return a.wide if dtype is a.dtype.compute else Value("cast", (a,), dtype)


def narrow(a: Value, dtype: Dtype) -> Value:
    """``a`` as half precision that holds it exactly: nobody who widens the result again meets a rounding."""
    if a.dtype is dtype:
        return a
    result = Value("cast", (a,), dtype)
    result._wide = a
    return result


def bitcast(a: Value, dtype: Dtype) -> Value:
    if a.dtype is dtype:
        return a
    if a.dtype is dtypes.bool_:
        return bitcast(a.byte, dtype)
    return boolean(bitcast(a, dtypes.uint8)) if dtype is dtypes.bool_ else Value("bitcast", (a,), dtype)


def boolean(byte: Value) -> Value:
    """What a byte is as a boolean; where that is only moved the byte stays as it is."""
    result = ne(byte, 0)
    result._byte = byte
    return result


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory that a kernel reads or writes: an argument (slot in the pointer table), or private to a thread."""

    name: str
    dtype: Dtype
    written: bool = False
    private: int = 0  # elements; 0: an argument of the kernel


@dataclass(eq=False, slots=True)
class Register:
    """A named accumulator; ``combine`` is a binary operation, or argmax/argmin with a companion for the index."""

    name: str
    dtype: Dtype
    combine: str
    init: Any
    index: Register | None = None


@dataclass(eq=False, slots=True)
class Store:
    buffer: Buffer
    index: Value
    value: Value
    inside: Value | None = None  # a condition: nothing is written where it does not hold


@dataclass(eq=False, slots=True)
class Update:
    register: Register
    value: Value
    position: Value | None = None  # for argmax/argmin: where the value stands


@dataclass(eq=False, slots=True)
class Reset:
    register: Register


@dataclass(eq=False, slots=True)
class Loop:
    var: Value
    begin: Value
    end: Value
    kind: str
    body: list[Any] = field(default_factory=list)
    step: int = 1


Statement = Store | Update | Reset | Loop


@dataclass(eq=False, slots=True)
class Kernel:
    """A kernel: ``args`` are run-time integers (sizes, strides, offsets), ``buffers`` memory, ``scalars`` numbers.

    A ``streaming`` one writes whole, aligned vectors past the caches: what it writes is too much to stay there.
    """

    name: str
    buffers: list[Buffer]
    scalars: list[Value]
    args: list[Value]
    body: list[Statement]
    streaming: bool = False


def in_memory(dtype: Dtype) -> Dtype:
    """The type of what is read and written for elements of a type: a boolean is a byte."""
    return dtypes.uint8 if dtype is dtypes.bool_ else dtype


def load(buffer: Buffer, index: Value) -> Value:
    value = Value("load", (index,), in_memory(buffer.dtype), buffer)
    return boolean(value) if buffer.dtype is dtypes.bool_ else value


def store(buffer: Buffer, index: Value, value: Value, inside: Value | None = None) -> Store:
    return Store(buffer, index, value.byte if value.dtype is dtypes.bool_ else value, inside)


def var(name: str) -> Value:
    return Value("var", (), INDEX, name)


def read(register: Register) -> Value:
    return Value("reg", (), register.dtype, register)


def walk(statements: list[Statement]) -> Iterator[tuple[Statement, int]]:
    """All statements with their depth, outermost first."""
    stack = [(s, 0) for s in reversed(statements)]
    while stack:
        statement, depth = stack.pop()
        yield statement, depth
        if isinstance(statement, Loop):
            stack.extend((s, depth + 1) for s in reversed(statement.body))


def operands(statement: Statement) -> tuple[Value, ...]:
    """The values that a statement uses itself (not those of its body)."""
    if isinstance(statement, Store):
        if statement.inside is not None:
            return (statement.index, statement.value, statement.inside)
        return (statement.index, statement.value)
    if isinstance(statement, Update):
        return (statement.value,) if statement.position is None else (statement.value, statement.position)
    if isinstance(statement, Loop):
        return (statement.begin, statement.end)
    return ()


def expressions(roots: tuple[Value, ...] | list[Value], seen: set[int]) -> Iterator[Value]:
    """The sub-expressions of the roots that are not in ``seen`` yet, operands first."""
    stack: list[tuple[Value, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        value, ready = stack.pop()
        if ready:
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            stack.extend((a, False) for a in reversed(value.args))


def unknown(root: Value, known: dict[int, Any]) -> Iterator[Value]:
    """The sub-expressions of a value that are not in ``known`` yet, operands first."""
    stack = [root]
    while stack:
        v = stack[-1]
        if id(v) in known:
            stack.pop()
            continue
        missing = [a for a in v.args if id(a) not in known]
        if missing:
            stack.extend(missing)
        else:
            stack.pop()
            yield v


def format_kernel(kernel: Kernel) -> str:
    """The kernel as text; equal texts mean equal kernels (it is the key of the code cache)."""
    names: dict[int, str] = {}
    lines = [
        f"kernel {kernel.name}("
        + ", ".join(
            [f"{b.name}: {'out ' if b.written else ''}{b.dtype.name}" for b in kernel.buffers]
            + [f"{s.attr}: scalar {s.dtype.name}" for s in kernel.scalars]
            + [f"{a.attr}" for a in kernel.args]
        )
        + (") streaming" if kernel.streaming else ")")
    ]
    seen: set[int] = set()

    def show(value: Value) -> str:
        if value.op == "const":
            return f"{value.attr!r}:{value.dtype.code}"
        if value.op in ("arg", "var", "scalar"):
            return str(value.attr)
        if value.op == "reg":
            return f"${value.attr.name}"
        return names[id(value)]

    def define(values: tuple[Value, ...], pad: str) -> None:
        for value in expressions(values, seen):
            if value.op in ("const", "arg", "var", "scalar", "reg"):
                continue
            names[id(value)] = f"%{len(names)}"
            source = (
                f"{value.attr.name}[{show(value.args[0])}]"
                if value.op == "load"
                else (
                    (f"{value.op}.{value.attr} " if value.attr else f"{value.op} ")
                    + ", ".join(show(a) for a in value.args)
                )
            )
            lines.append(f"{pad}{names[id(value)]}: {value.dtype.code} = {source}")

    for statement, depth in walk(kernel.body):
        pad = "  " * (depth + 1)
        define(operands(statement), pad)
        if isinstance(statement, Store):
            condition = "" if statement.inside is None else f" if {show(statement.inside)}"
            lines.append(f"{pad}{statement.buffer.name}[{show(statement.index)}] = {show(statement.value)}{condition}")
        elif isinstance(statement, Update):
            at = "" if statement.position is None else f" at {show(statement.position)}"
            r = statement.register
            lines.append(f"{pad}${r.name} = {r.combine} ${r.name}, {show(statement.value)}{at}")
        elif isinstance(statement, Reset):
            r = statement.register
            lines.append(f"{pad}${r.name}: {r.dtype.code} := {r.init!r}")
        else:
            step = f" step {statement.step}" if statement.kind == "vector" else ""
            lines.append(
                f"{pad}{statement.kind} {show(statement.var)} in {show(statement.begin)}..{show(statement.end)}{step}"
            )
    return "\n".join(lines)
