"""How a kernel reads and writes memory: what an address does along the vector loop decides on the instructions.

Lanes that are neighbours in memory are one vector; small constant strides are picked from (or spread over) the span
that they lie in; a tile of rows is read along memory and transposed; anything else gathers or scatters.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from arrax.codegen.operations import every, stored
from arrax.compiler.analysis import STRIDED
from arrax.compiler.kernel import (
    INDEX,
    Buffer,
    Loop,
    Store,
    Value,
    const,
    expressions,
    operands,
    unknown,
    walk,
)
from arrax.graph.dtypes import Dtype, bfloat16

if TYPE_CHECKING:
    from arrax.codegen.llvm import Emitter


class Memory:
    """The accesses of one kernel, written through its emitter."""

    def __init__(self, out: Emitter) -> None:
        self.out = out
        self._written = {id(s.buffer) for s, _ in walk(out.kernel.body) if isinstance(s, Store)}
        self._affine: dict[int, tuple[Value, Value] | None] = {}
        self._transposed: dict[int, tuple[str, Loop]] = {}

    def is_written(self, buffer: Buffer) -> bool:
        """Whether the kernel writes a buffer: what is read from it may change."""
        return id(buffer) in self._written

    def forget(self) -> None:
        """Addresses are analysed anew: another vector loop begins or none is open."""
        self._affine.clear()

    def leave_tile(self) -> None:
        """The rows that were transposed for a tile loop are its own."""
        self._transposed.clear()

    def split(self, index: Value) -> tuple[Value, Value] | None:
        """index = base + step · variable of the vector loop, with base and step the same for all lanes.

        A step of 1 / n stands for the variable's quotient by n: a vector loop begins at a multiple of its lanes, so
        each n neighbours have the same.
        """
        if id(index) in self._affine:
            return self._affine[id(index)]
        assert self.out.vector is not None
        zero = const(0, INDEX)
        for v in unknown(index, self._affine):
            self.out.keep.append(v)
            parts: tuple[Value, Value] | None = None
            if not self.out.varies(v):
                parts = (v, zero)
            elif v is self.out.vector.var:
                parts = (zero, const(1, INDEX))
            elif v.op == "div" and v.args[0] is self.out.vector.var and (n := _divisor(v, self.out.vector.lanes)):
                parts = (zero, Value("const", (), INDEX, Fraction(1, n)))
            elif v.op in ("add", "sub", "mul") and v.dtype is INDEX:
                a, b = (self._affine.get(id(x)) for x in v.args)
                if a is not None and b is not None:
                    parts = _affine_of(v.op, a, b)
            self._affine[id(v)] = parts
        return self._affine[id(index)]

    def _pointer(self, buffer: Buffer) -> str:
        return f"%{buffer.name}"

    def _address(self, buffer: Buffer, index: str, depth: int | None = None) -> str:
        return self.out.let(
            f"getelementptr inbounds {stored(buffer.dtype)}, ptr {self._pointer(buffer)}, i64 {index}", depth
        )

    def _lane0(self, base: Value, depth: int) -> str:
        """The index of the first lane of a unit-stride access."""
        assert self.out.vector is not None
        if base.op == "const" and base.attr == 0:
            return self.out.vector.base
        return self.out.let(f"add i64 {self.out.emit(base)}, {self.out.vector.base}", depth)

    def _lane_pointers(self, buffer: Buffer, index: Value, lanes: int, depth: int) -> str:
        split = self.split(index)
        if split is None or _repeats(split[1]):
            positions = self.out.operand(index, lanes)
        else:
            assert self.out.vector is not None
            (base, step), steps = split, self.out.vector.var
            if step.op != "const" or step.attr != 1:
                steps = Value("mul", (steps, step), INDEX)
            positions = self.out.emit(Value("add", (steps, base), INDEX))
        return self.out.let(
            f"getelementptr inbounds {stored(buffer.dtype)}, ptr {self._pointer(buffer)}, <{lanes} x i64> {positions}",
            depth,
        )

    def load(self, v: Value) -> str:
        """Reads an element, or one for each lane; returns the name of what was read."""
        buffer, index = v.attr, v.args[0]
        kind = stored(buffer.dtype)
        align = buffer.dtype.size
        if not self.out.varies(v):
            depth = self.out.depth(v)
            at = self._address(buffer, self.out.emit(index), depth)
            return self.out.let(f"load {kind}, ptr {at}, align {align}", depth)
        assert self.out.vector is not None
        lanes, mask = self.out.vector.lanes, self.out.vector.mask
        depth = self.out.depth(v)
        if id(v) in self._transposed:
            at, tile = self._transposed[id(v)]
            row = self.out.let(f"sub i64 {self.out.emit(tile.var)}, {self.out.emit(tile.begin)}", depth)
            place = self.out.let(f"getelementptr <{lanes} x {kind}>, ptr {at}, i64 {row}", depth)
            return self.out.let(f"load <{lanes} x {kind}>, ptr {place}, align 64", depth)
        vector_kind = f"<{lanes} x {kind}>"
        tag = _tag(buffer.dtype, lanes)
        split = self.split(index)
        if split is not None and split[1].op == "const" and split[1].attr == 1:
            at = self._address(buffer, self._lane0(split[0], depth), depth)
            if mask is None:
                raw = self.out.let(f"load {vector_kind}, ptr {at}, align {align}", depth)
            else:
                raw = self._masked("load", tag, vector_kind, at, "ptr", lanes, mask, align, depth)
        elif split is not None and (step := _small_step(split[1])) is not None:
            raw = self._strided_load(buffer, split[0], step, lanes, mask, depth)
        elif split is not None and (times := _repeats(split[1])):
            raw = self._repeated_load(buffer, split[0], times, lanes, mask, depth)
        else:
            pointers = self._lane_pointers(buffer, index, lanes, depth)
            everywhere = mask or every(1, lanes, "i1")
            raw = self._masked(
                "gather", tag, vector_kind, pointers, f"<{lanes} x ptr>", lanes, everywhere, align, depth
            )
        return raw

    def _strided_load(self, buffer: Buffer, base: Value, step: int, lanes: int, mask: str | None, depth: int) -> str:
        """Reads all that lies between the first and the last lane, and picks the lanes' elements."""
        kind, align, all_lanes = stored(buffer.dtype), buffer.dtype.size, lanes * abs(step)
        at, picks = self._span(buffer, base, step, lanes, depth)
        whole_kind = f"<{all_lanes} x {kind}>"
        if mask is None:
            whole = self.out.let(f"load {whole_kind}, ptr {at}, align {align}", depth)
        else:
            wide = self._spread(mask, picks, all_lanes, lanes, depth)
            whole = self._masked(
                "load", _tag(buffer.dtype, all_lanes), whole_kind, at, "ptr", all_lanes, wide, align, depth
            )
        order = ", ".join(f"i32 {i}" for i in picks)
        return self.out.let(
            f"shufflevector {whole_kind} {whole}, {whole_kind} poison, <{lanes} x i32> <{order}>", depth
        )

    def _repeated_load(self, buffer: Buffer, base: Value, times: int, lanes: int, mask: str | None, depth: int) -> str:
        """Reads one element for each ``times`` lanes."""
        assert self.out.vector is not None
        kind, align, count = stored(buffer.dtype), buffer.dtype.size, lanes // times
        first = self.out.let(f"udiv i64 {self.out.vector.base}, {times}", depth)
        if not (base.op == "const" and base.attr == 0):
            first = self.out.let(f"add i64 {first}, {self.out.emit(base)}", depth)
        at, few_kind = self._address(buffer, first, depth), f"<{count} x {kind}>"
        if mask is None:
            few = self.out.let(f"load {few_kind}, ptr {at}, align {align}", depth)
        else:
            order = ", ".join(f"i32 {i * times}" for i in range(count))
            kept = self.out.let(
                f"shufflevector <{lanes} x i1> {mask}, <{lanes} x i1> poison, <{count} x i32> <{order}>", depth
            )
            few = self._masked("load", _tag(buffer.dtype, count), few_kind, at, "ptr", count, kept, align, depth)
        order = ", ".join(f"i32 {i // times}" for i in range(lanes))
        return self.out.let(f"shufflevector {few_kind} {few}, {few_kind} poison, <{lanes} x i32> <{order}>", depth)

    def _span(self, buffer: Buffer, base: Value, step: int, lanes: int, depth: int) -> tuple[str, list[int]]:
        """The address of the lowest element that a strided access touches, and where each lane is from there."""
        assert self.out.vector is not None
        first = self.out.let(f"mul i64 {self.out.vector.base}, {step}", depth)
        if not (base.op == "const" and base.attr == 0):
            first = self.out.let(f"add i64 {first}, {self.out.emit(base)}", depth)
        if step < 0:
            first = self.out.let(f"add i64 {first}, {step * (lanes - 1)}", depth)
        picks = [abs(step) * (i if step > 0 else lanes - 1 - i) for i in range(lanes)]
        return self._address(buffer, first, depth), picks

    def _spread(
        self, lane_values: str, picks: list[int], all_lanes: int, lanes: int, depth: int, kind: str = "i1"
    ) -> str:
        """Lane values at their places among all elements of a span; elsewhere nothing (for a mask: false)."""
        places = {at: i for i, at in enumerate(picks)}
        order = ", ".join(f"i32 {places.get(i, lanes)}" for i in range(all_lanes))
        other = "zeroinitializer" if kind == "i1" else "poison"
        source = f"<{lanes} x {kind}>"
        return self.out.let(
            f"shufflevector {source} {lane_values}, {source} {other}, <{all_lanes} x i32> <{order}>", depth
        )

    def _masked(
        self, what: str, tag: str, kind: str, at: str, at_kind: str, lanes: int, mask: str, align: int, depth: int
    ) -> str:
        pointer_tag = "p0" if at_kind == "ptr" else f"v{lanes}p0"
        name = f"llvm.masked.{what}.{tag}.{pointer_tag}"
        self.out.declare(f"declare {kind} @{name}({at_kind}, i32, <{lanes} x i1>, {kind})")
        return self.out.let(
            f"call {kind} @{name}({at_kind} {at}, i32 {align}, <{lanes} x i1> {mask}, {kind} zeroinitializer)", depth
        )

    def store(self, s: Store) -> None:
        """Writes an element, or one for each lane that counts."""
        if self.out.vector is None:
            self._scalar_store(s)
            return
        lanes, mask = self.out.vector.lanes, self.out.vector.mask
        split = self.split(s.index)
        if split is not None and _repeats(split[1]):
            split = None
        if split is not None and split[1].op == "const" and split[1].attr == 0:
            # all lanes write the same place: only sound where they hold the same value
            self._scalar_store(s)
            return
        value = self.out.operand(s.value, lanes)
        if s.inside is not None and not self.out.varies(s.inside):
            if split is not None:  # known before the branch, not only behind it
                self.out.emit(split[0])
                self.out.emit(split[1])
            done = self._skip_unless(s.inside)
            self._vector_store(s, split, value, mask)
            self._end_skip(done)
            return
        if s.inside is not None:
            condition = self.out.operand(s.inside, lanes)
            mask = condition if mask is None else self.out.let(f"and <{lanes} x i1> {mask}, {condition}")
        self._vector_store(s, split, value, mask)

    def _vector_store(self, s: Store, split: tuple[Value, Value] | None, value: str, mask: str | None) -> None:
        assert self.out.vector is not None
        buffer, lanes = s.buffer, self.out.vector.lanes
        kind, align = stored(buffer.dtype), buffer.dtype.size
        vector_kind = f"<{lanes} x {kind}>"
        tag = _tag(buffer.dtype, lanes)
        if split is not None and split[1].op == "const" and split[1].attr == 1:
            at = self._address(buffer, self._lane0(split[0], self.out.innermost))
            if mask is None:
                how = "align 64, !nontemporal !0" if self.out.kernel.streaming else f"align {align}"
                self.out.line(f"store {vector_kind} {value}, ptr {at}, {how}")
                return
            name, at_kind = f"llvm.masked.store.{tag}.p0", "ptr"
        elif split is not None and (step := _small_step(split[1])) is not None and step != -1:
            depth = self.out.innermost
            all_lanes = lanes * abs(step)
            at, picks = self._span(buffer, split[0], step, lanes, depth)
            value = self._spread(value, picks, all_lanes, lanes, depth, kind)
            mask = self._spread(mask or every(1, lanes, "i1"), picks, all_lanes, lanes, depth)
            name, at_kind, lanes = f"llvm.masked.store.{_tag(buffer.dtype, all_lanes)}.p0", "ptr", all_lanes
            vector_kind = f"<{lanes} x {kind}>"
        else:
            at = self._lane_pointers(buffer, s.index, lanes, self.out.innermost)
            mask = mask or every(1, lanes, "i1")
            name, at_kind = f"llvm.masked.scatter.{tag}.v{lanes}p0", f"<{lanes} x ptr>"
        self.out.declare(f"declare void @{name}({vector_kind}, {at_kind}, i32, <{lanes} x i1>)")
        self.out.line(f"call void @{name}({vector_kind} {value}, {at_kind} {at}, i32 {align}, <{lanes} x i1> {mask})")

    def _scalar_store(self, s: Store) -> None:
        kind, align = stored(s.buffer.dtype), s.buffer.dtype.size
        value, index = self.out.emit(s.value), self.out.emit(s.index)
        done = self._skip_unless(s.inside) if s.inside is not None else None
        at = self._address(s.buffer, index)
        self.out.line(f"store {kind} {value}, ptr {at}, align {align}")
        if done is not None:
            self._end_skip(done)

    def _skip_unless(self, condition: Value) -> str:
        """What follows happens only where the condition holds, up to ``_end_skip`` of the label that this returns."""
        done, then = self.out.fresh("skip")[1:], self.out.fresh("then")[1:]
        self.out.line(f"br i1 {self.out.emit(condition)}, label %{then}, label %{done}")
        self.out.label(then)
        return done

    def _end_skip(self, done: str) -> None:
        self.out.line(f"br label %{done}")
        self.out.label(done)

    def transpose(self, loop: Loop) -> None:
        """Before a tile loop: what it will read across the vector loop's lanes is read along them, row by row.

        Row k of the tile holds what lane k reads; turning rows into columns takes log2(lanes) rounds of exchanges
        between rows whose numbers differ in one bit.
        """
        vector = self.out.vector
        assert vector is not None
        lanes = vector.lanes
        seen: set[int] = set()
        for s in loop.body:
            for v in expressions(operands(s), seen):
                split = self.split(v.args[0]) if v.op == "load" and self.out.varies(v.args[0]) else None
                if split is None or split[1].op == "const" or self.is_written(v.attr):
                    continue
                inner = _coefficient(split[0], loop.var)
                if inner is None:
                    continue
                rest, along = inner
                if along == 1 and not _mentions(split[1], loop.var):
                    self._read_tile(v, loop, rest, split[1], lanes)

    def _read_tile(self, v: Value, loop: Loop, base: Value, step: Value, lanes: int) -> None:
        vector = self.out.vector
        assert vector is not None
        buffer: Buffer = v.attr
        kind = stored(buffer.dtype)
        row_kind = f"<{lanes} x {kind}>"
        begin, end = self.out.emit(loop.begin), self.out.emit(loop.end)
        width = self.out.let(f"sub i64 {end}, {begin}")
        width = self.out.let(f"trunc i64 {width} to i32")
        depth = self.out.innermost
        limit = self.out.splat(width, "i32", lanes, depth)
        iota = "<" + ", ".join(f"i32 {i}" for i in range(lanes)) + ">"
        columns = self.out.let(f"icmp slt <{lanes} x i32> {iota}, {limit}")
        start = self.out.let(f"mul i64 {vector.base}, {self.out.emit(step)}")
        start = self.out.let(f"add i64 {start}, {begin}")
        start = self.out.let(f"add i64 {start}, {self.out.emit(base)}")
        rows = []
        for k in range(lanes):
            mask = columns
            if vector.mask is not None:
                alive = self.out.let(f"extractelement <{lanes} x i1> {vector.mask}, i32 {k}")
                everyone = self.out.splat(alive, "i1", lanes, depth)
                mask = self.out.let(f"and <{lanes} x i1> {columns}, {everyone}")
            at = self._address(buffer, start)
            rows.append(
                self._masked(
                    "load", _tag(buffer.dtype, lanes), row_kind, at, "ptr", lanes, mask, buffer.dtype.size, depth
                )
            )
            start = self.out.let(f"add i64 {start}, {self.out.emit(step)}")
        bit = lanes // 2
        while bit:
            for i in range(lanes):
                if i & bit:
                    continue
                a, b = rows[i], rows[i + bit]
                low = ", ".join(f"i32 {j if not j & bit else lanes + j - bit}" for j in range(lanes))
                high = ", ".join(f"i32 {j + bit if not j & bit else lanes + j}" for j in range(lanes))
                rows[i] = self.out.let(f"shufflevector {row_kind} {a}, {row_kind} {b}, <{lanes} x i32> <{low}>")
                rows[i + bit] = self.out.let(f"shufflevector {row_kind} {a}, {row_kind} {b}, <{lanes} x i32> <{high}>")
            bit //= 2
        slot = self.out.alloca(f"[{lanes} x {row_kind}]")
        for k, row in enumerate(rows):
            at = self.out.let(f"getelementptr {row_kind}, ptr {slot}, i64 {k}")
            self.out.line(f"store {row_kind} {row}, ptr {at}, align 64")
        self._transposed[id(v)] = (slot, loop)


