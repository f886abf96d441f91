"""Convolutions: compared with MLX."""

from __future__ import annotations

from collections.abc import Callable

import pytest

EXPRESSIONS = """
mx.convolve(f, f)
mx.convolve(a, f, mode='same')
mx.convolve(a, f, mode='valid')
mx.convolve(a, a)
mx.convolve(f, a, mode='valid')
mx.convolve(f, f, mode='x')
mx.convolve(m, f)
mx.conv1d(normal(2, 10, 3), normal(4, 3, 3, seed=1))
mx.conv1d(normal(2, 10, 3), normal(4, 3, 3, seed=1), stride=2, padding=1)
mx.conv1d(normal(2, 10, 3), normal(4, 3, 3, seed=1), padding=2, dilation=2)
mx.conv1d(normal(2, 10, 4), normal(4, 3, 2, seed=1), groups=2)
mx.conv1d(normal(2, 10, 4), normal(4, 3, 1, seed=1), groups=4)
mx.conv1d(normal(2, 10, 4), normal(8, 3, 1, seed=1), groups=4)
mx.conv1d(normal(1, 3, 2), normal(4, 1, 2, seed=1))
mx.conv1d(normal(1, 3, 2), normal(4, 1, 2, seed=1), stride=2)
mx.conv1d(normal(1, 3, 2), normal(4, 5, 2, seed=1))
mx.conv1d(normal(1, 3, 2), normal(4, 2, 3, seed=1))
mx.conv1d(normal(3, 2), normal(4, 2, 3, seed=1))
mx.conv1d(normal(0, 3, 2), normal(4, 2, 2, seed=1))
mx.conv1d(normal(1, 5, 2, dtype="float16"), normal(1, 2, 2, dtype="float16", seed=1))
mx.conv1d(mx.zeros((1, 5, 2), mx.int32), mx.zeros((1, 5, 2), mx.int32))
mx.conv2d(normal(1, 5, 6, 2), normal(3, 2, 3, 2, seed=1))
mx.conv2d(normal(1, 5, 6, 2), normal(3, 2, 3, 2, seed=1), (2, 1), (1, 0))
mx.conv2d(normal(1, 5, 6, 2), normal(3, 2, 3, 2, seed=1), 2, 1, (1, 2))
mx.conv2d(normal(1, 5, 6, 2), normal(3, 1, 1, 2, seed=1))
mx.conv2d(normal(1, 5, 6, 2), normal(2, 3, 3, 1, seed=1), groups=2, padding=1)
mx.conv3d(normal(1, 3, 4, 5, 2), normal(2, 2, 2, 2, 2, seed=1))
mx.conv_transpose1d(normal(2, 5, 3), normal(4, 3, 3, seed=1))
mx.conv_transpose1d(normal(2, 5, 3), normal(4, 3, 3, seed=1), 2, 1)
mx.conv_transpose1d(normal(2, 5, 3), normal(4, 3, 3, seed=1), 2, 1, 1, 1)
mx.conv_transpose1d(normal(2, 5, 3), normal(4, 3, 3, seed=1), 3, 0, 2)
mx.conv_transpose1d(normal(2, 5, 4), normal(4, 3, 2, seed=1), 2, groups=2)
mx.conv_transpose2d(normal(1, 3, 4, 2), normal(3, 2, 3, 2, seed=1), 2, 1, 1, (1, 0))
mx.conv_transpose3d(normal(1, 2, 3, 2, 2), normal(2, 2, 2, 2, 2, seed=1), 2)
mx.conv_general(normal(1, 5, 6, 2), normal(3, 2, 3, 2, seed=1), padding=([1, 0], [2, 1]))
mx.conv_general(normal(1, 5, 6, 2), normal(3, 2, 3, 2, seed=1), flip=True, input_dilation=2)
mx.conv_general(normal(1, 5, 2), normal(3, 2, 2, seed=1), 2, ([1], [2]), 2, 3)
mx.convolve(normal(5), normal(3, seed=1))
mx.convolve(normal(5), normal(3, seed=1), 'same')
mx.convolve(normal(5), normal(3, seed=1), 'valid')
mx.convolve(normal(5), normal(4, seed=1), 'same')
mx.convolve(normal(6), normal(4, seed=1), 'same')
mx.convolve(normal(3), normal(5, seed=1), 'same')
mx.convolve(normal(3), normal(6, seed=1), 'same')
mx.convolve(normal(3), normal(5, seed=1), 'valid')
mx.convolve(normal(3), mx.zeros((0, )))
mx.convolve(normal(7), normal(2, seed=1), 'same')
""".strip().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_agrees_with_mlx(agree: Callable[..., None], expression: str) -> None:
    agree(expression)
