"""Models of transformers written anew with names of their own, as ports and students do, in several styles.

Each takes the weights of the model that it ports. `faults` change one thing in it."""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Tensor = torch.Tensor


def parameters(**tensors: Tensor) -> nn.ParameterDict:
    return nn.ParameterDict({name: nn.Parameter(one.clone()) for name, one in tensors.items()})


# -- Llama, in the style of a short script: tokens first, all heads in one product, softmax by hand ---------------


class Scripted(nn.Module):
    """Llama with the tokens of all rows in one axis, and a matrix of all queries, keys and values."""

    def __init__(self, model: Any, **faults: Any) -> None:
        super().__init__()
        c, self.faults = model.config, faults
        self.kv, self.hd, self.nh = c.num_key_value_heads, c.hidden_size // c.num_attention_heads, c.num_attention_heads
        self.base, self.eps = faults.get("base", c.rope_parameters["rope_theta"]), faults.get("eps", c.rms_norm_eps)
        self.table = nn.Parameter(model.model.embed_tokens.weight.clone())
        self.out = nn.Parameter(model.lm_head.weight.clone())
        self.final = nn.Parameter(model.model.norm.weight.clone())
        self.blocks = nn.ModuleList()
        for layer in model.model.layers:
            a, m = layer.self_attn, layer.mlp
            block = parameters(
                pre=layer.input_layernorm.weight, post=layer.post_attention_layernorm.weight,
                qkv=torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight]), o=a.o_proj.weight,
                gu=torch.cat([m.gate_proj.weight, m.up_proj.weight]), d=m.down_proj.weight,
            )  # fmt: skip
            self.blocks.append(block)

    def rms(self, z: Tensor, g: Tensor) -> Tensor:
        power = z.square().mean(-1, keepdim=True)
        return z / (power + self.eps).sqrt() * g

    def spin(self, z: Tensor) -> Tensor:
        """z: rows, tokens, heads, size."""
        n, half = z.shape[1], self.hd // 2
        rate = self.base ** (-torch.arange(half) / half)
        phase = torch.arange(n)[:, None] * rate
        co, si = phase.cos()[:, None], phase.sin()[:, None]
        a, b = z[..., :half], z[..., half:]
        return torch.cat([a * co - b * si, b * co + a * si], -1)

    def mix(self, z: Tensor, w: Any) -> Tensor:
        rows, n, _ = z.shape
        parts = (z @ w["qkv"].T).split([self.nh * self.hd, self.kv * self.hd, self.kv * self.hd], -1)
        q, k, v = (part.view(rows, n, -1, self.hd) for part in parts)
        if self.faults.get("swap"):
            q = q.flip(-1)
        q, k = self.spin(q), self.spin(k)
        k, v = (one.repeat_interleave(self.nh // self.kv, 2) for one in (k, v))
        score = torch.einsum("bqhd,bkhd->bhqk", q, k) / (1 if self.faults.get("unscaled") else math.sqrt(self.hd))
        if not self.faults.get("unmasked"):
            score = score + torch.full((n, n), -math.inf).triu(1)
        blend = score.softmax(-1)
        mixed = torch.einsum("bhqk,bkhd->bqhd", blend, v).reshape(rows, n, -1)
        return mixed @ w["o"].T

    def forward(self, words: Tensor) -> Tensor:
        z = self.table[words]
        blocks: list[Any] = list(self.blocks)
        for w in blocks:
            z = z + self.mix(self.rms(z, w["pre"]), w)
            gate, up = (self.rms(z, w["post"]) @ w["gu"].T).chunk(2, -1)
            act = F.gelu(gate) if self.faults.get("gelu") else F.silu(gate)
            hidden = act * up
            z = z + hidden @ w["d"].T
        return self.rms(z, self.final) @ self.out.T


# -- BERT by torch's own encoder layers ---------------------------------------------------------------------------


class ByTorch(nn.Module):
    """BERT's encoder as torch.nn.TransformerEncoderLayer computes it."""

    def __init__(self, model: Any, **faults: Any) -> None:
        super().__init__()
        c, bert = model.config, model.bert
        self.words, self.places = nn.Embedding(c.vocab_size, c.hidden_size), nn.Embedding(128, c.hidden_size)
        self.norm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        kinds: dict[str, Any] = {"d_model": c.hidden_size, "nhead": c.num_attention_heads}
        kinds |= {"dim_feedforward": c.intermediate_size}
        kinds |= {"activation": faults.get("activation", "gelu"), "batch_first": True}
        kinds |= {"layer_norm_eps": faults.get("eps", c.layer_norm_eps), "norm_first": faults.get("first", False)}
        stack: Any = nn.ModuleList(nn.TransformerEncoderLayer(**kinds) for _ in bert.encoder.layer)
        self.stack = stack
        self.pool, self.say = nn.Linear(c.hidden_size, c.hidden_size), nn.Linear(c.hidden_size, c.num_labels)
        e = bert.embeddings
        self.words.load_state_dict(e.word_embeddings.state_dict())
        self.places.weight.data = e.position_embeddings.weight.data + e.token_type_embeddings.weight.data[0]
        self.norm.load_state_dict(e.LayerNorm.state_dict())
        self.pool.load_state_dict(bert.pooler.dense.state_dict())
        self.say.load_state_dict(model.classifier.state_dict())
        for ours, theirs in zip(stack, bert.encoder.layer, strict=True):
            a = theirs.attention
            parts = (a.self.query, a.self.key, a.self.value)
            ours.self_attn.in_proj_weight.data = torch.cat([part.weight for part in parts]).data
            ours.self_attn.in_proj_bias.data = torch.cat([part.bias for part in parts]).data
            ours.self_attn.out_proj.load_state_dict(a.output.dense.state_dict())
            pairs = [(ours.norm1, a.output.LayerNorm), (ours.linear1, theirs.intermediate.dense)]
            pairs += [(ours.linear2, theirs.output.dense), (ours.norm2, theirs.output.LayerNorm)]
            for one, other in pairs:
                one.load_state_dict(other.state_dict())
        if faults.get("bias"):
            stack[1].linear1.bias.data.zero_()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm(self.words(tokens) + self.places(torch.arange(tokens.shape[1])))
        for layer in self.stack:
            x = layer(x)
        return self.say(torch.tanh(self.pool(x[:, 0])))


# -- BERT with one head after the other ----------------------------------------------------------------------------


class ByHead(nn.Module):
    """BERT with a list of heads, each with weights of its own."""

    def __init__(self, model: Any, **faults: Any) -> None:
        super().__init__()
        c, self.faults = model.config, faults
        self.heads, self.size = c.num_attention_heads, c.hidden_size // c.num_attention_heads
        state = {name.replace(".", "_"): one for name, one in model.state_dict().items() if one.is_floating_point()}
        self.w, self.depth, self.eps = parameters(**state), c.num_hidden_layers, faults.get("eps", c.layer_norm_eps)

    def line(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"{name}_weight"].T + self.w[f"{name}_bias"]

    def level(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + self.eps)
        return scaled * self.w[f"{name}_weight"] + self.w[f"{name}_bias"]

    def look(self, x: Tensor, name: str) -> Tensor:
        sights = []
        for head in range(self.heads):
            part = slice(head * self.size, (head + 1) * self.size)
            q, k, v = (self.line(x, f"{name}_self_{one}")[..., part] for one in ("query", "key", "value"))
            scale = 1.0 if self.faults.get("unscaled") and head == 1 else self.size**-0.5
            sights.append(torch.softmax(q @ k.transpose(1, 2) * scale, -1) @ v)
        return self.line(torch.cat(sights, -1), f"{name}_output_dense")

    def forward(self, tokens: Tensor) -> Tensor:
        e = "bert_embeddings"
        x = self.w[f"{e}_word_embeddings_weight"][tokens] + self.w[f"{e}_position_embeddings_weight"][: tokens.shape[1]]
        x = self.level(x + self.w[f"{e}_token_type_embeddings_weight"][0], f"{e}_LayerNorm")
        for n in range(self.depth):
            name = f"bert_encoder_layer_{n}"
            x = self.level(x + self.look(x, f"{name}_attention"), f"{name}_attention_output_LayerNorm")
            inner = self.line(x, f"{name}_intermediate_dense")
            inner = F.gelu(inner, approximate="tanh" if self.faults.get("tanh") else "none")
            x = self.level(x + self.line(inner, f"{name}_output_dense"), f"{name}_output_LayerNorm")
        first = torch.tanh(self.line(x[:, 0], "bert_pooler_dense"))
        return self.line(first, "classifier")


# -- T5's encoder and decoder in the style of a student -----------------------------------------------------------


class Student(nn.Module):
    """T5 as a function of its weights."""

    def __init__(self, model: Any, **faults: Any) -> None:
        super().__init__()
        c, self.faults = model.config, faults
        self.heads, self.size, self.eps = c.num_heads, c.d_kv, faults.get("eps", c.layer_norm_epsilon)
        self.depth, self.buckets, self.far = c.num_layers, c.relative_attention_num_buckets, 128
        state = {name.replace(".", "_"): one for name, one in model.state_dict().items()}
        self.w = parameters(**state)
        self.scale = c.d_model**-0.5 if c.tie_word_embeddings else 1.0

    def rms(self, x: Tensor, name: str) -> Tensor:
        return self.w[f"{name}_layer_norm_weight"] * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))

    def bias(self, name: str, queries: int, keys: int, both: bool) -> Tensor:
        ahead = torch.arange(keys)[None] - torch.arange(queries)[:, None]
        buckets = self.buckets // 2 if both else self.buckets
        index = (ahead > 0).long() * buckets if both else torch.zeros_like(ahead)
        far = ahead.abs() if both else (-ahead).clamp(min=0)
        exact = buckets // 2
        growing = exact + (far.float().clamp(min=1) / exact).log() / math.log(self.far / exact) * (buckets - exact)
        index = index + torch.where(far < exact, far, growing.long().clamp(max=buckets - 1))
        return self.w[f"{name}_block_0_layer_0_SelfAttention_relative_attention_bias_weight"][index].permute(2, 0, 1)

    def attend(self, x: Tensor, y: Tensor, name: str, bias: Tensor | None, later: bool) -> Tensor:
        split = (*x.shape[:2], self.heads, self.size)
        q = (x @ self.w[f"{name}_q_weight"].T).view(split).transpose(1, 2)
        k, v = (
            (y @ self.w[f"{name}_{one}_weight"].T).view(*y.shape[:2], self.heads, self.size).transpose(1, 2)
            for one in ("k", "v")
        )
        s = q @ k.transpose(2, 3)
        if self.faults.get("scaled"):
            s = s / self.size**0.5
        s = s if bias is None else s + bias
        s = s if later else s.masked_fill(torch.ones(s.shape[-2:], dtype=torch.bool).triu(1), -1e9)
        return (s.softmax(-1) @ v).transpose(1, 2).reshape(*x.shape[:2], -1) @ self.w[f"{name}_o_weight"].T

    def feed(self, x: Tensor, name: str) -> Tensor:
        inner = F.relu(self.rms(x, name) @ self.w[f"{name}_DenseReluDense_wi_weight"].T)
        return x + inner @ self.w[f"{name}_DenseReluDense_wo_weight"].T

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        x = self.w["shared_weight"][source]
        bias = self.bias("encoder", x.shape[1], x.shape[1], True)
        for n in range(self.depth):
            name = f"encoder_block_{n}_layer"
            h = self.rms(x, f"{name}_0")
            x = self.feed(x + self.attend(h, h, f"{name}_0_SelfAttention", bias, True), f"{name}_1")
        seen = self.rms(x, "encoder_final")
        y = self.w["shared_weight"][target]
        bias = self.bias("decoder", y.shape[1], y.shape[1], self.faults.get("both", False))
        for n in range(self.depth):
            name = f"decoder_block_{n}_layer"
            h = self.rms(y, f"{name}_0")
            y = y + self.attend(h, h, f"{name}_0_SelfAttention", bias, self.faults.get("later", False))
            y = y + self.attend(self.rms(y, f"{name}_1"), seen, f"{name}_1_EncDecAttention", None, True)
            y = self.feed(y, f"{name}_2")
        y = self.rms(y, "decoder_final")
        return (y * self.scale) @ self.w["lm_head_weight"].T