def _tag(dtype: Dtype, lanes: int) -> str:
    """How the names of LLVM's intrinsics spell a vector in memory."""
    letter = "f" if dtype.is_float and dtype is not bfloat16 else "i"
    return f"v{lanes}{letter}{dtype.size * 8}"


def _small_step(step: Value) -> int | None:
    """The stride of an access, where it is a small constant other than 0 and 1."""
    if step.op == "const" and (step.attr == -1 or 1 < abs(step.attr) <= STRIDED):
        return step.attr
    return None


def _divisor(quotient: Value, lanes: int) -> int | None:
    """What a coordinate is divided by, where the lanes are whole groups of that many."""
    n = quotient.args[1]
    return n.attr if n.op == "const" and n.attr > 1 and lanes % n.attr == 0 else None


def _repeats(step: Value) -> int | None:
    """How many neighbouring lanes are at the same place, where the step is a fraction."""
    return step.attr.denominator if step.op == "const" and isinstance(step.attr, Fraction) else None


def _affine_of(name: str, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value] | None:
    """Base and step of an operation on two values with base and step, if it has them."""

    def is_const(v: Value, n: int) -> bool:
        return v.op == "const" and v.attr == n

    def plus(x: Value, y: Value) -> Value:
        return y if is_const(x, 0) else x if is_const(y, 0) else _fold_const("add", x, y)

    def times(x: Value, y: Value) -> Value:
        if is_const(x, 0) or is_const(y, 0):
            return const(0, INDEX)
        return y if is_const(x, 1) else x if is_const(y, 1) else _fold_const("mul", x, y)

    if _repeats(a[1]) or _repeats(b[1]):
        still = b if _repeats(a[1]) else a
        return (plus(a[0], b[0]), plus(a[1], b[1])) if name == "add" and is_const(still[1], 0) else None
    if name == "add":
        return plus(a[0], b[0]), plus(a[1], b[1])
    if name == "sub":
        minus = const(-1, INDEX)
        return plus(a[0], times(b[0], minus)), plus(a[1], times(b[1], minus))
    if is_const(a[1], 0):
        return times(a[0], b[0]), times(a[0], b[1])
    if is_const(b[1], 0):
        return times(a[0], b[0]), times(a[1], b[0])
    return None


def _mentions(value: Value, var: Value) -> bool:
    return any(v is var for v in expressions((value,), set()))


def _coefficient(value: Value, var: Value) -> tuple[Value, int] | None:
    """value = rest + n · var, if n is a number and rest does not depend on var."""
    if value is var:
        return const(0, INDEX), 1
    if not _mentions(value, var):
        return value, 0
    if value.op in ("add", "sub"):
        a, b = (_coefficient(x, var) for x in value.args)
        if a is None or b is None:
            return None
        sign = 1 if value.op == "add" else -1
        return Value(value.op, (a[0], b[0]), INDEX), a[1] + sign * b[1]
    return None


def _fold_const(name: str, x: Value, y: Value) -> Value:
    if x.op == "const" and y.op == "const":
        return const(x.attr + y.attr if name == "add" else x.attr * y.attr, INDEX)
    return Value(name, (x, y), INDEX)
