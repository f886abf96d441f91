"""Communication between processes. There is one process here, so that every collective is the identity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.convert import as_node
from arrax.core.device import check_stream
from arrax.graph.dtypes import Dtype
from arrax.graph.handle import shown, wrap

if TYPE_CHECKING:
    from arrax.core.array import array

_BACKENDS = ("any", "mpi", "nccl", "jaccl", "ring")


class Group:
    """Processes that communicate with each other: made by :func:`init`."""

    def rank(self) -> int:
        """The number of this process, from 0."""
        return 0

    def size(self) -> int:
        """How many processes there are."""
        return 1

    def split(self, color: int, key: int = -1) -> Group:
        """A smaller group, of the processes that pass the same color.

        Raises:
            RuntimeError: always, for one process cannot be split.
        """
        raise RuntimeError("[split] expected a group of several processes, got one: it cannot be split further")


_WORLD = Group()


def _check(op: str, group: Group | None) -> None:
    if group is not None and not isinstance(group, Group):
        raise TypeError(f"[{op}] expected a Group or None as group, got {type(group).__name__}: make one with init()")


def is_available(backend: str = "any") -> bool:
    """Whether processes can be connected through a backend: no, there is one process.

    >>> import arrax.core as mx
    >>> mx.distributed.is_available()
    False
    """
    if not isinstance(backend, str):
        raise TypeError(f"[is_available] expected a str as backend, got {type(backend).__name__}: pass such as 'any'")
    return False


def init(
    strict: bool = False, backend: str = "any", *, all_gather_factory: Callable[[int, int], Any] | None = None
) -> Group:
    """The group of all processes: this one.

    Args:
        strict: whether to raise an error where no backend connects processes.
        backend: "any", "mpi", "nccl", "jaccl" or "ring".
        all_gather_factory: not used.

    Raises:
        ValueError: if there is no such backend.
        RuntimeError: if ``strict`` is set.

    >>> import arrax.core as mx
    >>> group = mx.distributed.init()
    >>> group.rank(), group.size()
    (0, 1)
    """
    if not isinstance(backend, str):
        raise TypeError(f"[init] expected a str as backend, got {type(backend).__name__}: pass such as 'any'")
    if backend not in _BACKENDS:
        raise ValueError(f"[init] expected a backend out of {list(_BACKENDS)}, got {shown(backend)}")
    if strict:
        raise RuntimeError(f"[init] expected processes to connect with {shown(backend)}, got none: leave out strict")
    return _WORLD


def _alone(op: str, x: Any, group: Group | None) -> Any:
    _check(op, group)
    return wrap(as_node(op, x))


def all_sum(x: array, *, group: Group | None = None, stream: Any = None) -> array:
    """The sum of the arrays of all processes.

    >>> import arrax.core as mx
    >>> mx.distributed.all_sum(mx.array([1, 2])).tolist()
    [1, 2]
    """
    check_stream("all_sum", stream)
    return _alone("all_sum", x, group)


def all_max(x: array, *, group: Group | None = None, stream: Any = None) -> array:
    """The largest elements out of the arrays of all processes."""
    check_stream("all_max", stream)
    return _alone("all_max", x, group)


def all_min(x: array, *, group: Group | None = None, stream: Any = None) -> array:
    """The smallest elements out of the arrays of all processes."""
    check_stream("all_min", stream)
    return _alone("all_min", x, group)


def all_gather(x: array, *, group: Group | None = None, stream: Any = None) -> array:
    """The arrays of all processes, concatenated along the first axis."""
    check_stream("all_gather", stream)
    return _alone("all_gather", x, group)


def sum_scatter(x: array, *, group: Group | None = None, stream: Any = None) -> array:
    """This process's share, along the first axis, of the sum of the arrays of all processes."""
    check_stream("sum_scatter", stream)
    return _alone("sum_scatter", x, group)


def send(x: array, dst: int, *, group: Group | None = None, stream: Any = None) -> array:
    """Sends an array to another process.

    Raises:
        ValueError: always, for there is no other process.
    """
    check_stream("send", stream)
    _check("send", group)
    raise ValueError(f"[send] expected a group of several processes to send to {dst}, got one")


def recv(shape: Sequence[int], dtype: Dtype, src: int, *, group: Group | None = None, stream: Any = None) -> array:
    """Receives an array of a shape and type from another process.

    Raises:
        ValueError: always, for there is no other process.
    """
    check_stream("recv", stream)
    _check("recv", group)
    raise ValueError(f"[recv] expected a group of several processes to receive from {src}, got one")


def recv_like(x: array, src: int, *, group: Group | None = None, stream: Any = None) -> array:
    """Receives an array of the shape and type of ``x`` from another process; raises as :func:`recv` does."""
    check_stream("recv_like", stream)
    return recv(x.shape, x.dtype, src, group=group)
