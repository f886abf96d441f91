"""Which results may be written over which inputs.

An input that nobody else holds can give its memory to a result. It must not be needed any more when it is overwritten:
every step that reads it runs before the first that writes the result, or reads each element just to compute the one
that takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from arrax.compiler.analysis import Analysis, Key

Pair = tuple[int, int]  # an input and a result, by their positions in the graph


@dataclass(slots=True)
class Access:
    """What a step does with arrays.

    Attributes:
        reads, writes: which ones.
        pairs: those that may be in the same place.
        copies: whether it does nothing but write what it reads.
    """

    reads: set[int]
    writes: set[int]
    pairs: set[Pair] = field(default_factory=set)
    copies: bool = False


def access(analysis: Analysis, memory: Callable[[int], int]) -> Access:
    """Of a group's kernels. ``memory`` gives the node in whose memory a node is."""
    group, symbols, nodes = analysis.group, analysis.symbols, analysis.nodes
    addresses: dict[int, set] = {}
    at: dict[Key, int] = {}
    for key in analysis.order:
        position, coords = key
        if analysis.is_loaded(position):
            at[key] = memory(position)
            addresses.setdefault(at[key], set()).add(symbols.address(coords, nodes[position].shape))
    # the last loop over columns: that of stores in a phase also makes the next phase's sums; what each row stores once
    # comes after all of them
    stores = [(r.node, r.coords) for r in group.roots if analysis.is_column(r.coords)]
    loops = [analysis.phase[key] - 1 for key in group.reductions.items()]
    last = max([*(analysis.phase[key] for key in stores), *loops], default=0)
    found = Access(set(addresses), {memory(r.target) for r in group.roots})
    if group.kind != "loop":
        return found
    for root in group.roots:
        start = (root.node, root.coords)
        if root.combine is not None or (start in stores and analysis.phase[start] < last):
            continue
        target = memory(root.target)
        if sum(memory(r.target) == target for r in group.roots) > 1:
            continue
        # the value that is stored depends on what was read: reading comes first, in whatever order the machine works
        found.pairs.update(
            (at[key], target) for key in analysis.behind([start]) if key in at and addresses[at[key]] == {root.address}
        )
    if len(group.roots) == 1:
        source = (group.roots[0].node, group.roots[0].coords)
        while source not in at and analysis.scheduler.kinds[source[0]] == "view":
            source = analysis.needs[source][0]
        found.copies = source in at
    return found


def donations(steps: Sequence[Access], inputs: Iterable[int], results: Iterable[int]) -> list[Pair]:
    """The inputs and results that may be in the same place.

    In the order in which one had better choose: those that save a copy, then inputs that few results could use.
    """
    wanted = set(results)
    reading: dict[int, list[int]] = {i: [] for i in inputs}
    begin: dict[int, int] = {}
    for t, step in enumerate(steps):
        for i in step.reads & reading.keys():
            reading[i].append(t)
        for o in step.writes & wanted:
            begin.setdefault(o, t)
    found: list[tuple[bool, int, Pair]] = []
    for i, times in reading.items():
        candidates = {pair for t in times for pair in steps[t].pairs if pair[0] == i and pair[1] in wanted}
        pairs = [p for p in candidates if all(t < begin[p[1]] or p in steps[t].pairs for t in times)]
        for pair in pairs:
            saves = any(steps[t].copies and pair in steps[t].pairs for t in times)
            found.append((not saves, len(pairs), pair))
    return [pair for _, _, pair in sorted(found)]
