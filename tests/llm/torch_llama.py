"""Llama in PyTorch alone, with the names and the order of features of Meta's checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


def rotate(x: torch.Tensor, theta: float) -> torch.Tensor:
    """Rotate neighbouring features of (batch, heads, length, head_dims) by angles that grow with the position."""
    length, dims = x.shape[2:]
    frequencies = theta ** (-torch.arange(0, dims, 2) / dims)
    angles = torch.arange(length)[:, None] * frequencies
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(3).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, groups: int, theta: float) -> None:
        super().__init__()
        self.head, self.theta = dim // heads, theta
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, groups * self.head, bias=False)
        self.wv = nn.Linear(dim, groups * self.head, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (project(x).unflatten(2, (-1, self.head)).transpose(1, 2) for project in (self.wq, self.wk, self.wv))
        q, k = rotate(q, self.theta), rotate(k, self.theta)
        k, v = (y.repeat_interleave(q.shape[1] // y.shape[1], dim=1) for y in (k, v))
        scores = q @ k.transpose(2, 3) / math.sqrt(self.head)
        unseen = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
        attended = scores.masked_fill(unseen, -math.inf).softmax(-1) @ v
        return self.wo(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    def __init__(self, dim: int, hidden: int, heads: int, groups: int, eps: float, theta: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, groups, theta)
        self.feed_forward = FeedForward(dim, hidden)
        self.attention_norm = nn.RMSNorm(dim, eps)
        self.ffn_norm = nn.RMSNorm(dim, eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.ffn_norm(x))


class Transformer(nn.Module):
    """(batch, length) token ids to (batch, length, vocabulary) logits."""

    def __init__(self, state: dict[str, torch.Tensor], heads: int, groups: int, eps: float, theta: float) -> None:
        super().__init__()
        vocabulary, dim = state["tok_embeddings.weight"].shape
        hidden = state["layers.0.feed_forward.w1.weight"].shape[0]
        layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
        self.tok_embeddings = nn.Embedding(vocabulary, dim)
        self.layers = nn.ModuleList(Layer(dim, hidden, heads, groups, eps, theta) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, eps)
        self.output = nn.Linear(dim, vocabulary, bias=False)
        self.load_state_dict(state)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tok_embeddings(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x))


def load(folder: Path) -> Transformer:
    """The model of a folder with consolidated.00.pth and params.json, in float32."""
    sizes = json.loads((folder / "params.json").read_text())
    state = torch.load(folder / "consolidated.00.pth", weights_only=True)
    state = {name: value.float() for name, value in state.items()}
    return Transformer(state, sizes["n_heads"], sizes["n_kv_heads"], sizes["norm_eps"], sizes["rope_theta"])