# -- Llama by complex numbers, one function for all of it -----------------------------------------------------------


class Turning(nn.Module):
    """Llama with rotary positions as complex numbers: pairs of channels lie side by side."""

    def __init__(self, model: Any, **faults: Any) -> None:
        super().__init__()
        c, self.faults = model.config, faults
        self.size, self.eps = c.hidden_size // c.num_attention_heads, faults.get("eps", c.rms_norm_eps)
        self.base = faults.get("base", c.rope_parameters["rope_theta"])
        state = {name.replace(".", "_"): one.clone() for name, one in model.state_dict().items()}
        order = torch.arange(self.size).view(2, -1).T.flatten()  # halves side by side
        for name in [name for name in state if name.endswith(("q_proj_weight", "k_proj_weight"))]:
            if not (faults.get("unpermuted") and "layers_1_" in name and "k_proj" in name):
                state[name] = state[name].view(-1, self.size, state[name].shape[1])[:, order].reshape(state[name].shape)
        if faults.get("heavier"):
            state["model_layers_1_self_attn_o_proj_weight"] *= 1.01
        self.w, self.depth = parameters(**state), c.num_hidden_layers

    def even(self, x: Tensor, name: str) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps) * self.w[name]

    def turn(self, x: Tensor, turns: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turns).flatten(-2)

    def shared(self, x: Tensor, heads: int) -> Tensor:
        groups = heads // x.shape[1]
        return x.repeat(1, groups, 1, 1) if self.faults.get("groups") else x.repeat_interleave(groups, 1)

    def part(self, x: Tensor, name: str, turns: Tensor | None = None) -> Tensor:
        found = F.linear(x, self.w[name]).unflatten(-1, (-1, self.size)).transpose(1, 2)
        return found if turns is None else self.turn(found, turns)

    def forward(self, ids: Tensor) -> Tensor:
        x = F.embedding(ids, self.w["model_embed_tokens_weight"])
        n = ids.shape[1]
        angles = torch.outer(
            torch.arange(n) + self.faults.get("shift", 0) * (torch.arange(n) > 4),
            self.base ** (-torch.arange(0, self.size, 2) / self.size),
        )
        turns = torch.polar(torch.ones_like(angles), angles)
        hidden = torch.full((n, n), float("-inf")).triu(2 if self.faults.get("later") else 1)
        for layer in range(self.depth):
            name = f"model_layers_{layer}"
            h = self.even(x, f"{name}_input_layernorm_weight")
            q, k = (self.part(h, f"{name}_self_attn_{one}_proj_weight", turns) for one in "qk")
            v = self.part(h, f"{name}_self_attn_v_proj_weight")
            k, v = self.shared(k, q.shape[1]), self.shared(v, q.shape[1])
            seen = torch.softmax(q @ k.mT * self.size**-0.5 + hidden, -1) @ v
            x = x + F.linear(seen.transpose(1, 2).flatten(2), self.w[f"{name}_self_attn_o_proj_weight"])
            h = self.even(x, f"{name}_post_attention_layernorm_weight")
            gate, up = (F.linear(h, self.w[f"{name}_mlp_{one}_proj_weight"]) for one in ("gate", "up"))
            gate, up = (up, gate) if self.faults.get("crossed") else (gate, up)
            inner = F.silu(gate) * up
            x = x + F.linear(inner, self.w[f"{name}_mlp_down_proj_weight"])
        return F.linear(self.even(x, "model_norm_weight"), self.w["lm_head_weight"])


