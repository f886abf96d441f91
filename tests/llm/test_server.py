"""`python -m arrax serve`: an application behind a real server, asked over HTTP."""

from __future__ import annotations

import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.llm.checkpoints import write_checkpoint, write_tokenizer

from arrax.llm import Tokenizer, generate, load_checkpoint
from arrax.llm.chat import ChatTemplate
from arrax.llm.engine import MOST_WAITING, Engine, Job, Piece, StopStrings
from arrax.llm.server import make_app

TEMPLATE = """{% for message in messages %}
{% if message.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}
{{ message.role }}: {{ message.content }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}assistant:{% endif %}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder, {"eos_token_id": None, "max_position_embeddings": 5000})
    write_tokenizer(folder)
    config = {"chat_template": TEMPLATE, "eos_token": {"content": "<end>"}, "pad_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    app = make_app(load_checkpoint(folder))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1/"
    server.should_exit = True
    thread.join()


def post(address: str, body: Any, kind: str = "application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


def events(content: bytes) -> list[dict[str, Any]]:
    lines = content.decode().strip().split("\n\n")
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_completions(url: str, folder: Path) -> None:
    body = {"prompt": "The quick", "max_tokens": 24, "seed": 5}
    answer = json.loads(post(url + "completions", body))
    tokenizer = Tokenizer(folder / "tokenizer.json")
    prompt = tokenizer.encode("The quick")
    expected = tokenizer.decode(
        list(generate(load_checkpoint(folder).model, prompt, max_tokens=24, temperature=1.0, seed=5))
    )
    [choice] = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == (expected, "length")
    assert answer["object"] == "text_completion" and answer["usage"]["completion_tokens"] == 24
    assert answer["usage"]["prompt_tokens"] == len(prompt)
    assert json.loads(post(url + "completions", body | {"prompt": prompt}))["choices"] == [choice]
    parts = events(post(url + "completions", body | {"stream": True, "stream_options": {"include_usage": True}}))
    assert parts.pop()["usage"] == answer["usage"]
    assert "".join(part["choices"][0]["text"] for part in parts) == expected
    reasons = [part["choices"][0]["finish_reason"] for part in parts]
    assert len(reasons) > 2 and reasons == [None] * (len(reasons) - 1) + ["length"]


def test_the_seed_makes_answers_reproducible(url: str) -> None:
    body = {"prompt": "The", "max_tokens": 8, "seed": 3, "top_p": 0.9}
    first, second = (json.loads(post(url + "completions", body))["choices"] for _ in range(2))
    assert first == second
    # from several at once, too
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(json.loads(post(url + "completions", body)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer["choices"] for answer in answers] == [first] * 4


def test_stop_strings(url: str) -> None:
    body = {"prompt": "The", "max_tokens": 16, "seed": 5}
    text = json.loads(post(url + "completions", body))["choices"][0]["text"]
    answer = json.loads(post(url + "completions", body | {"stop": [text[2:4], "absent"]}))
    assert answer["choices"][0]["text"] == text[: text.index(text[2:4])]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_chat(url: str) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
    ]
    body = {"messages": messages, "max_completion_tokens": 6, "temperature": 0}
    answer = json.loads(post(url + "chat/completions", body))
    message = answer["choices"][0]["message"]
    assert answer["object"] == "chat.completion" and message["role"] == "assistant"
    parts = events(post(url + "chat/completions", body | {"stream": True}))
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert "".join(delta["content"] for delta in deltas) == message["content"]
    assert [("role" in delta) for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    prompt = "system: Be brief.<end>\nuser: x<end>\nassistant:"
    same = json.loads(post(url + "completions", {"prompt": prompt, "max_tokens": 6, "temperature": 0}))
    assert same["choices"][0]["text"] == message["content"]


BAD: list[tuple[str, Any, int, str]] = [
    ("completions", b"{", 400, "must be JSON"),
    ("completions", [], 400, "JSON object"),
    ("completions", {}, 400, "prompt must be"),
    ("completions", {"prompt": ["a", "b"]}, 400, "prompt must be"),
    ("completions", {"prompt": ""}, 400, "at least one token"),
    ("completions", {"prompt": [300]}, 400, "tokens from 0 to 299"),
    ("completions", {"prompt": [1] * 5000}, 400, "less than 5000 tokens"),
    ("completions", {"prompt": "a", "max_tokens": "9"}, 400, "max_tokens must be of type int"),
    ("completions", {"prompt": "a", "max_tokens": 0}, 400, "max_tokens of at least 1"),
    ("completions", {"prompt": "a", "max_completion_tokens": 0}, 400, "max_tokens of at least 1"),
    ("completions", {"prompt": "a", "max_tokens": True}, 400, "max_tokens must be of type int"),
    ("completions", {"prompt": "a", "temperature": -1}, 400, "temperature of at least 0"),
    ("completions", {"prompt": "a", "seed": -1}, 400, "seed must be"),
    ("completions", {"prompt": "a", "stop": [1]}, 400, "stop must be"),
    ("completions", {"prompt": "a", "n": 2}, 400, "n must be 1"),
    ("completions", {"prompt": "a", "logprobs": 3}, 400, "not supported: logprobs"),
    ("chat/completions", {"messages": []}, 400, "at least one message"),
    ("chat/completions", {"messages": ["x"]}, 400, "with a role and a content"),
    ("chat/completions", {"messages": [{"role": "user", "content": 1}]}, 400, "content of a message"),
    ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "must be text"),
    ("chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, 400, "refuses the messages: no tools"),
    ("completions", b" " * (2**24 + 1), 413, "must not be longer"),
    ("other", {}, 404, "Not Found"),
    ("models", {}, 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("path", "body", "status", "reason"), BAD, ids=range(len(BAD)))
def test_bad_requests_are_told_why(url: str, path: str, body: Any, status: int, reason: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(url + path, body)
    with raised.value as error:
        assert error.code == status
        assert reason in json.loads(error.read())["error"]["message"]


def test_other_content_types_are_refused(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(url + "completions", {"prompt": "a"}, "text/plain")
    with raised.value as error:
        assert error.code == 415


def test_models(url: str, folder: Path) -> None:
    with urllib.request.urlopen(url + "models", timeout=60) as response:
        assert [model["id"] for model in json.loads(response.read())["data"]] == [folder.name]


def test_a_client_that_leaves_ends_its_generation(url: str) -> None:
    body = {"prompt": "The", "max_tokens": 4000, "stream": True}
    request = urllib.request.Request(
        url + "completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.readline().startswith(b"data: ")
    begin = time.perf_counter()
    post(url + "completions", {"prompt": "The", "max_tokens": 1})
    assert time.perf_counter() - begin < 10  # all 4000 tokens take longer by far


def test_failures_and_a_full_queue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = load_checkpoint(folder)
    engine = Engine(checkpoint, Tokenizer(folder / "tokenizer.json"))
    pieces: list[Piece] = []
    go = threading.Event()

    def fail(*arguments: Any, **options: Any) -> Any:
        go.wait()
        raise RuntimeError("out of luck")

    monkeypatch.setattr("arrax.llm.engine.generate", fail)
    engine.submit(Job([1], pieces.append))
    with pytest.raises(queue.Full):
        for _ in range(MOST_WAITING + 2):
            engine.submit(Job([1], pieces.append))
    go.set()
    engine.close()
    assert set(pieces) == {Piece("RuntimeError: out of luck", 0, "error")} and len(pieces) >= MOST_WAITING


def test_stop_strings_give_back_what_was_none() -> None:
    strings = StopStrings(["abc", "bd"])
    assert [strings.add("xab"), strings.add("x"), strings.add("ab"), strings.finish()] == ["x", "abx", "", "ab"]
    assert [strings.add("a"), strings.add("bd"), strings.found] == ["", "a", True]


def test_models_without_a_chat_template(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        ChatTemplate(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(ValueError, match="expected a template"):
        ChatTemplate(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages.__class__.__mro__ }}")
    with pytest.raises(ValueError, match="refuses the messages"):
        ChatTemplate(tmp_path).prompt([{"role": "user", "content": "x"}])
