"""Kernel IR to LLVM IR, as text.

A kernel becomes ``void name(i64* table, i64* args, i64 lo, i64 hi)``: ``table`` holds addresses and the bits of
scalars, ``args`` where the kernel's own stand in it (slot and byte offset of each buffer, slot of each scalar) and its
integers; ``lo..hi`` are the iterations of its parallel loop that this call is to do.

A vector loop of ``step`` lanes is emitted twice: whole vectors, then what remains under a mask. Registers that it
updates become vectors, combined over their lanes when it ends. Every value is emitted into the outermost loop where
all that it needs is known: each open loop has a list of the lines before it, and hoisting is appending to the right
list.
"""

from __future__ import annotations

from arrax.codegen.memory import Memory
from arrax.codegen.operations import element, literal, operation, stored, vector_of
from arrax.codegen.text import Scope, Writer
from arrax.compiler.kernel import (
    INDEX,
    Kernel,
    Loop,
    Register,
    Reset,
    Statement,
    Store,
    Update,
    Value,
    select,
    unknown,
    walk,
)
from arrax.compiler.scalar import better, combine
from arrax.graph.dtypes import Dtype, bool_


class _Vector:
    """The vector loop that is open: its variable, lanes, first iteration, and the mask of lanes that count."""

    __slots__ = ("base", "lanes", "mask", "var")

    def __init__(self, var: Value, lanes: int, base: str, mask: str | None) -> None:
        self.var = var
        self.lanes = lanes
        self.base = base
        self.mask = mask


