"""Checkpoints of the Llama family: loading, logits, generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.llm.checkpoints import CONFIG, LLAMA3, reference_logits, write_checkpoint, write_config, write_tokenizer

import arrax.core as mx
import arrax.nn as nn
from arrax.llm import Llama, TextStream, Tokenizer, generate, load_checkpoint
from arrax.llm import llama as llama_module
from arrax.utils import tree_flatten

TOKENS = np.random.default_rng(3).integers(0, 300, 40).tolist()


def load(folder: Path) -> Llama:
    return load_checkpoint(folder).model


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    write_checkpoint(folder)
    return folder


CONFIGS: dict[str, dict[str, Any]] = {
    "grouped": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "head_dim": 8},
    "qwen2": {"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": False},
    "linear": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama3": {"rope_scaling": LLAMA3},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_logits(name: str, tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path, CONFIGS[name])
    logits = load(tmp_path)(mx.array([TOKENS]))
    np.testing.assert_allclose(np.array(logits[0]), reference_logits(CONFIGS[name], weights, TOKENS), 1e-3, 1e-3)


def test_rope_parameters_in_one_place(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path, {"rope_scaling": LLAMA3})
    config = {k: v for k, v in CONFIG.items() if k != "rope_theta"}
    write_config(tmp_path, config | {"rope_parameters": LLAMA3 | {"rope_theta": 500.0}})
    expected = reference_logits({"rope_scaling": LLAMA3, "rope_theta": 500.0}, weights, TOKENS)
    np.testing.assert_allclose(np.array(load(tmp_path)(mx.array([TOKENS]))[0]), expected, 1e-3, 1e-3)


@pytest.mark.parametrize("step", [256, 16])
def test_cached_logits_are_the_uncached_ones(plain: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_module, "CACHE_STEP", step)  # 16: the buffers grow on the way
    model = load(plain)
    expected = np.array(model(mx.array([TOKENS]))[0])
    caches = model.make_caches()
    parts = [np.array(model(mx.array([tokens]), caches)[0]) for tokens in (TOKENS[:11], TOKENS[11:30])]
    parts += [np.array(model(mx.array([[token]]), caches)[0]) for token in TOKENS[30:]]
    np.testing.assert_allclose(np.concatenate(parts), expected, 1e-4, 1e-4)
    assert caches[0].length == 40
    assert caches[0].keys is not None and caches[0].keys.shape == (1, 2, -(-40 // step) * step, 16)


def test_caches_are_written_in_place(plain: Path) -> None:
    model = load(plain)
    caches = model.make_caches()
    steps = []
    for token in TOKENS[:6]:
        model(mx.array([[token]]), caches)
        mx.eval([(cache.keys, cache.values) for cache in caches])
        steps.append([np.asarray(cache.keys).ctypes.data for cache in caches])
    assert steps[2:] == [steps[1]] * 4


def test_shards(plain: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, shards=3)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    whole, parts = (dict(tree_flatten(load(folder).parameters())) for folder in (plain, tmp_path))
    assert whole.keys() == parts.keys()
    assert all(mx.array_equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_half_precision(tmp_path: Path, dtype: mx.Dtype) -> None:
    weights = write_checkpoint(tmp_path, dtype=dtype)
    logits = load(tmp_path)(mx.array([TOKENS]))
    assert logits.dtype == dtype
    expected = reference_logits({}, weights, TOKENS)
    error = np.abs(np.array(logits[0].astype(mx.float32)) - expected).max() / np.abs(expected).max()
    assert error < (0.08 if dtype == mx.bfloat16 else 0.01)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized(plain: Path, tmp_path: Path, bits: int) -> None:
    model = load(plain)
    name = "model.layers.0.mlp.up_proj"
    other = {"group_size": 64, "bits": 8}
    nn.quantize(
        model,
        32,
        bits,
        class_predicate=lambda path, module: (
            other if path == name else hasattr(module, "to_quantized") and path != "lm_head"
        ),
    )
    expected = model(mx.array([TOKENS]))
    write_config(tmp_path, CONFIG | {"quantization": {"group_size": 32, "bits": bits, name: other, "lm_head": False}})
    model.save_weights(tmp_path / "model.safetensors")
    loaded = load(tmp_path)
    assert (loaded.model.layers[0].mlp.up_proj.bits, loaded.model.layers[0].mlp.down_proj.bits) == (8, bits)
    assert mx.allclose(loaded(mx.array([TOKENS])), expected, 1e-4, 1e-4)


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "family": ({"model_type": "gpt2"}, "expected model_type to be one of .*'llama'.*got 'gpt2'"),
    "incomplete": ({"hidden_size": None, "vocab_size": None}, "expected hidden_size, vocab_size in config.json"),
    "activation": ({"hidden_act": "gelu"}, "expected hidden_act to be 'silu', got 'gelu'"),
    "window": ({"model_type": "mistral", "sliding_window": 8}, "got a sliding_window"),
    "groups": ({"num_key_value_heads": 3}, "expected num_key_value_heads to be a divisor of 4, got 3"),
    "positions": ({"rope_scaling": {"type": "yarn"}}, "expected rope_type to be default, linear or llama3, got 'yarn'"),
    "factor": ({"rope_scaling": {"type": "linear"}}, "expected factor to be a number above 0, got None"),
    "quantization": ({"quantization_config": {"quant_method": "gptq"}}, "expected weights quantized by MLX"),
    "lacking": ({"num_hidden_layers": 3}, r"lacks model.layers.2.input_layernorm.weight and 8 more"),
    "more": ({"num_hidden_layers": 1}, r"also has model.layers.1.input_layernorm.weight and 8 more"),
    "shape": ({"vocab_size": 301}, r"expected model.embed_tokens.weight of shape \(301, 64\), got \(300, 64\)"),
}


ODD = ["abc", "64", "", -1, 0, 0.5, 2**31, 10**400, float("nan"), float("inf"), True, [], [[1]], {"a": 1}, "x\n" * 999]
SIZES = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"]
# For each name of a configuration, which of the odd values are fine.
MALFORMED: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys([*SIZES, "num_key_value_heads", "head_dim", "max_position_embeddings"], ()),
    **dict.fromkeys(["rms_norm_eps", "rope_theta"], (0.5, 2**31)),
    **dict.fromkeys(["tie_word_embeddings", "mlp_bias", "attention_bias"], (True,)),
    "model_type": (),
    "hidden_act": (),
    "rope_parameters": ("", 0, [], {"a": 1}),
    "quantization": ({"a": 1},),
    "eos_token_id": (-1, 0, 2**31, 10**400, []),
}
NESTED: dict[str, tuple[dict[str, Any], str]] = {
    "factor": ({"rope_scaling": {"type": "linear", "factor": [8]}}, r"expected factor .*, got \[8\]"),
    "waves": ({"rope_scaling": LLAMA3 | {"low_freq_factor": 4}}, "to be less than high_freq_factor, which is 4.0"),
    "theta": ({"rope_parameters": {"rope_theta": "x"}}, "expected rope_theta to be a number above 0, got 'x'"),
    "group": ({"quantization": {"group_size": "x", "bits": 4}}, "expected group_size to be a whole number .*, got 'x'"),
    "bits": ({"quantization": {"group_size": 32}}, "expected bits to be a whole number .*, got None"),
    "mode": ({"quantization": {"group_size": 32, "bits": 4, "mode": 3}}, "expected mode to be .*, got 3"),
    "layer": ({"quantization": {"group_size": 32, "bits": 4, "lm_head": "x"}}, "expected lm_head to be true, false or"),
    "ends": (
        {"eos_token_id": [0, "</s>"]},
        r"expected eos_token_id to be a token or a list of tokens, got \[0, '</s>'",
    ),
    "head": ({"head_dim": 15}, "expected head_dim to be even"),
    "layers": ({"num_hidden_layers": 10**9}, "expected num_hidden_layers to be at most 1000"),
    "wide": ({"head_dim": 2**31 - 2}, "expected head_dim to be even and at most 536870911"),
    "large": ({"hidden_size": 2**31 - 1, "head_dim": 16, "vocab_size": 2**31 - 1}, "sizes of a model"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_values(name: str, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(plain / "model.safetensors")
    for value in ODD:
        if not any(value == fine and type(value) is type(fine) for fine in MALFORMED[name]):
            write_config(tmp_path, CONFIG | {name: value})
            with pytest.raises(ValueError, match=rf"^\[load_checkpoint\] expected {name} to be ") as raised:
                load_checkpoint(tmp_path)
            assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


@pytest.mark.parametrize("name", ERRORS | NESTED)
def test_errors_of_checkpoints(name: str, plain: Path, tmp_path: Path) -> None:
    change, message = (ERRORS | NESTED)[name]
    write_config(tmp_path, CONFIG | change)
    (tmp_path / "model.safetensors").symlink_to(plain / "model.safetensors")
    with pytest.raises(ValueError, match=message) as raised:
        load_checkpoint(tmp_path)
    assert "\n" not in str(raised.value)


def test_errors_of_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json, which does not exist"):
        load_checkpoint(tmp_path)
    for text in ("{", "[" * 100_000, "\udcff"):
        (tmp_path / "config.json").write_text(text, errors="surrogateescape")
        with pytest.raises(ValueError, match="expected JSON in"):
            load_checkpoint(tmp_path)
    write_config(tmp_path, CONFIG)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors, which does not exist"):
        load_checkpoint(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    for places in ("[]", '{"x": 1}', '{"x": "../other/model.safetensors"}'):
        index.write_text(f'{{"weight_map": {places}}}')
        with pytest.raises(ValueError, match="expected weight_map in"):
            load_checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors"}}))
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors, which does not exist"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="expected safetensors in"):
        load_checkpoint(tmp_path)
    mx.save_safetensors(str(tmp_path / "model.safetensors"), {"model.norm.weight": mx.ones((64,), mx.int32)})
    with pytest.raises(ValueError, match=r"lacks lm_head\.weight and \d+ more"):
        load_checkpoint(tmp_path)


def test_weights_of_integers(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path)
    arrays = {name: mx.array(value) for name, value in weights.items()}
    arrays["model.norm.weight"] = mx.ones((64,), mx.int32)
    mx.save_safetensors(str(tmp_path / "model.safetensors"), arrays)
    with pytest.raises(ValueError, match=r"expected model\.norm\.weight to be bfloat16, float16 or float32, got int32"):
        load_checkpoint(tmp_path)


def test_stop_tokens_of_both_configurations(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path).stop == {0}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [5, 6]}')
    assert load_checkpoint(tmp_path).stop == {0, 5, 6}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": {"a": 1}}')
    with pytest.raises(ValueError, match=r"expected eos_token_id to be a token or a list of tokens, got {'a': 1}"):
        load_checkpoint(tmp_path)


def test_greedy_generation_takes_the_likeliest(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(plain)
    tokens = list(TOKENS)
    for _ in range(4):
        tokens.append(int(mx.argmax(model(mx.array([tokens]))[0, -1]).item()))
    assert list(generate(model, TOKENS, max_tokens=4)) == tokens[40:]
    monkeypatch.setattr("arrax.llm.batch.PROMPT_CHUNK", 16)
    assert list(generate(model, TOKENS, max_tokens=4)) == tokens[40:]
    end = tokens[42]
    assert list(generate(model, TOKENS, max_tokens=4, stop={end})) == tokens[40 : tokens.index(end, 40)]


def test_sampling_follows_the_seed(plain: Path) -> None:
    model = load(plain)

    def text(seed: int, top_p: float = 1.0) -> list[int]:
        return list(generate(model, TOKENS, max_tokens=8, temperature=1.5, top_p=top_p, seed=seed))

    assert text(1) == text(1) != text(2)
    assert text(1, 0.9) == text(1, 0.9)
    assert text(3, 1e-6) == list(generate(model, TOKENS, max_tokens=8))


def test_generation_ends_with_the_context(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"max_position_embeddings": 42})
    model = load(tmp_path)
    assert len(list(generate(model, TOKENS, max_tokens=9))) == 2
    with pytest.raises(ValueError, match="a prompt of less than 42 tokens, got 42"):
        generate(model, [1] * 42)


def test_errors_of_generation(plain: Path) -> None:
    model = load(plain)
    wrong: list[tuple[list[int], dict[str, Any], str]] = [
        ([], {}, "at least one token"),
        ([300], {}, "tokens from 0 to 299, got 300"),
        ([-1, 3], {}, "got -1 to 3"),
        ([1], {"max_tokens": 0}, "max_tokens of at least 1"),
        ([1], {"temperature": -1.0}, "temperature of at least 0"),
        ([1], {"temperature": float("nan")}, "temperature of at least 0"),
        ([1], {"top_p": 0.0}, "top_p above 0 and up to 1"),
    ]
    for prompt, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            generate(model, prompt, **options)


def test_text_comes_in_whole_characters(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")
    for text in ("naïve café — ☃ 日本", "The quick  brown\nfox 🦊"):
        tokens = tokenizer.encode(text)
        stream = TextStream(tokenizer)
        pieces = [stream.add(token) for token in tokens]
        assert "".join(pieces) == text and stream.finish() == ""
        assert len(pieces) == len(tokens) and not any("\ufffd" in piece for piece in pieces)
        assert sum(map(bool, pieces)) > 4
    stream.add(tokenizer.encode("☃日")[0])
    assert stream.finish() == "\ufffd"
    garbage = tokenizer.encode("☃日")[-1:] * 40
    pieces = [stream.add(token) for token in garbage]
    assert sum(map(bool, pieces)) > 1 and "".join([*pieces, stream.finish()]) == tokenizer.decode(garbage)


def test_errors_of_tokenizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer\.json"):
        Tokenizer(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected a tokenizer in"):
        Tokenizer(path)
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'arrax\[llm\]'"):
        Tokenizer(path)
