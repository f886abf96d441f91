"""An evaluator of the kernel IR in NumPy: what a kernel means, and the oracle for the code that is generated from it.

All iterations of a vector loop run at once, as arrays; other loops run one iteration after the other. Besides
computing, it checks what code cannot check cheaply: every access is inside its buffer, no element is written by two
iterations that may run at once, and none is read that another such iteration writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from arrax.compiler.kernel import (
    COMPARE,
    Buffer,
    Kernel,
    Loop,
    Register,
    Reset,
    Statement,
    Store,
    Update,
    Value,
    select,
    walk,
)
from arrax.compiler.lower import Task
from arrax.compiler.pipeline import Library, Product
from arrax.compiler.scalar import better, combine
from arrax.graph.dtypes import Dtype, bool_, float16, float32, integers_of
from arrax.graph.node import Node

_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.abs, "floor": np.floor,
    "ceil": np.ceil, "rint": np.rint, "trunc": np.trunc, "sqrt": np.sqrt, "not": np.invert, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor, "copysign": np.copysign, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
NOBODY, SEVERAL = -1, -2  # iterations that an element belongs to
_ON_BOOL: dict[str, Callable[..., Any]] = {
    "add": np.logical_or, "sub": np.logical_xor, "mul": np.logical_and, "min": np.logical_and, "max": np.logical_or,
    "neg": np.positive, "abs": np.positive,
}  # fmt: skip


# --- operations -------------------------------------------------------------------------------------------------------
def _constant(value: Any, dtype: Dtype) -> Any:
    if dtype.is_integer:
        bits = dtype.size * 8
        value = int(value) & ((1 << bits) - 1)
        value -= (1 << bits) if dtype.is_signed and value >> (bits - 1) else 0
    return np.asarray(value).astype(dtype.np)


def _divide(a: Any, b: Any) -> Any:
    """The quotient of integers, rounded towards zero."""
    safe = np.where(b == 0, 1, b).astype(a.dtype)
    floor = a // safe
    inexact = (a - floor * safe) != 0
    whole = floor + (inexact & ((a < 0) != (safe < 0))).astype(a.dtype)
    return np.where(b == 0, a.dtype.type(0), whole)


def _remainder(a: Any, b: Any) -> Any:
    return np.where(b == 0, a.dtype.type(0), a - _divide(a, b) * b)


def _shift(name: str, a: Any, b: Any) -> Any:
    bits = a.dtype.itemsize * 8
    far = (b < 0) | (b >= bits)
    amount = np.where(far, 0, b).astype(a.dtype)
    if name == "shl":
        return np.where(far, a.dtype.type(0), np.left_shift(a, amount))
    return np.where(far, np.where(a < 0, -1, 0).astype(a.dtype), np.right_shift(a, amount))


def _split(x: Any) -> tuple[Any, Any]:
    scaled = x * 134217729.0
    high = scaled - (scaled - x)
    return high, x - high


def _fma(a: Any, b: Any, c: Any) -> Any:
    """a·b + c in one rounding: in the next wider type, or by the exact error of the product and of the sum."""
    if a.dtype == np.float32:
        return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)
    product = a * b
    total = product + c
    (a1, a0), (b1, b0) = _split(a), _split(b)
    lost = ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0
    back = total - product
    lost = lost + ((product - (total - back)) + (c - back))
    return np.where(np.isfinite(total) & np.isfinite(lost), total + lost, total)


def _cast(a: Any, source: Dtype, target: Dtype) -> Any:
    if target is bool_:
        return a != 0
    if source.is_float and target.is_integer:
        return integers_of(a, target)
    if target.compute is not target and source not in (float16, float32):
        a = a.astype(np.float32)  # half precision is reached from single precision
    return a.astype(target.np)


def _operation(v: Value, args: list[Any]) -> Any:
    dtype = v.args[0].dtype
    name = v.op
    if name == "select":
        return np.where(args[0], args[1], args[2]).astype(v.dtype.np)
    if name == "fma":
        return _fma(*args)
    if name == "cast":
        return _cast(args[0], dtype, v.dtype)
    if name == "bitcast":
        return np.ascontiguousarray(args[0]).view(v.dtype.np).reshape(np.shape(args[0]))
    if name in ("shl", "shr"):
        return _shift(name, *args)
    if dtype is bool_ and name in _ON_BOOL:
        return _ON_BOOL[name](*args)
    if name in ("min", "max") and dtype.is_float:
        return np.where(args[0] < args[1] if name == "min" else args[0] > args[1], args[0], args[1])
    if name in ("min", "max"):
        return (np.minimum if name == "min" else np.maximum)(*args)
    if name == "div":
        return np.divide(*args) if dtype.is_float else _divide(*args)
    if name == "rem":
        return _remainder(*args)
    result = np.asarray(_UFUNCS[name](*args))
    return result if name in COMPARE else result.astype(v.dtype.np)


# --- kernels ----------------------------------------------------------------------------------------------------------
class _Memory:
    """A buffer's elements, and which iteration of the parallel loop wrote and read each of them."""

    def __init__(self, elements: np.ndarray, buffer: Buffer) -> None:
        self.elements = elements.view(np.uint8) if elements.dtype == np.bool_ else elements
        self.name = buffer.name
        self.writer = np.full(elements.size, NOBODY, np.int64) if buffer.written else None
        self.reader = np.full(elements.size, NOBODY, np.int64) if buffer.written else None

    def _check(self, index: Any, what: str) -> None:
        assert np.all((index >= 0) & (index < self.elements.size)), (
            f"[interp] {what} {self.name} outside of its {self.elements.size} elements: "
            f"{np.min(index, initial=0)}..{np.max(index, initial=0)}"
        )

    def load(self, index: Any, iteration: int) -> Any:
        self._check(index, "reads")
        if self.writer is not None and self.reader is not None:
            owner = self.writer[index]
            assert np.all((owner == NOBODY) | (owner == iteration)), (
                f"[interp] {self.name}: another iteration wrote what is read"
            )
            readers = self.reader[index]
            self.reader[index] = np.where((readers == NOBODY) | (readers == iteration), iteration, SEVERAL)
        return self.elements[index]

    def store(self, index: Any, value: Any, inside: Any, iteration: int) -> None:
        index, value, inside = np.broadcast_arrays(index, value, inside)
        index, value = index[inside], value[inside]
        self._check(index, "writes")
        assert self.writer is not None and self.reader is not None, (
            f"[interp] {self.name} is written but not declared so"
        )
        for owner in (self.writer[index], self.reader[index]):
            assert np.all((owner == NOBODY) | (owner == iteration)), (
                f"[interp] {self.name}: two iterations meet at one element"
            )
        self.elements[index] = value
        back = self.elements[index]
        same = (back == value) | ((back != back) & (value != value))
        assert np.all(same), f"[interp] {self.name}: lanes write different values to one element"
        self.writer[index] = iteration


