"""One process: collectives are the identity, as MLX's are."""

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx

oracle.set_default_device(oracle.cpu)
COLLECTIVES = ("all_sum", "all_max", "all_min", "all_gather", "sum_scatter")


def test_the_group_has_one_member():
    group = mx.distributed.init()
    assert (group.rank(), group.size()) == (0, 1)
    assert isinstance(group, mx.distributed.Group)
    assert not mx.distributed.is_available("mpi")


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives_are_the_identity(name):
    for value in (np.arange(6).reshape(2, 3), np.float32(1.5), np.array([True, False])):
        ours, theirs = (getattr(m.distributed, name)(m.array(value)) for m in (mx, oracle))
        assert ours.tolist() == theirs.tolist()
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    x = mx.array([1.0, 2.0])
    assert getattr(mx.distributed, name)(x, group=mx.distributed.init()).tolist() == [1, 2]
    assert mx.grad(lambda x: getattr(mx.distributed, name)(x).sum())(x).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda m: m.distributed.send(m.array(1.0), 0)),
        (ValueError, lambda m: m.distributed.recv((2,), m.float32, 0)),
        (ValueError, lambda m: m.distributed.recv_like(m.array(1.0), 1)),
        (ValueError, lambda m: m.distributed.init(backend="other")),
        (TypeError, lambda m: m.distributed.init(backend=None)),
        (TypeError, lambda m: m.distributed.is_available(3)),
        (TypeError, lambda m: m.distributed.all_sum(m.array(1.0), group=3)),
        (RuntimeError, lambda m: m.distributed.init(strict=True)),
        (RuntimeError, lambda m: m.distributed.init(strict=True, backend="mpi")),
        (RuntimeError, lambda m: m.distributed.init().split(0)),
    ],
)
def test_errors_are_the_oracles(error, call):
    with pytest.raises(error) as caught:
        call(mx)
    assert "\n" not in str(caught.value)
    with pytest.raises(error):
        call(oracle)
