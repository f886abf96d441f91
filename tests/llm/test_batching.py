"""Several texts at a time: each becomes what it becomes alone."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from tests.llm.checkpoints import write_checkpoint

import arrax.core as mx
from arrax.llm import Llama, generate, load_checkpoint
from arrax.llm import batch as batch_module
from arrax.llm.batch import Batch, Text
from arrax.llm.sampling import sample

RNG = np.random.default_rng(1)
PROMPTS = [RNG.integers(0, 300, n).tolist() for n in (3, 40, 1, 150, 7, 70, 2, 33, 5)]
CHOICES: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "seed": 4},
    {"temperature": 0.7, "top_p": 0.8, "seed": 2**64 - 1},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llama:
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder)
    return load_checkpoint(folder).model


def options(i: int) -> dict[str, Any]:
    return {"max_tokens": 5 + 9 * (i % 4), **CHOICES[i % 3]}


def run(batch: Batch, texts: list[Text], every: int = 2) -> defaultdict[Text, list[int]]:
    """Let the texts in one after the other, a chunk in each of `every` passes, as long as there is room."""
    waiting, step = list(texts), 0
    reading: list[Text] = []
    tokens: defaultdict[Text, list[int]] = defaultdict(list)
    while waiting or reading or batch.running:
        if waiting and len(batch.running) + len(reading) < batch.size:
            reading.append(waiting.pop(0))
        if reading and step % every == 0 and batch.read(reading[0]):
            text = reading.pop(0)
            tokens[text] += [] if text.token is None else [text.token]
        if batch.running:
            for text in batch.decode():
                tokens[text] += [] if text.token is None else [text.token]
        step += 1
    return tokens


@pytest.mark.parametrize("size", [1, 3, 16])
def test_texts_are_what_they_are_alone(model: Llama, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "PROMPT_CHUNK", 64)
    monkeypatch.setattr(batch_module, "ROOM_STEP", 32)  # the cache grows and shrinks on the way
    expected = [list(generate(model, prompt, **options(i))) for i, prompt in enumerate(PROMPTS)]
    texts = [Text(prompt, **options(i)) for i, prompt in enumerate(PROMPTS)]
    found = run(Batch(model, size), texts)
    assert [found[text] for text in texts] == expected
    assert [text.count for text in texts] == [text.max_tokens for text in texts]
    assert {text.reason for text in texts} == {"length"}


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_each_token_is_drawn_with_a_key_of_its_own(model: Llama, top_p: float) -> None:
    tokens, key = list(PROMPTS[1]), mx.random.key(5)
    for _ in range(6):
        key, subkey = mx.random.split(key)
        logits = model(mx.array([tokens]))[:, -1]
        tokens.append(int(sample(logits, mx.array([1.5]), mx.array([top_p]), subkey[None]).item()))
    assert list(generate(model, PROMPTS[1], max_tokens=6, temperature=1.5, top_p=top_p, seed=5)) == tokens[40:]


def test_stop_tokens_end_a_text_and_no_other(model: Llama) -> None:
    expected = list(generate(model, PROMPTS[0], max_tokens=12))
    end = expected[5]
    at = expected.index(end)
    first, other = (Text(PROMPTS[0], max_tokens=12, stop=stop) for stop in (frozenset({end}), frozenset()))
    found = run(Batch(model, 2), [first, other])
    assert (found[first], first.reason, first.count, first.token) == (expected[:at], "stop", at, None)
    assert (found[other], other.reason) == (expected, "length")
    immediate = Text(PROMPTS[0], max_tokens=12, stop=frozenset(expected))
    assert run(Batch(model), [immediate])[immediate] == [] and immediate.reason == "stop"


def test_logits_of_rows_are_those_of_the_model(model: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(model, 8)
    texts = [Text(prompt, max_tokens=20) for prompt in PROMPTS[:5]]
    for text in texts:
        while not batch.read(text):
            pass
    seen = [[*text.prompt, text.token] for text in texts]
    found: list[Any] = []
    choose = batch._choose
    monkeypatch.setattr(
        batch, "_choose", lambda logits, *more: (found.append(np.array(logits)), choose(logits, *more))[1]
    )
    for _ in range(3):
        batch.decode()
        for row, tokens, text in zip(found[-1], seen, texts, strict=False):
            expected = np.array(model(mx.array([tokens]))[0, -1])
            np.testing.assert_allclose(row, expected, 1e-4, 1e-4)
            tokens.append(text.token)
    assert found[0].shape == (8, 300)


def test_the_cache_is_written_in_place(model: Llama) -> None:
    batch = Batch(model, 4)
    for prompt in PROMPTS[:3]:
        batch.read(Text(prompt, max_tokens=40))
    places = []
    for _ in range(6):
        batch.decode()
        places.append([np.asarray(x).ctypes.data for x in [*batch._buffers.keys, *batch._buffers.values]])
    assert places[2:] == [places[1]] * 4


def test_the_cache_is_as_large_as_its_texts_need(model: Llama) -> None:
    batch = Batch(model, 6)
    texts = [Text(prompt, max_tokens=400) for prompt in ([1], [2], PROMPTS[3] * 2, [3], [4])]
    shapes = []

    def note() -> None:
        keys = batch._buffers.keys[0]
        shapes.append(None if keys is None else (keys.shape[0], keys.shape[2]))

    for text in texts:
        while not batch.read(text):
            pass
        note()
    assert shapes == [(1, 256), (2, 256), (4, 512), (4, 512), (6, 512)]
    assert batch.positions([1, 1, 301, 1, 1]) == 6 * 512
    for text in texts:
        batch.remove(text)
        if batch.running:
            batch.decode()
        note()
    assert shapes[5:] == [(4, 512), (4, 512), (2, 256), (1, 256), None]
    rooms = {n: batch.positions([n]) for n in (1, 256, 257, 1024, 1025, 2047, 2049)}
    assert rooms == {1: 256, 256: 256, 257: 512, 1024: 1024, 1025: 1280, 2047: 2048, 2049: 2560}


def test_nobody_sees_what_others_left_behind(model: Llama) -> None:
    expected = list(generate(model, PROMPTS[1], max_tokens=30))
    batch = Batch(model, 4)
    broken, healthy, late = Text(PROMPTS[3], max_tokens=50), Text([1], max_tokens=90), Text(PROMPTS[1], max_tokens=30)
    batch.read(broken)
    batch.read(healthy)
    batch._buffers.keys = [mx.full(x.shape, mx.nan) if i else x for i, x in enumerate(batch._buffers.keys)]
    batch._buffers.values = [mx.full(x.shape, mx.nan) for x in batch._buffers.values]
    batch.decode()
    batch.remove(broken)
    assert run(batch, [late])[late] == expected


def test_a_text_whose_prompt_fails_leaves_the_others(model: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(generate(model, PROMPTS[0], max_tokens=20))
    batch = Batch(model, 4)
    good, bad = Text(PROMPTS[0], max_tokens=20), Text(PROMPTS[1], max_tokens=20)
    batch.read(good)
    tokens = [good.token]
    forward = batch._forward

    def fail(*arguments: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(batch, "_forward", fail)
    with pytest.raises(MemoryError):
        batch.read(bad)
    assert batch.running == [good]
    monkeypatch.setattr(batch, "_forward", forward)
    while good.reason is None:
        batch.decode()
        tokens.append(good.token)
    assert tokens == expected
    # a pass that fails has lost the cache
    batch.read(Text(PROMPTS[0], max_tokens=20))
    monkeypatch.setattr(batch, "_forward", fail)
    with pytest.raises(MemoryError):
        batch.decode()
    assert batch.running == []
    monkeypatch.setattr(batch, "_forward", forward)
    assert run(batch, [again := Text(PROMPTS[0], max_tokens=20)])[again] == expected


def test_top_p_keeps_the_likeliest() -> None:
    logits = mx.log(mx.array([[0.1, 0.4, 0.2, 0.3]] * 200))
    keys = mx.random.split(mx.random.key(0), 200)
    drawn = {p: set(sample(logits, mx.ones(200), mx.full(200, p), keys).tolist()) for p in (0.3, 0.5, 0.75, 1.0)}
    assert drawn == {0.3: {1}, 0.5: {1, 3}, 0.75: {1, 2, 3}, 1.0: {0, 1, 2, 3}}


def test_rows_are_drawn_alone() -> None:
    logits = mx.random.normal((6, 50), key=mx.random.key(2))
    temperature, top_p = mx.array([0, 1, 0.5, 2, 1e-3, 1.5]), mx.array([1, 1, 0.9, 0.4, 1, 1e-30])
    keys = mx.random.split(mx.random.key(3), 6)
    rows = [sample(*(x[i : i + 1] for x in (logits, temperature, top_p, keys))).item() for i in range(6)]
    assert sample(logits, temperature, top_p, keys).tolist() == rows
    likeliest = mx.argmax(logits, axis=-1).tolist()
    assert [rows[i] for i in (0, 4, 5)] == [likeliest[i] for i in (0, 4, 5)]
    # as one row would be drawn without all this
    assert rows[1] == mx.random.categorical(logits[1], key=keys[1]).item()
    plain = sample(logits, temperature, mx.ones(6), keys, nucleus=False).tolist()
    assert plain == sample(logits, temperature, mx.ones(6), keys).tolist()