class Interpreter:
    """Runs one kernel. Values are memoised until something that they depend on changes."""

    def __init__(
        self, kernel: Kernel, buffers: Sequence[np.ndarray], scalars: Sequence[Any], args: Sequence[int]
    ) -> None:
        self.kernel = kernel
        self.memory = {id(b): _Memory(a, b) for b, a in zip(kernel.buffers, buffers, strict=True)}
        self.values: dict[int, Any] = {}
        self.needs: dict[int, frozenset[int]] = {}
        self.users: dict[int, set[int]] = {}
        self.written = {id(b) for b in kernel.buffers if b.written}
        self.registers: dict[int, Any] = {}
        self.iteration = 0
        self.keep: list[Value] = []
        for s, value in zip(kernel.scalars, scalars, strict=True):
            self._bind(s, np.asarray(value).astype(s.dtype.np))
        for a, number in zip(kernel.args, args, strict=True):
            self._bind(a, np.asarray(number, np.int64))

    # --- values -------------------------------------------------------------------------------------------------------
    def _bind(self, leaf: Value, value: Any) -> None:
        self._changed(id(leaf))
        self.values[id(leaf)] = value
        self.needs[id(leaf)] = frozenset((id(leaf),))

    def _changed(self, source: int) -> None:
        for user in self.users.pop(source, ()):
            self.values.pop(user, None)

    def _dependencies(self, v: Value) -> frozenset[int]:
        found = frozenset().union(*(self.needs[id(a)] for a in v.args)) if v.args else frozenset()
        if v.op == "reg" or (v.op == "load" and id(v.attr) in self.written):
            found |= {id(v.attr)}
        return found

    def value(self, root: Value) -> Any:
        """The value of an expression: a scalar, or an array over the open vector loop's iterations."""
        stack = [root]
        while stack:
            v = stack[-1]
            if id(v) in self.values:
                stack.pop()
                continue
            missing = [a for a in v.args if id(a) not in self.values]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            assert v.op not in ("arg", "var", "scalar"), f"[interp] {v.op} {v.attr} has no value here"
            if id(v) not in self.needs:
                self.needs[id(v)] = self._dependencies(v)
                self.keep.append(v)
            self.values[id(v)] = self._compute(v)
            for source in self.needs[id(v)]:
                self.users.setdefault(source, set()).add(id(v))
        return self.values[id(root)]

    def _compute(self, v: Value) -> Any:
        if v.op == "const":
            return _constant(v.attr, v.dtype)
        if v.op == "reg":
            assert id(v.attr) in self.registers, f"[interp] register {v.attr.name} is read before it is reset"
            return self.registers[id(v.attr)]
        args = [self.values[id(a)] for a in v.args]
        if v.op == "load":
            return self.memory[id(v.attr)].load(args[0], self.iteration)
        return np.asarray(_operation(v, args))

    # --- registers ----------------------------------------------------------------------------------------------------
    def _set(self, register: Register, value: Any) -> None:
        self.registers[id(register)] = value
        self._changed(id(register))

    def _merge(self, register: Register, olds: list[Any], news: list[Any]) -> list[Any]:
        """A register (and its companion) combined with new values, by the expressions that define the combination."""
        parts = _parts(register)
        leaves = [[Value("var", (), r.dtype, f"{side}{r.name}") for r in parts] for side in ("old ", "new ")]
        for names, values in zip(leaves, (olds, news), strict=True):
            for name, value in zip(names, values, strict=True):
                self.keep.append(name)
                self._bind(name, value)
        (old, *old_at), (new, *new_at) = leaves
        if register.index is None:
            return [self.value(combine(register.combine, old, new))]
        wins = better(register.combine, new, old, new_at[0], old_at[0])
        return [self.value(select(wins, a, b)) for a, b in zip(leaves[1], leaves[0], strict=True)]

    def _update(self, s: Update) -> None:
        parts = _parts(s.register)
        news = [self.value(s.value)] + ([self.value(s.position)] if s.position is not None else [])
        assert all(id(r) in self.registers for r in parts), (
            f"[interp] register {s.register.name} is updated before it is reset"
        )
        for r, value in zip(parts, self._merge(s.register, [self.registers[id(r)] for r in parts], news), strict=True):
            self._set(r, value)

    def _fold(self, register: Register, before: list[Any], lanes: int) -> None:
        """Combines the lanes, half with half, and the result with what the register held before."""
        parts = _parts(register)
        values = [np.broadcast_to(self.registers[id(r)], (lanes,)) for r in parts]
        while lanes > 1:
            half = (lanes + 1) // 2
            olds = [v[:half] for v in values]
            news = [
                np.concatenate([v[half:], np.full(2 * half - lanes, _constant(r.init, r.dtype))])
                for v, r in zip(values, parts, strict=True)
            ]
            values, lanes = self._merge(register, olds, news), half
        results = self._merge(register, before, [v.reshape(()) for v in values])
        for r, value in zip(parts, results, strict=True):
            self._set(r, value)

    # --- statements ---------------------------------------------------------------------------------------------------
    def run(self, total: int) -> None:
        """Runs ``total`` iterations of the parallel loop, and what stands beside it."""
        self._statements(self.kernel.body, total)

    def _statements(self, statements: list[Statement], total: int = 0) -> None:
        for s in statements:
            if isinstance(s, Store):
                inside = True if s.inside is None else self.value(s.inside)
                self.memory[id(s.buffer)].store(self.value(s.index), self.value(s.value), inside, self.iteration)
                self._changed(id(s.buffer))
            elif isinstance(s, Reset):
                self._set(s.register, _constant(s.register.init, s.register.dtype))
            elif isinstance(s, Update):
                self._update(s)
            elif s.kind == "vector":
                self._vector(s)
            else:
                begin, end = (0, total) if s.kind == "parallel" else (int(self.value(s.begin)), int(self.value(s.end)))
                for i in range(begin, end):
                    if s.kind == "parallel":
                        self.iteration = i
                    self._bind(s.var, np.asarray(i, np.int64))
                    self._statements(s.body)
                self._close(s.var)

    def _close(self, var: Value) -> None:
        self._changed(id(var))
        self.values.pop(id(var), None)

    def _vector(self, loop: Loop) -> None:
        begin, end = int(self.value(loop.begin)), int(self.value(loop.end))
        if end <= begin:
            return
        begun = {id(s.register) for s, _ in walk(loop.body) if isinstance(s, Reset)}
        updated = {id(s.register): s.register for s, _ in walk(loop.body) if isinstance(s, Update)}
        folded = [r for key, r in updated.items() if key not in begun]
        before = [[self.registers[id(part)] for part in _parts(r)] for r in folded]
        for r in folded:
            for part in _parts(r):
                self._set(part, _constant(part.init, part.dtype))
        self._bind(loop.var, np.arange(begin, end, dtype=np.int64))
        self._statements(loop.body)
        self._close(loop.var)
        for r, old in zip(folded, before, strict=True):
            self._fold(r, old, end - begin)


