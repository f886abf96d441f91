"""The optimizers are compared with MLX's as the layers are."""

from tests.nn.conftest import oracle

__all__ = ["oracle"]
