"""The configuration of a model, and the checks of what a ``config.json`` says."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from typing import Any

# Whether the projections of queries, keys and values have biases where the configuration does not say.
MODEL_TYPES = {"llama": False, "mistral": False, "qwen2": True}
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_MOST = 2**31 - 1  # of an axis
_MOST_LAYERS = 1000  # keeps a wrong number from filling the memory with modules


@dataclass(frozen=True)
class Config:
    """The sizes and choices of a model, under the names of ``config.json``.

    Attributes:
        output_bias: whether the projection of the attention's result has a bias.
        rope: what ``config.json`` says of rotary positions: ``rope_type``, ``factor`` ...
        context: the most positions that the model was made for, None if unknown.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    rms_norm_eps: float
    rope_theta: float = 10000.0
    rope: dict[str, Any] = field(default_factory=dict)
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    context: int | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Take what matters from the contents of a ``config.json``.

        Raises:
            ValueError: if the model is of another family, or something is missing, wrong or not supported.
        """
        kind = values.get("model_type")
        if not isinstance(kind, str) or kind not in MODEL_TYPES:
            raise wrong("model_type", f"one of {list(MODEL_TYPES)}", kind)
        if missing := [name for name in (*_SIZES, "rms_norm_eps") if values.get(name) is None]:
            raise ValueError(f"[load_checkpoint] expected {', '.join(missing)} in config.json: it is incomplete")
        if values.get("hidden_act") not in (None, "silu"):
            raise wrong("hidden_act", "'silu'", values["hidden_act"])
        if values.get("sliding_window") and values.get("use_sliding_window", kind == "mistral"):
            raise ValueError("[load_checkpoint] expected attention to all positions, got a sliding_window")
        sizes = {name: whole(values, name) for name in _SIZES}
        hidden, heads = sizes["hidden_size"], sizes["num_attention_heads"]
        if sizes["num_hidden_layers"] > _MOST_LAYERS:
            raise wrong("num_hidden_layers", f"at most {_MOST_LAYERS}", sizes["num_hidden_layers"])
        groups = whole(values, "num_key_value_heads", heads)
        if heads % groups:
            raise wrong("num_key_value_heads", f"a divisor of {heads}", groups)
        head_dim = whole(values, "head_dim", hidden // heads)
        if head_dim % 2 or heads * head_dim > _MOST:
            raise wrong("head_dim", f"even and at most {_MOST // heads}", head_dim)
        # Newer files keep all that concerns positions in `rope_parameters`.
        name = "rope_parameters" if values.get("rope_parameters") else "rope_scaling"
        rope = values.get(name) or {}
        if not isinstance(rope, dict):
            raise wrong(name, "an object", rope)
        bias = _flag(values, "attention_bias", MODEL_TYPES[kind])
        return cls(
            **sizes,
            num_key_value_heads=groups,
            head_dim=head_dim,
            rms_norm_eps=positive(values, "rms_norm_eps"),
            rope_theta=positive(rope, "rope_theta", positive(values, "rope_theta", 10000.0)),
            rope=dict(rope),
            attention_bias=bias,
            output_bias=bias and kind != "qwen2",
            mlp_bias=_flag(values, "mlp_bias", False),
            tie_word_embeddings=_flag(values, "tie_word_embeddings", False),
            context=None if values.get("max_position_embeddings") is None else whole(values, "max_position_embeddings"),
        )


def wrong(name: str, expected: str, found: Any) -> ValueError:
    """Return the error for a value of ``config.json``: one line, however long the value is."""
    return ValueError(f"[load_checkpoint] expected {name} to be {expected}, got {reprlib.repr(found)}")


def whole(values: dict[str, Any], name: str, default: int | None = None) -> int:
    """Return the size under a name, at least 1; the default where there is none.

    Raises:
        ValueError: if it is something else.
    """
    found = default if values.get(name) is None else values[name]
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _MOST:
        raise wrong(name, f"a whole number from 1 to {_MOST}", found)
    return found


def positive(values: dict[str, Any], name: str, default: float | None = None) -> float:
    """Return the number under a name, above 0 and in the range of float32; the default where there is none.

    Raises:
        ValueError: if it is something else.
    """
    found = default if values.get(name) is None else values[name]
    if not isinstance(found, int | float) or isinstance(found, bool) or not 1e-38 < found < 1e38:
        raise wrong(name, "a number above 0", found)
    return float(found)


def _flag(values: dict[str, Any], name: str, default: bool) -> bool:
    found = default if values.get(name) is None else values[name]
    if not isinstance(found, bool):
        raise wrong(name, "true or false", found)
    return found