def _parts(register: Register) -> list[Register]:
    return [register] if register.index is None else [register, register.index]


def run(kernel: Kernel, buffers: Sequence[np.ndarray], scalars: Sequence[Any], args: Sequence[int], total: int) -> None:
    """Runs a kernel on flat arrays, in the order of its buffers; those that it writes are changed.

    Raises AssertionError where the kernel reads or writes outside of a buffer, or where iterations that may run at once
    meet at one element.
    """
    with np.errstate(all="ignore"):
        Interpreter(kernel, buffers, scalars, args).run(total)


# --- plans ------------------------------------------------------------------------------------------------------------
def _garbage(size: int, dtype: Dtype) -> np.ndarray:
    """Memory that nobody has written yet; what reads it shows."""
    return (
        np.frombuffer(bytearray(b"\x7f" * (size * dtype.size)), np.uint8)
        .view(np.uint8 if dtype is bool_ else dtype.np)
        .astype(dtype.np)
    )


def evaluate_plan(bound: Any, recorded: Sequence[Node], data: Callable[[Node], np.ndarray]) -> list[np.ndarray]:
    """Runs a whole plan with the interpreter; matrix products and libraries' work are done by NumPy.

    Args:
        bound: the plan with its sizes (``runtime.cpu.Bound``).
        recorded: the graph that it is evaluated on.
        data: the elements of a leaf of the graph.

    Returns:
        The results, in the order of the plan's outputs.
    """
    plan = bound.plan
    arrays: dict[Any, np.ndarray] = {}

    def array(key: Any, dtype: Dtype, size: int) -> np.ndarray:
        if isinstance(key, int):
            key = plan.alias.get(key, key)
            if key not in arrays and key in plan.scalars:
                arrays[key] = np.full(1, scalar(key)).astype(dtype.np)
            elif key not in arrays and key in plan.data:
                arrays[key] = np.array(data(recorded[plan.data[key]])).reshape(-1).astype(dtype.np)
        if key not in arrays:
            arrays[key] = _garbage(size, dtype)
        return arrays[key]

    def of_node(position: int) -> np.ndarray:
        return array(position, plan.order[position].dtype, int(np.prod(bound.shape(position))))

    def scalar(position: int) -> Any:
        place = plan.scalars[position]
        return (plan.order[position] if place == -1 else bound.recorded_at(place, recorded)).params[0]

    for step in plan.steps:
        if isinstance(step, Task):
            buffers = [
                of_node(key)
                if isinstance(key, int)
                else array(key, b.dtype, bound.number(step.total) if b.written else 0)
                for key, b in zip(step.buffers, step.kernel.buffers, strict=True)
            ]
            run(
                step.kernel,
                buffers,
                [scalar(s) for s in step.scalars],
                [bound.number(a) for a in step.args],
                bound.number(step.total),
            )
        elif isinstance(step, Product):
            _product(step, bound, of_node)
        else:
            assert isinstance(step, Library)
            node, shape = plan.order[step.node], bound.shape(step.node)
            inputs = [of_node(i).reshape(bound.shape(i)) for i in step.inputs]
            params = bound.recorded_at(step.recorded, recorded).params
            of_node(step.node)[...] = np.asarray(node.prim.reference(params, shape, node.dtype, *inputs)).reshape(-1)
    return [of_node(i).reshape(bound.shape(i)) for i in plan.outputs]


