"""Comparison with Apple's MLX, the oracle of these tests."""

from collections.abc import Callable
from typing import Any

import mlx.core as apple
import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
from arrax.utils import tree_flatten, tree_map


def magnitude(x: apple.array) -> float:
    """The largest finite magnitude of its elements, 0 without any."""
    values = np.array(x.astype(apple.float32))
    return float(np.abs(values[np.isfinite(values)]).max(initial=0))


class Oracle:
    """Carries arrays over to MLX and compares what comes back."""

    core = apple
    nn = apple_nn

    def give(self, tree: Any) -> Any:
        """The tree with arrays of MLX instead of arrays of Arrax."""
        return tree_map(lambda x: apple.array(np.array(x)) if isinstance(x, mx.array) else x, tree)

    def copy_weights(self, module: Any, to: Any) -> None:
        """Make the module ``to`` of MLX equal to a module of Arrax."""
        to.load_weights(list(self.give(tree_flatten(module.parameters(), destination={})).items()))

    def same(self, ours: Any, theirs: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
        """Assert that two trees have the same structure, dtypes, shapes and, nearly, values."""
        ours, theirs = tree_flatten(ours, destination={}), tree_flatten(theirs, destination={})
        assert ours.keys() == theirs.keys()
        for name, x in ours.items():
            y = theirs[name]
            if not isinstance(x, mx.array):
                assert x == y, name
                continue
            assert str(x.dtype).split(".")[-1] == str(y.dtype).split(".")[-1], name
            assert x.shape == y.shape, name
            x, y = np.array(x.astype(mx.float32)), np.array(y.astype(apple.float32))
            np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=name)

    def close(self, ours: Any, theirs: Any, rtol: float, exact: Any = None) -> None:
        """Assert that two trees are equal up to ``rtol`` times the largest magnitude in each array of ``theirs``.

        An array counts as large as a twentieth of the largest one at least: some gradients are only rounding errors.
        With ``exact``, the same in higher precision, ours may be different if it is about as near to that as theirs is.
        """
        ours, theirs = tree_flatten(ours, destination={}), tree_flatten(theirs, destination={})
        exact = theirs if exact is None else tree_flatten(exact, destination={})
        assert ours.keys() == theirs.keys()
        apple.eval(theirs, exact)  # at once: MLX on the CPU may wait for ever between very many evaluations
        least = 0.05 * max((magnitude(y) for y in theirs.values()), default=0)
        for name, x in ours.items():
            y = theirs[name]
            assert str(x.dtype).split(".")[-1] == str(y.dtype).split(".")[-1], name
            assert x.shape == y.shape, name
            if not x.size:
                continue
            x, y, z = (np.array(v.astype(core.float32)) for v, core in ((x, mx), (y, apple), (exact[name], apple)))
            finite = np.isfinite(y)
            np.testing.assert_array_equal(x[~finite], y[~finite], err_msg=name)
            if finite.any():
                x, y, z = x[finite], y[finite], z[finite]
                unit = rtol * max(np.abs(y).max(), least, 1e-30)
                allowed = 1.5 * np.abs(z - y).max() + unit
                assert np.abs(x - z).max() <= allowed, (name, float(np.abs(x - z).max() / unit))

    def error_of(self, function: Callable[[], Any]) -> type[BaseException]:
        """The type of the exception that a function raises."""
        with pytest.raises(Exception) as info:
            function()
        return info.type


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return Oracle()
