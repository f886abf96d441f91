"""Comparison with Apple's MLX, the oracle of these tests."""

from collections.abc import Callable
from typing import Any

import mlx.core as apple
import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
from arrax.utils import tree_flatten, tree_map


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

    def error_of(self, function: Callable[[], Any]) -> type[BaseException]:
        """The type of the exception that a function raises."""
        with pytest.raises(Exception) as info:
            function()
        return info.type


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return Oracle()