def _product(step: Product, bound: Any, of_node: Callable[[int], np.ndarray]) -> None:
    symbols = bound.plan.symbols
    size = {symbols.letter("var", i): bound.number(d) for i, d in enumerate(step.dims)}
    m, n, k = step.variables
    batch = [*step.summed, *step.batch]

    def positions(address: Any, letters: list[int]) -> np.ndarray:
        start = address
        for x in [*batch, m, n, k]:
            if x >= 0:
                start = start.without(x)
        total = np.full((1,) * len(letters), bound.number(start))
        for i, x in enumerate(letters):
            if x < 0:
                continue
            along = np.arange(size[x]) * bound.number(address.coefficient(x))
            total = total + along.reshape([-1 if j == i else 1 for j in range(len(letters))])
        return total

    sides = []
    for (node, address), letters in zip(step.operands, ([*batch, m, k], [*batch, k, n]), strict=True):
        elements = of_node(node)
        at = positions(address, letters)
        assert at.min() >= 0 and at.max() < elements.size, "[interp] a product reads outside of its operand"
        sides.append(elements[at])
    result = np.matmul(sides[0].astype(np.float64), sides[1].astype(np.float64))
    result = result.sum(tuple(range(len(step.summed))))
    target = of_node(step.target)
    at = positions(step.result, [*step.batch, m, n])
    assert at.min() >= 0 and at.max() < target.size, "[interp] a product writes outside of its result"
    target[at] = np.broadcast_to(result, np.broadcast_shapes(at.shape, result.shape)).astype(target.dtype)
