"""Makes a failing program smaller, and prints it as a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.differential.programs import Function, Input, Program, Statement, dtype_of, elements_of

import arrax.core as arrax

FEW = 40  # elements of an input that are written out


def smaller(program: Program, *, evaluating: bool = True) -> Iterator[Program]:
    """Programs with less in them; ``evaluating``: it is safe to run a program in this process."""
    if len(program.outputs) > 1:
        for name in program.outputs:
            yield replace(program, outputs=(name,)).used()
        for name in program.outputs:
            yield replace(program, outputs=tuple(n for n in program.outputs if n != name)).used()
    for s in program.statements:
        if (s.name,) != program.outputs:
            yield replace(program, outputs=(s.name,)).used()
    recorded = _recorded(program) if evaluating else {}
    for s in program.statements:
        yield from _without(program, s, recorded)
    for k, s in enumerate(program.statements):
        if s.function:
            for f in _smaller_functions(s.function):
                statements = (*program.statements[:k], replace(s, function=f), *program.statements[k + 1 :])
                yield replace(program, statements=statements).used()
    for k, i in enumerate(program.inputs):
        if i.kind != "plain":
            yield replace(program, inputs=(*program.inputs[:k], replace(i, kind="plain"), *program.inputs[k + 1 :]))


def _recorded(program: Program) -> dict[str, arrax.array]:
    """The recorded values of a program's variables, or of those that can be."""
    every = replace(program, outputs=tuple(s.name for s in program.statements))
    arrays = program.arrays(arrax)
    named = dict(zip((i.name for i in program.inputs), arrays, strict=True))
    try:
        return named | dict(zip(every.outputs, every.function()(arrax, *arrays), strict=True))
    except Exception:
        return named


def _without(program: Program, s: Statement, recorded: dict[str, arrax.array]) -> Iterator[Program]:
    """The program with something else in a statement's place: an operand, or an input."""
    own = recorded.get(s.name)
    if own is None:
        return
    rest = tuple(t for t in program.statements if t is not s)
    for name in dict.fromkeys(s.uses):
        other = recorded[name]
        if other.shape == own.shape and other.dtype == own.dtype:
            renamed = tuple(replace(t, uses=tuple(name if u == s.name else u for u in t.uses)) for t in rest)
            outputs = tuple(dict.fromkeys(name if n == s.name else n for n in program.outputs))
            if not any(i.name in outputs for i in program.inputs):
                yield replace(program, statements=renamed, outputs=outputs).used()
    if s.name in program.outputs:
        return
    dtype = dtype_of(own)
    inputs = [Input(s.name, dtype, own.shape, 7, kind) for kind in ("plain", "special", "large")]
    if own.size <= FEW:
        try:
            inputs.append(Input(s.name, dtype, own.shape, elements=elements_of(arrax, own)))
        except Exception:  # what cannot be computed is no input
            return
    for new in inputs:
        yield replace(program, inputs=(*program.inputs, new), statements=rest).used()


def _smaller_functions(f: Function) -> Iterator[Function]:
    for s in f.statements[:-1]:
        yield _needed(replace(f, result=s.name))
    for s in f.statements:
        for name in dict.fromkeys(s.uses):
            rest = tuple(
                replace(t, uses=tuple(name if u == s.name else u for u in t.uses)) for t in f.statements if t is not s
            )
            yield _needed(replace(f, statements=rest, result=name if f.result == s.name else f.result))


def _needed(f: Function) -> Function:
    wanted, kept = {f.result}, []
    for s in reversed(f.statements):
        if s.name in wanted:
            wanted.update(s.uses)
            kept.append(s)
    return replace(f, statements=tuple(kept[::-1]))


def reduced(
    program: Program,
    fails: Callable[[Program], str],
    *,
    evaluating: bool = True,
    seconds: float = 60,
    tries: int = 400,
) -> tuple[Program, str]:
    """A smaller program that fails in the same way, and how it does."""
    problem = fails(program)
    end, again = time.monotonic() + seconds, True
    while again:
        again = False
        for candidate in smaller(program, evaluating=evaluating):
            tries -= 1
            if tries < 0 or time.monotonic() > end:
                break
            if not candidate.statements:
                continue
            text = fails(candidate)
            if text and kind_of(text) == kind_of(problem):
                program, problem, again = candidate, text, True
                break
    return program, problem


def kind_of(problem: str) -> str:
    """Who found it, and the exception if it is one."""
    way, _, rest = problem.partition(": ")
    error = rest.partition(":")[0]
    return f"{way} {error}" if error.endswith("Error") else way


def as_test(program: Program, problem: str, name: str) -> str:
    """The program as a test for tests/differential/test_found.py."""
    way, _, _ = problem.partition(": ")
    arguments = [i.text() for i in program.inputs]
    ways = "" if way in ("mlx", "numpy", "alike") else f', ways=("unfused", "{way}")' if way != "unfused" else ""
    call = f"agree({', '.join(['program', *arguments])}{ways})"
    body = [line for s in program.statements for line in s.lines()]
    lines = [
        f"def test_{name}() -> None:",
        f"    # {problem}",
        f"    def program({', '.join(['mx', *(i.name for i in program.inputs)])}):",
        *("        " + line for line in body),
        f"        return {', '.join(program.outputs)},",
        "",
        f"    {call}",
    ]
    return "\n".join(lines)
