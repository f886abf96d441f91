"""A tiny configuration for every architecture of mlx-lm, derived from the fields of its `ModelArgs`."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pkgutil
from typing import Any

LAYERS = 2
VOCABULARY = 128

# Modules of `mlx_lm.models` that are parts which the architectures share.
PARTS = {
    "activations", "base", "bitlinear_layers", "cache", "gated_delta", "mla", "pipeline", "rope_utils", "ssm",
    "switch_layers",
}  # fmt: skip

# Values by the name of the field. Families name the same thing differently.
TINY: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "model_dim", "hidden_dim", "block_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_transformer_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_kv_heads"), 2),
    **dict.fromkeys(("vocab_size", "embedding_size", "num_vocab", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(
        (
            "intermediate_size",
            "moe_intermediate_size",
            "shared_expert_intermediate_size",
            "ffn_hidden_size",
            "expert_ffn_hidden_size",
            "mlp_hidden_size",
            "ff_intermediate_size",
            "n_inner",
            "intermediate_size_mlp",
            "shared_intermediate_size",
            "moe_shared_expert_intermediate_size",
            "dense_intermediate_size",
            "share_expert_dim",
            "block_ff_dim",
            "moe_hidden_size",
        ),
        96,
    ),
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon"), 1e-5),
    **dict.fromkeys(("post_norm_eps", "layernorm_epsilon"), 1e-5),
    **dict.fromkeys(("rope_theta", "swa_rope_theta", "rope_local_base_freq", "rotary_emb_base"), 10000.0),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "model_max_length", "block_size"), 256),
    **dict.fromkeys(("head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "swa_head_dim"), 16),
    **dict.fromkeys(("swa_v_head_dim", "global_head_dim", "hidden_size_per_head", "kv_channels"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k"), 2),
    **dict.fromkeys(("num_shared_experts", "n_shared_experts", "num_shared_expert", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("n_group", "topk_group", "moe_layer_freq", "decoder_sparse_step"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers"), 1),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "o_lora_rank"), 32),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "attention_window_size", "window_size"), 8),
    **dict.fromkeys(("tie_word_embeddings", "norm_topk_prob", "use_qk_norm", "qk_norm"), True),
    **dict.fromkeys(("attention_bias", "mlp_bias", "use_bias", "use_qkv_bias", "rope_traditional", "bias"), False),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size", "mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_d_conv", "conv_kernel", "conv_L_cache", "conv1d_width", "linear_conv_kernel_dim"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("mamba_n_groups", "n_groups"), 1),
    **dict.fromkeys(("mamba_proj_bias", "mamba_conv_bias", "conv_bias", "use_conv_bias"), True),
    **dict.fromkeys(("mamba_expand",), 2),
    **dict.fromkeys(("linear_num_key_heads",), 2),
    **dict.fromkeys(("linear_num_value_heads",), 4),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 32),
    **dict.fromkeys(("time_step_limit",), (0.001, 100.0)),
    **dict.fromkeys(("time_step_rank", "a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim"), 8),
    **dict.fromkeys(("decay_low_rank_dim",), 8),
    **dict.fromkeys(
        ("routed_scaling_factor", "scale_depth", "scale_emb", "logits_scaling", "residual_multiplier"), 1.5
    ),
    **dict.fromkeys(
        ("attention_multiplier", "embedding_multiplier", "output_multiplier", "final_logit_softcapping"), 2.0
    ),
    **dict.fromkeys(("attn_logit_softcapping", "logits_soft_cap"), 20.0),
    "mlp_only_layers": [],
    "query_pre_attn_scalar": 16.0,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "hidden_act": "silu",
    "rotary_dim": 8,
    "rotary_pct": 0.5,
    "partial_rotary_factor": 0.5,
    "dim_model_base": 64,
    "index_head_dim": 16,
    "index_n_heads": 2,
    "index_topk": 8,
}


def architectures() -> list[str]:
    """The names of all architectures that the installed mlx-lm has."""
    models = importlib.import_module("mlx_lm.models")
    return sorted(module.name for module in pkgutil.iter_modules(models.__path__) if module.name not in PARTS)


def configuration(name: str) -> dict[str, Any]:
    """Return the parameters of a tiny model of an architecture."""
    module_name, class_name = TEXT.get(name, (name, "ModelArgs"))
    module = importlib.import_module(f"mlx_lm.models.{module_name}")
    config: dict[str, Any] = {"model_type": module_name}
    for field in dataclasses.fields(getattr(module, class_name)):
        if field.name in TINY:
            config[field.name] = copy.deepcopy(TINY[field.name])
    config |= copy.deepcopy(SPECIAL.get(module_name, {}) | SPECIAL.get(name, {}))
    if name in TEXT:
        config = {"model_type": name, "vocab_size": VOCABULARY, "text_config": config} | AROUND.get(name, {})
    return config


def make_model(name: str) -> Any:
    """Build a tiny model of an architecture, with the weights that its initialisation draws."""
    module = importlib.import_module(f"mlx_lm.models.{name}")
    return module.Model(module.ModelArgs.from_dict(configuration(name)))


# The architectures around a language model of another module, or of another class of the same one.
TEXT = {
    "gemma3": ("gemma3_text", "ModelArgs"),
    "gemma3n": ("gemma3n", "TextConfig"),
    "gemma4": ("gemma4_text", "ModelArgs"),
    "kimi_k25": ("kimi_k25", "TextConfig"),
    "kimi_k3": ("kimi_k3", "TextArgs"),
    "kimi_vl": ("kimi_vl", "TextArgs"),
    "lfm2-vl": ("lfm2", "ModelArgs"),
    "llama4": ("llama4", "TextArgs"),
    "minimax_m3_vl": ("minimax_m3_vl", "TextArgs"),
    "mistral3": ("ministral3", "ModelArgs"),
    "prism_hadamard_qwen35": ("qwen3_5", "TextModelArgs"),
    "muse_spark": ("muse_spark", "TextArgs"),
    "pixtral": ("llama", "ModelArgs"),
    "qwen2_vl": ("qwen2", "ModelArgs"),
    "qwen3_5": ("qwen3_5", "TextModelArgs"),
    "qwen3_5_moe": ("qwen3_5", "TextModelArgs"),
    "qwen3_vl": ("qwen3", "ModelArgs"),
    "qwen3_vl_moe": ("qwen3_moe", "ModelArgs"),
}

# What a configuration has beside that of the language model.
AROUND: dict[str, dict[str, Any]] = {
    "muse_spark": {"image_token_id": VOCABULARY - 1},
    "prism_hadamard_qwen35": {
        "schema_version": 1,
        "tensor_namespace": "mlx-lm-text",
        "quantization": {"bits": 2, "group_size": 128, "mode": "affine"},
        "modules": [
            {"path": path, "block": block, "embedding": path == "model.embed_tokens", "dtype": "float16"}
            for path, block in (("model.embed_tokens", 512), ("model.layers.0.mlp.down_proj", 0), ("lm_head", 512))
        ],
    },
}

MIXED = ["sliding_attention", "full_attention"]
YARN = {
    "type": "yarn", "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32,
    "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0, "rope_theta": 10000.0, "llama_4_scaling_beta": 0.1,
}  # fmt: skip
BY_TYPE = {kind: {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5} for kind in MIXED}

# What the names of the fields do not tell.
SPECIAL: dict[str, dict[str, Any]] = {
    "afm7": {"num_layers": 4, "num_kv_reuse_layers": 2},
    "afmoe": {"layer_types": MIXED},
    "apertus": {"post_norm": True},
    "baichuan_m1": {"sliding_window_layers": [0], "conv_window": 2, "tie_word_embeddings": False},
    "bailing_hybrid": {"layer_group_size": 2, "group_norm_size": 4, "num_key_value_heads": 4},
    "bailing_moe_linear": {"layer_group_size": 2, "group_norm_size": 1, "num_key_value_heads": 4},
    "bailing_moe_v3": {"layer_group_size": 2},
    "cohere2": {"sliding_window_pattern": 2},
    "dbrx": {
        "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    },
    "deepseek_v2": {"rope_scaling": YARN, "topk_method": "gready"},
    "deepseek_v41": {
        "num_hidden_layers": 6, "o_groups": 2, "compress_ratios": (0, 2, 2, 2, 1, 1), "kv_source_layer_ids": (1, 4),
        "index_source_layer_ids": (1, 2, 4, 5), "index_topk": 3, "candidate_source_layer_id": 4,
        "candidate_topk_blocks": 2, "candidate_block_size": 2, "head_dim": 32, "qk_rope_head_dim": 8,
    },
    "exaone4": {"rope_scaling": None, "sliding_window_pattern": "LG"},
    "exaone_moe": {"layer_types": MIXED, "is_moe_layer": [False, True]},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gear": {"layer_types": ["sliding_attention", "conv_mixer"]},
    "gemma3_text": {"sliding_window_pattern": 2},
    "gemma3n": {
        "num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": MIXED * 2,
        "activation_sparsity_pattern": [0.5] * 4, "hidden_size_per_layer_input": 32, "altup_num_inputs": 4,
        "altup_coef_clip": 120.0, "altup_correct_scale": True, "altup_active_idx": 0, "laurel_rank": 8,
    },
    "gemma4_text": {
        "num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": MIXED * 2, "sliding_window_pattern": 2,
        "hidden_size_per_layer_input": 32, "rope_parameters": BY_TYPE,
    },
    "glm4_moe": {"rope_scaling": None},
    "glm_moe_dsa": {"rope_parameters": YARN},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "hunyuan": {
        "use_mixed_mlp_moe": True, "use_cla": True, "cla_share_factor": 2,
        "rope_scaling": {"alpha": 1000.0, "factor": 1.0, "type": "dynamic"},
    },
    "hunyuan_v1_dense": {"rope_scaling": {"alpha": 1000.0, "factor": 1.0, "type": "dynamic"}},
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2, "expert_layer_offset": 1, "expert_layer_period": 2},
    "kimi_k3": {
        "linear_attn_config": {
            "kda_layers": [1], "full_attn_layers": [2], "num_heads": 2, "head_dim": 32, "short_conv_kernel_size": 4,
            "gate_lower_bound": -5.0, "use_full_rank_gate": True,
        },
        "hidden_act": "situ", "activation_situ_beta": 4.0, "activation_situ_linear_beta": 25.0,
        "mla_use_output_gate": True, "routed_expert_hidden_size": 32, "latent_moe_use_norm": True,
        "attn_res_block_size": 2,
    },
    "kimi_linear": {
        "linear_attn_config": {"num_heads": 4, "head_dim": 32, "kda_layers": [1], "short_conv_kernel_size": 4},
    },
    "lfm2": {
        "block_multiple_of": 4, "block_ffn_dim_multiplier": 1.5, "block_auto_adjust_ff_dim": True,
        "layer_types": ["full_attention", "conv"],
    },
    "lfm2_moe": {"use_expert_bias": True, "layer_types": ["full_attention", "conv"]},
    "llama4": {
        "attention_chunk_size": 8, "interleave_moe_layer_step": 2, "num_experts_per_tok": 1, "rope_scaling": None,
        "num_hidden_layers": 4,
    },
    "llama4_text": {"no_rope_layers": [0, 1]},
    "longcat_flash": {
        "attention_method": "MLA", "zero_expert_type": "identity", "zero_expert_num": 2, "mla_scale_q_lora": True,
        "mla_scale_kv_lora": True,
    },
    "longcat_flash_ngram": {"zero_expert_num": 2, "mla_scale_q_lora": True, "mla_scale_kv_lora": True},
    "mellum": {"layer_types": MIXED, "rope_parameters": BY_TYPE},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [0, 1], "moe_layer_freq": [0, 1], "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": False, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2,
    },
    "minicpm3": {
        "qk_rope_head_dim": 8,
        "rope_scaling": {
            "original_max_position_embeddings": 64, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
        },
    },
    "minimax_m3_vl": {"moe_layer_freq": [0, 1]},
    "ministral3": {"rope_parameters": YARN, "layer_types": MIXED},
    "mistral4": {"rope_parameters": YARN},
    "muse_glimmer": {"layer_types": MIXED},
    "muse_spark": {
        "layer_types": MIXED, "layer_rope_theta": [10000.0, 0], "num_shared_experts": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "nemotron-nas": {
        "block_configs": [{"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.5}}] * LAYERS,
    },
    "nemotron_h": {"num_hidden_layers": 4, "hybrid_override_pattern": ["M", "*", "-", "E"]},
    "olmo3": {"layer_types": MIXED},
    "olmo_hybrid": {"linear_allow_neg_eigval": True, "layer_types": ["linear_attention", "full_attention"]},
    "openelm": {
        "ffn_dim_divisor": 16, "num_query_heads": [4, 4], "num_kv_heads": [2, 2], "ffn_multipliers": [1.0, 2.0],
    },
    "phi3small": {
        "dense_attention_every_n_layers": 2, "gegelu_limit": 10.0, "vocab_size": 100352,
    },
    "plamo": {"n_shared_head": 2},
    "prism_hadamard_qwen35": {
        "hidden_size": 512, "intermediate_size": 512, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "num_hidden_layers": 4, "tie_word_embeddings": False, "num_experts": 0,
    },
    "qwen3_5": {"full_attention_interval": 2},
    "qwen3_next": {"full_attention_interval": 2},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "spark2_5": {"rope_parameters": BY_TYPE, "layer_types": MIXED, "hidden_act": "gelu"},
    "step3p5": {
        "num_attention_groups": 2, "layer_types": MIXED, "rope_theta": [10000.0] * LAYERS,
        "partial_rotary_factors": [0.5, 1.0], "moe_layers_enum": "1",
        "attention_other_setting": {"num_attention_heads": 4, "num_attention_groups": 2},
    },
}  # fmt: skip
