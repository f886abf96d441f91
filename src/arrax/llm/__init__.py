"""Language models of the Llama family: loading checkpoints as they are published, and generating text.

>>> import arrax.core as mx
>>> from arrax.llm import Config, Llama, generate
>>> sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
>>> model = Llama(Config.from_dict({"model_type": "llama", "vocab_size": 16, "rms_norm_eps": 1e-5, **sizes}))
>>> len(list(generate(model, [1, 2, 3], max_tokens=4)))
4
"""

from arrax.llm.checkpoint import Checkpoint, load_checkpoint
from arrax.llm.generation import generate
from arrax.llm.llama import Config, KVCache, Llama
from arrax.llm.tokenizer import TextStream, Tokenizer

__all__ = ["Checkpoint", "Config", "KVCache", "Llama", "TextStream", "Tokenizer", "generate", "load_checkpoint"]