# -- BERT with an axis of heads, as it is written in JAX ------------------------------------------------------------


class ByAxis(nn.Module):
    """BERT whose weights have an axis of heads, tokens first."""

    def __init__(self, model: Any, **faults: Any) -> None:
        super().__init__()
        c, self.faults = model.config, faults
        self.heads, self.eps, self.depth = c.num_attention_heads, c.layer_norm_eps, c.num_hidden_layers
        state = {name.replace(".", "_"): one.clone() for name, one in model.state_dict().items()}
        if faults.get("bias"):
            state["bert_encoder_layer_1_attention_self_value_bias"].zero_()
        if faults.get("transposed"):
            state["bert_encoder_layer_2_attention_output_dense_weight"].t_()
        state = {name: one for name, one in state.items() if one.is_floating_point()}
        self.w = parameters(**state)

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}_weight"], self.w[f"{name}_bias"], self.eps)

    def heads_of(self, x: Tensor, name: str) -> Tensor:
        weight = self.w[f"{name}_weight"].T.unflatten(-1, (self.heads, -1))
        return torch.einsum("tbd,dhk->tbhk", x, weight) + self.w[f"{name}_bias"].view(self.heads, -1)

    def forward(self, ids: Tensor) -> Tensor:
        e = "bert_embeddings"
        t = ids.T
        places = torch.arange(len(t)) + (1 if self.faults.get("places") else 0)
        x = self.w[f"{e}_word_embeddings_weight"][t] + self.w[f"{e}_position_embeddings_weight"][places][:, None]
        if not self.faults.get("types"):
            x = x + self.w[f"{e}_token_type_embeddings_weight"][0]
        x = self.norm(x, f"{e}_LayerNorm")
        for layer in range(self.depth):
            name = f"bert_encoder_layer_{layer}"
            q, k, v = (self.heads_of(x, f"{name}_attention_self_{one}") for one in ("query", "key", "value"))
            q, k = (k, q) if self.faults.get("exchanged") else (q, k)
            scores = torch.einsum("tbhk,sbhk->bhts", q, k) / q.shape[-1] ** (0.25 if self.faults.get("scale") else 0.5)
            mixed = torch.einsum("bhts,sbhk->tbhk", scores.softmax(-1), v)
            weight = self.w[f"{name}_attention_output_dense_weight"].T.unflatten(0, (self.heads, -1))
            mixed = torch.einsum("tbhk,hkd->tbd", mixed, weight) + self.w[f"{name}_attention_output_dense_bias"]
            mixed = mixed if self.faults.get("residual") and layer == 1 else mixed + x
            x = self.norm(mixed, f"{name}_attention_output_LayerNorm")
            inner = F.linear(x, self.w[f"{name}_intermediate_dense_weight"], self.w[f"{name}_intermediate_dense_bias"])
            inner = F.relu(inner) if self.faults.get("relu") else F.gelu(inner)
            inner = F.linear(inner, self.w[f"{name}_output_dense_weight"], self.w[f"{name}_output_dense_bias"])
            x = self.norm(inner + x, f"{name}_output_LayerNorm")
        first = torch.tanh(F.linear(x[0], self.w["bert_pooler_dense_weight"], self.w["bert_pooler_dense_bias"]))
        return F.linear(first, self.w["classifier_weight"], self.w["classifier_bias"])


PORTS: dict[str, Callable[..., nn.Module]] = {
    "scripted": Scripted, "by_torch": ByTorch, "by_head": ByHead, "student": Student,
    "turning": Turning, "by_axis": ByAxis,
}  # fmt: skip
