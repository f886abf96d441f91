"""Checks of kernels in the kernel IR."""

from __future__ import annotations

from arrax.compiler.kernel import (
    ARITY,
    COMPARE,
    INDEX,
    LEAVES,
    Buffer,
    Kernel,
    Loop,
    Register,
    Reset,
    Statement,
    Store,
    Update,
    Value,
    expressions,
    in_memory,
    walk,
)
from arrax.compiler.scalarmath import EXPANSIONS
from arrax.graph.dtypes import bool_

LOOPS = ("parallel", "serial", "vector", "tile")
COMBINES = ("add", "mul", "min", "max", "set", "argmax", "argmin", "index")


class _Verifier:
    """Walks a kernel's statements in order, with what is known at each point."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.buffers = {id(b) for b in kernel.buffers}
        self.known = {id(v) for v in (*kernel.scalars, *kernel.args)}
        self.scope: list[Loop] = []
        self.begun: set[int] = set()
        self.stored: set[int] = set()

    def fail(self, text: str) -> None:
        raise AssertionError(f"[verify] {self.kernel.name}: {text}")

    def check(self, holds: bool, text: str) -> None:
        if not holds:
            self.fail(text)

    def run(self) -> None:
        kernel = self.kernel
        for items, what in ((kernel.buffers, "buffer"), (kernel.scalars, "scalar"), (kernel.args, "argument")):
            names = [b.name if isinstance(b, Buffer) else str(b.attr) for b in items]
            self.check(len(set(names)) == len(names), f"two {what}s have one name: {names}")
        for a in kernel.args:
            self.check(a.op == "arg" and a.dtype is INDEX, f"argument {a.attr} is {a.op} of type {a.dtype.name}")
        loops = [(s, depth) for s, depth in walk(kernel.body) if isinstance(s, Loop)]
        parallel = [depth for s, depth in loops if s.kind == "parallel"]
        self.check(parallel == [0], f"one parallel loop was expected, outermost; they are at depths {parallel}")
        self.statements(kernel.body)
        for b in kernel.buffers:
            self.check(b.written == (id(b) in self.stored), f"buffer {b.name} is written or declared so, but not both")

    # --- statements ---------------------------------------------------------------------------------------------------
    def statements(self, body: list[Statement]) -> None:
        for s in body:
            if isinstance(s, Store):
                self.store(s)
            elif isinstance(s, Reset):
                self.begun.add(id(s.register))
                self.check(
                    s.register.combine in COMBINES or s.register.combine in EXPANSIONS, f"unknown {s.register.combine}"
                )
            elif isinstance(s, Update):
                self.update(s)
            else:
                self.loop(s)

    def store(self, s: Store) -> None:
        self.check(id(s.buffer) in self.buffers, f"stores to {s.buffer.name}, which is no buffer of the kernel")
        self.value(s.index)
        self.value(s.value)
        self.check(s.index.dtype is INDEX, f"an index of {s.buffer.name} has type {s.index.dtype.name}")
        self.check(
            s.value.dtype is in_memory(s.buffer.dtype),
            f"{s.value.dtype.name} is stored to {s.buffer.name}: {s.buffer.dtype.name}",
        )
        if s.inside is not None:
            self.value(s.inside)
            self.check(s.inside.dtype is bool_, f"a store's condition has type {s.inside.dtype.name}")
        self.stored.add(id(s.buffer))

    def update(self, s: Update) -> None:
        r = s.register
        self.value(s.value)
        self.check(id(r) in self.begun, f"register {r.name} is updated before it is reset")
        self.check(s.value.dtype is r.dtype, f"register {r.name}: {r.dtype.name} is updated with {s.value.dtype.name}")
        self.check((r.index is None) == (s.position is None), f"register {r.name}: index and position belong together")
        if s.position is not None and r.index is not None:
            self.value(s.position)
            self.check(id(r.index) in self.begun, f"register {r.index.name} is updated before it is reset")
            self.check(s.position.dtype is r.index.dtype, f"a position of {r.name} has type {s.position.dtype.name}")

    def loop(self, s: Loop) -> None:
        self.check(s.kind in LOOPS, f"unknown kind of loop {s.kind}")
        self.check(s.step >= 1, f"a loop's step is {s.step}")
        self.check(s.var.op == "var" and s.var.dtype is INDEX, f"a loop counts with a {s.var.op}")
        self.check(id(s.var) not in self.known, f"loop variable {s.var.attr} is in use")
        if s.kind == "vector":
            self.check(all(outer.kind != "vector" for outer in self.scope), "a vector loop inside a vector loop")
        if s.kind != "parallel":  # how often the parallel loop runs is the caller's business
            for bound in (s.begin, s.end):
                self.value(bound)
                self.check(bound.dtype is INDEX, f"a bound of {s.var.attr} has type {bound.dtype.name}")
        begun = set(self.begun)
        self.known.add(id(s.var))
        self.scope.append(s)
        self.statements(s.body)
        self.scope.pop()
        self.known.discard(id(s.var))
        self.begun = begun  # a loop may run no iteration at all

    # --- values -------------------------------------------------------------------------------------------------------
    def value(self, root: Value) -> None:
        for v in expressions((root,), set()):
            if v.op in LEAVES:
                self.leaf(v)
            else:
                self.operation(v)

    def leaf(self, v: Value) -> None:
        if v.op in ("var", "arg", "scalar"):
            self.check(id(v) in self.known, f"{v.op} {v.attr} is not known here")
        elif v.op == "reg":
            register: Register = v.attr
            self.check(id(register) in self.begun, f"register {register.name} is read before it is reset")
            self.check(v.dtype is register.dtype, f"register {register.name} is read as {v.dtype.name}")
        elif v.op == "load":
            self.check(id(v.attr) in self.buffers, f"loads from {v.attr.name}, which is no buffer of the kernel")
            self.check(
                v.dtype is in_memory(v.attr.dtype), f"{v.attr.name}: {v.attr.dtype.name} is loaded as {v.dtype.name}"
            )
            self.check(len(v.args) == 1 and v.args[0].dtype is INDEX, f"an index of {v.attr.name} is no single integer")

    def operation(self, v: Value) -> None:
        self.check(v.op in ARITY, f"unknown operation {v.op}")
        self.check(len(v.args) == ARITY[v.op], f"{v.op} has {len(v.args)} operands")
        types = [a.dtype for a in v.args]
        shown = f"{v.op} {', '.join(t.name for t in types)} -> {v.dtype.name}"
        if v.op == "select":
            self.check(types[0] is bool_ and types[1] is types[2] is v.dtype, shown)
        elif v.op in COMPARE:
            self.check(types[0] is types[1] and v.dtype is bool_, shown)
        elif v.op == "bitcast":
            self.check(types[0].size == v.dtype.size, shown)
        elif v.op != "cast":
            self.check(all(t is v.dtype for t in types), shown)
            self.check(
                v.dtype.compute is v.dtype and not v.dtype.is_complex, f"arithmetic in a type of storage: {shown}"
            )


def verify(kernel: Kernel) -> None:
    """Raises AssertionError where a kernel breaks the rules of the IR.

    Operations have the right number of operands of the right types; variables, registers and buffers are used where
    they are known; there is one parallel loop, outermost; what is written is declared so.
    """
    _Verifier(kernel).run()
