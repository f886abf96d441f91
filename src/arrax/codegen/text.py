"""The text of a function as it is written: lines in open loops, fresh names, declarations, stack slots."""

from __future__ import annotations

from typing import Any


class Scope:
    """One open loop: the lines emitted in it so far, and the values known in it."""

    __slots__ = ("lines", "values")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[Any, str] = {}


class Writer:
    """Writes one function. A line goes into the innermost open loop, or into the one at the given depth."""

    def __init__(self) -> None:
        self.counter = 0
        self.scopes = [Scope()]
        self.allocas: list[str] = []
        self.declared: set[str] = set()

    @property
    def innermost(self) -> int:
        """The depth of the innermost open loop."""
        return len(self.scopes) - 1

    def fresh(self, prefix: str = "t") -> str:
        """A name that is not taken."""
        self.counter += 1
        return f"%{prefix}{self.counter}"

    def line(self, text: str, depth: int | None = None) -> None:
        self.scopes[-1 if depth is None else depth].lines.append("  " + text)

    def let(self, text: str, depth: int | None = None) -> str:
        """Writes an instruction; returns the name of its result."""
        name = self.fresh()
        self.line(f"{name} = {text}", depth)
        return name

    def declare(self, signature: str) -> None:
        self.declared.add(signature)

    def intrinsic(self, name: str, result: str, args: list[tuple[str, str]], depth: int) -> str:
        """Declares a function and calls it; arguments are (type, value)."""
        self.declare(f"declare {result} @{name}({', '.join(t for t, _ in args)})")
        return self.let(f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in args)})", depth)

    def alloca(self, kind: str) -> str:
        """A slot on the stack, for the whole call."""
        name = self.fresh("a")
        self.allocas.append(f"  {name} = alloca {kind}, align 64")
        return name

    def label(self, name: str) -> None:
        self.scopes[-1].lines.append(f"{name}:")

    def splat(self, scalar: str, kind: str, lanes: int, depth: int) -> str:
        """A vector with the scalar in all lanes."""
        one = self.let(f"insertelement <{lanes} x {kind}> poison, {kind} {scalar}, i32 0", depth)
        return self.let(
            f"shufflevector <{lanes} x {kind}> {one}, <{lanes} x {kind}> poison, <{lanes} x i32> zeroinitializer", depth
        )
