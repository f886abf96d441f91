"""Which steps of a plan are launched together: neighbours that have nothing to do with each other.

The threads of a machine share the steps of a stage among them and wait for each other once, when it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arrax.compiler.donation import Access, Pair

LONGEST = 256  # steps in a stage


def stages(accesses: Sequence[Access], alone: Sequence[bool], donations: Iterable[Pair]) -> list[range]:
    """The steps, cut into stages.

    Args:
        accesses: what each step does with arrays.
        alone: steps that share a stage with no other.
        donations: inputs, and the results that may be written over them.
    """
    overwritten: dict[int, set[int]] = {}
    for i, o in donations:
        overwritten.setdefault(o, set()).add(i)
    found: list[range] = []
    reads: set[int] = set()
    writes: set[int] = set()
    begin = 0
    for t, step in enumerate(accesses):
        written = step.writes.union(*(overwritten.get(o, ()) for o in step.writes))
        waits = not (writes.isdisjoint(step.reads) and written.isdisjoint(reads | writes))
        if t > begin and (waits or alone[t] or alone[t - 1] or t - begin == LONGEST):
            found.append(range(begin, t))
            begin = t
            reads, writes = set(), set()
        reads |= step.reads
        writes |= written
    if accesses:
        found.append(range(begin, len(accesses)))
    return found