class Emitter(Writer):
    """Emits one kernel: where its values, loops and registers go."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        super().__init__()
        self.kernel = kernel
        self.name = name
        self.memory = Memory(self)
        self.keep: list[Value] = []  # values known by their id must live on
        self.reads: dict[int, list[Value]] = {}  # of each register, since it was last changed
        self.vector: _Vector | None = None
        self.var_depth: dict[int, int] = {}
        self.register_depth: dict[int, int] = {}
        self.register_lanes: dict[int, int] = {}
        self.register_slot: dict[int, str] = {}
        self.open_updates: list[set[int]] = [set()]
        self._depths: dict[int, int] = {}
        self._varying: dict[int, bool] = {}

    # --- where a value belongs ----------------------------------------------------------------------------------------
    def _leaf_depth(self, value: Value) -> int:
        if value.op == "var":
            return self.var_depth[id(value)]
        if value.op == "reg":
            register = id(value.attr)
            deepest = self.register_depth[register]
            for depth, updated in enumerate(self.open_updates):
                if register in updated:
                    deepest = max(deepest, depth)
            return deepest
        if value.op == "load" and self.memory.is_written(value.attr):
            return self.innermost
        if value.op == "ssa":
            return self.innermost
        return 0

    def depth(self, value: Value) -> int:
        """How many loops are open where a value is emitted: those that it depends on."""
        found = self._depths.get(id(value))
        if found is None:
            for v in unknown(value, self._depths):
                self.keep.append(v)
                own = self._leaf_depth(v)
                self._depths[id(v)] = max([own, *(self._depths[id(a)] for a in v.args)])
            found = self._depths[id(value)]
        return found

    def varies(self, value: Value) -> bool:
        """Whether lanes of the open vector loop see different values."""
        if self.vector is None:
            return False
        found = self._varying.get(id(value))
        if found is None:
            for v in unknown(value, self._varying):
                if v.op == "var":
                    own = v is self.vector.var
                elif v.op == "reg":
                    own = self.register_lanes.get(id(v.attr), 1) > 1
                elif v.op == "ssa":
                    own = bool(v.attr)
                else:
                    own = any(self._varying[id(a)] for a in v.args)
                self._varying[id(v)] = own
            found = self._varying[id(value)]
        return found

    # --- values -------------------------------------------------------------------------------------------------------
    def _lookup(self, value: Value) -> str | None:
        for scope in self.scopes:
            found = scope.values.get(id(value))
            if found is not None:
                return found
        return None

    def emit(self, value: Value) -> str:
        """The LLVM name of a value; a vector where lanes differ."""
        found = self._lookup(value)
        if found is not None:
            return found
        pending = [value]
        while pending:
            v = pending[-1]
            if self._lookup(v) is not None:
                pending.pop()
                continue
            if (
                v.op == "load"
                and self.vector is not None
                and self.varies(v.args[0])
                and self.memory.split(v.args[0]) is not None
            ):
                pending.pop()
                self._remember(v, self.memory.load(v))
                continue
            missing = [a for a in v.args if self._lookup(a) is None]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            self._remember(v, self._compute(v))
        found = self._lookup(value)
        assert found is not None
        return found

    def _remember(self, value: Value, name: str) -> None:
        self.keep.append(value)
        if value.op == "reg":
            self.reads.setdefault(id(value.attr), []).append(value)
        self.scopes[self.depth(value)].values[id(value)] = name

    def operand(self, value: Value, lanes: int) -> str:
        """A value as a vector of the given number of lanes (or a scalar for 1)."""
        if lanes == 1:
            return self.emit(value)
        if self.varies(value):
            return self.emit(value)
        if value.op == "const":
            text = literal(value.attr, value.dtype)
            kind = element(value.dtype)
            return f"splat ({kind} {text})"
        scalar = self.emit(value)
        depth = self.depth(value)
        key = (id(value), lanes)
        for scope in self.scopes:
            if key in scope.values:
                return scope.values[key]
        self.scopes[depth].values[key] = name = self.splat(scalar, element(value.dtype), lanes, depth)
        return name

    def _compute(self, v: Value) -> str:
        depth = self.depth(v)
        if v.op == "const":
            return literal(v.attr, v.dtype)
        if v.op == "var":
            assert self.vector is not None and v is self.vector.var
            lanes = self.vector.lanes
            base = self.splat(self.vector.base, "i64", lanes, depth)
            iota = "<" + ", ".join(f"i64 {i}" for i in range(lanes)) + ">"
            return self.let(f"add <{lanes} x i64> {base}, {iota}", depth)
        if v.op == "reg":
            lanes = self.register_lanes[id(v.attr)]
            kind = vector_of(v.dtype, lanes)
            return self.let(f"load {kind}, ptr {self.register_slot[id(v.attr)]}, align 64", depth)
        lanes = self.vector.lanes if self.vector is not None and self.varies(v) else 1
        if v.op == "load":
            return self.memory.load(v)
        return operation(self, v, [self.operand(a, lanes) for a in v.args], lanes, depth)

    # --- registers ----------------------------------------------------------------------------------------------------
    def _reset(self, register: Register) -> None:
        lanes = self.vector.lanes if self.vector is not None else 1
        self.register_depth[id(register)] = self.innermost
        self.register_lanes[id(register)] = lanes
        kind = vector_of(register.dtype, lanes)
        slot = self.register_slot[id(register)] = self.alloca(kind)
        self.line(f"store {kind} {self._neutral(register, lanes)}, ptr {slot}, align 64")

    def _neutral(self, register: Register, lanes: int) -> str:
        text = literal(register.init, register.dtype)
        kind = element(register.dtype)
        return text if lanes == 1 else f"splat ({kind} {text})"

    def _ssa(self, name: str, dtype: Dtype, lanes: int) -> Value:
        value = Value("ssa", (), dtype, lanes > 1)
        self._remember(value, name)
        return value

    def _update(self, s: Update) -> None:
        register = s.register
        lanes = self.register_lanes[id(register)]
        values = [(register, s.value)]
        if register.index is not None:
            assert s.position is not None
            values.append((register.index, s.position))
        news = [self._ssa(self.operand(v, lanes), v.dtype, lanes) for _, v in values]
        olds = []
        for r, _ in values:
            kind = vector_of(r.dtype, lanes)
            olds.append(self._ssa(self.let(f"load {kind}, ptr {self.register_slot[id(r)]}, align 64"), r.dtype, lanes))
        for (r, _), result in zip(values, _merge(register, olds, news), strict=True):
            name = self.operand(result, lanes)
            kind = vector_of(r.dtype, lanes)
            if self.vector is not None and self.vector.mask is not None and lanes > 1:
                old = self.emit(olds[0] if r is register else olds[1])
                name = self.let(f"select <{lanes} x i1> {self.vector.mask}, {kind} {name}, {kind} {old}")
            self.line(f"store {kind} {name}, ptr {self.register_slot[id(r)]}, align 64")

    def _fold(self, register: Register, wide: list[str], lanes: int, narrow: list[str]) -> None:
        """Combines a register's lanes, half with half, and the result with what it held before the loop."""
        registers = [register] + ([register.index] if register.index is not None else [])
        names = [
            self.let(f"load {vector_of(r.dtype, lanes)}, ptr {slot}, align 64")
            for r, slot in zip(registers, wide, strict=True)
        ]
        while lanes > 1:
            half = lanes // 2
            sides: list[list[Value]] = []
            for first in (0, half):
                picks = ", ".join(f"i32 {first + i}" for i in range(half))
                side = []
                for r, name in zip(registers, names, strict=True):
                    kind = vector_of(r.dtype, lanes)
                    if half > 1:
                        part = self.let(f"shufflevector {kind} {name}, {kind} poison, <{half} x i32> <{picks}>")
                    else:
                        part = self.let(f"extractelement {kind} {name}, i32 {first}")
                    side.append(self._ssa(part, r.dtype, half))
                sides.append(side)
            names = [self._narrow(v, half) for v in _merge(register, sides[0], sides[1])]
            lanes = half
        olds = [
            self._ssa(self.let(f"load {element(r.dtype)}, ptr {slot}, align 64"), r.dtype, 1)
            for r, slot in zip(registers, narrow, strict=True)
        ]
        news = [self._ssa(name, r.dtype, 1) for r, name in zip(registers, names, strict=True)]
        for r, slot, result in zip(registers, narrow, _merge(register, olds, news), strict=True):
            self.line(f"store {element(r.dtype)} {self._narrow(result, 1)}, ptr {slot}, align 64")

    def _narrow(self, value: Value, lanes: int) -> str:
        """Emits a value whose lanes are fewer than the vector loop's."""
        saved = self.vector
        self.vector = _Vector(Value("var", (), INDEX, "none"), lanes, "0", None) if lanes > 1 else None
        self._varying.clear()
        name = self.operand(value, lanes)
        self.vector = saved
        self._varying.clear()
        return name

    # --- statements ---------------------------------------------------------------------------------------------------
    def _statements(self, statements: list[Statement]) -> None:
        for s in statements:
            if isinstance(s, Store):
                self.memory.store(s)
            elif isinstance(s, Reset):
                self._reset(s.register)
            elif isinstance(s, Update):
                self._update(s)
            elif s.kind == "vector":
                self._vector_loop(s)
            elif s.kind == "parallel":
                self._loop(s, "%lo", "%hi", 1, None)
            else:
                if s.kind == "tile":
                    self.memory.transpose(s)
                self._loop(s, self.emit(s.begin), self.emit(s.end), 1, None)
                self.memory.leave_tile()

    def _updated_in(self, loop: Loop) -> list[Register]:
        """Registers that a loop changes but does not begin."""
        begun = {id(s.register) for s, _ in walk(loop.body) if isinstance(s, Reset)}
        found = {id(s.register): s.register for s, _ in walk(loop.body) if isinstance(s, Update)}
        return [r for key, r in found.items() if key not in begun]

    def _loop(self, loop: Loop, begin: str, end: str, step: int, vector: _Vector | None) -> None:
        """A counting loop; for a vector loop over whole vectors ``vector`` describes it."""
        slot = self.alloca("i64")
        head, body, done = (self.fresh(p)[1:] for p in ("head", "body", "done"))
        outer = self.scopes[-1].lines
        updated = {id(r) for r in self._updated_in(loop)}
        for r in self._updated_in(loop):
            if r.index is not None:
                updated.add(id(r.index))
        self.scopes.append(Scope())
        self.open_updates.append(updated)
        depth = self.innermost
        self.var_depth[id(loop.var)] = depth
        self.keep.append(loop.var)
        i = self.let(f"load i64, ptr {slot}")
        if vector is None:
            self.scopes[-1].values[id(loop.var)] = i
        else:
            vector.base = i
            self.vector = vector
            self._forget()
        self._depths.clear()
        self._statements(loop.body)
        if vector is not None:
            self.vector = None
            self._forget()
        self._depths.clear()
        following = self.let(f"add nsw i64 {i}, {step}")
        self.line(f"store i64 {following}, ptr {slot}")
        self.line(f"br label %{head}")
        lines = self.scopes.pop().lines
        self.open_updates.pop()
        for register in updated:  # what was read of them before has changed
            self._drop_reads(register)
        self._depths.clear()
        outer.append(f"  store i64 {begin}, ptr {slot}")
        outer.append(f"  br label %{head}")
        outer.append(f"{head}:")
        now = self.fresh()
        test = self.fresh()
        outer.append(f"  {now} = load i64, ptr {slot}")
        outer.append(f"  {test} = icmp slt i64 {now}, {end}")
        outer.append(f"  br i1 {test}, label %{body}, label %{done}")
        outer.append(f"{body}:")
        outer.extend(lines)
        outer.append(f"{done}:")

    def _forget(self) -> None:
        self._varying.clear()
        self.memory.forget()

    def _drop_reads(self, register: int) -> None:
        for v in self.reads.pop(register, ()):
            for scope in self.scopes:
                scope.values.pop(id(v), None)

    def _vector_loop(self, loop: Loop) -> None:
        lanes = loop.step
        begin, end = self.emit(loop.begin), self.emit(loop.end)
        registers = self._updated_in(loop)
        outer_slots = dict(self.register_slot)
        for r in registers:
            for part in (r, r.index):
                if part is not None:
                    kind = vector_of(part.dtype, lanes)
                    self.register_slot[id(part)] = self.alloca(kind)
                    self.register_lanes[id(part)] = lanes
                    self.line(
                        f"store {kind} {self._neutral(part, lanes)}, ptr {self.register_slot[id(part)]}, align 64"
                    )
        count = self.let(f"sub i64 {end}, {begin}")
        whole = self.let(f"and i64 {count}, {-lanes}")
        positive = self.let(f"icmp sgt i64 {count}, 0")
        kept = self.let(f"select i1 {positive}, i64 {whole}, i64 0")
        middle = self.let(f"add i64 {begin}, {kept}")
        self._loop(loop, begin, middle, lanes, _Vector(loop.var, lanes, "", None))
        self._tail(loop, middle, end, lanes)
        for r in registers:
            parts = [p for p in (r, r.index) if p is not None]
            wide = [self.register_slot[id(p)] for p in parts]
            for p in parts:
                self.register_slot[id(p)] = outer_slots[id(p)]
                self.register_lanes[id(p)] = 1
                self._drop_reads(id(p))
            self._forget()
            self._fold(r, wide, lanes, [outer_slots[id(p)] for p in parts])

    def _tail(self, loop: Loop, middle: str, end: str, lanes: int) -> None:
        """The last, incomplete vector: a loop of at most one iteration."""
        rest = self.let(f"sub i64 {end}, {middle}")
        number = self.let(f"trunc i64 {rest} to i32")
        limit = self.splat(number, "i32", lanes, self.innermost)
        iota = "<" + ", ".join(f"i32 {i}" for i in range(lanes)) + ">"
        mask = self.let(f"icmp slt <{lanes} x i32> {iota}, {limit}")
        self._loop(loop, middle, end, lanes, _Vector(loop.var, lanes, "", mask))

    # --- the whole ----------------------------------------------------------------------------------------------------
    def run(self) -> str:
        """The module's text."""
        entry = self.scopes[0]
        word = 0

        def argument(number: int) -> str:
            at = self.let(f"getelementptr inbounds i64, ptr %args, i64 {number}", 0)
            return self.let(f"load i64, ptr {at}, align 8", 0)

        for b in self.kernel.buffers:
            slot, offset = argument(word), argument(word + 1)
            word += 2
            at = self.let(f"getelementptr inbounds ptr, ptr %table, i64 {slot}", 0)
            base = self.let(f"load ptr, ptr {at}, align 8", 0)
            entry.lines.append(f"  %{b.name} = getelementptr inbounds i8, ptr {base}, i64 {offset}")
        for s in self.kernel.scalars:
            slot = argument(word)
            word += 1
            at = self.let(f"getelementptr inbounds i64, ptr %table, i64 {slot}", 0)
            kind = stored(s.dtype)
            value = self.let(f"load {kind}, ptr {at}, align 8", 0)
            entry.values[id(s)] = self.let(f"icmp ne i8 {value}, 0", 0) if s.dtype is bool_ else value
        for a in self.kernel.args:
            entry.values[id(a)] = argument(word)
            word += 1
        self._statements(self.kernel.body)
        pointer = "ptr noalias nocapture"
        header = f"define void @{self.name}({pointer} %table, {pointer} %args, i64 %lo, i64 %hi) #0 {{"
        return "\n".join(
            [
                header,
                "entry:",
                *self.allocas,
                *entry.lines,
                *(["  fence seq_cst"] if self.kernel.streaming else []),
                "  ret void",
                "}",
                *sorted(self.declared),
                *(["!0 = !{i32 1}"] if self.kernel.streaming else []),
                'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }',
            ]
        )


def _merge(register: Register, olds: list[Value], news: list[Value]) -> list[Value]:
    """A register (and its companion) combined with a new value."""
    if register.index is None:
        return [combine(register.combine, olds[0], news[0])]
    wins = better(register.combine, news[0], olds[0], news[1], olds[1])
    return [select(wins, news[0], olds[0]), select(wins, news[1], olds[1])]


def generate(kernel: Kernel, name: str) -> str:
    """The LLVM IR of a kernel, as a module with one function of the given name."""
    return Emitter(kernel, name).run()
