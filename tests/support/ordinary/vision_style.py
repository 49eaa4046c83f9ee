"""Vision transformers and their windows, as image libraries write them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .entry import Entry, Made, floats, style

ENTRIES: list[Entry] = []
ordinary = style("vision", ENTRIES)


class Attention(nn.Module):
    def __init__(self, dim: int = 16, num_heads: int = 4, fused: bool = False, norm: Any = nn.Identity) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, dim // num_heads
        self.scale, self.fused_attn = self.head_dim**-0.5, fused
        self.qkv = nn.Linear(dim, dim * 3)
        self.q_norm, self.k_norm = norm(self.head_dim), norm(self.head_dim)
        self.attn_drop, self.proj, self.proj_drop = nn.Dropout(0.1), nn.Linear(dim, dim), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.fused_attn:
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop.p if self.training else 0.0)
        else:
            q = q * self.scale
            attn = q @ k.transpose(-2, -1)
            attn = attn.softmax(dim=-1)
            attn = self.attn_drop(attn)
            x = attn @ v
        x = x.transpose(1, 2).reshape(B, N, C)
        return self.proj_drop(self.proj(x))


class Mlp(nn.Module):
    def __init__(self, dim: int = 16, act: Any = nn.GELU) -> None:
        super().__init__()
        self.fc1, self.act, self.drop1, self.norm = nn.Linear(dim, 4 * dim), act(), nn.Dropout(0.1), nn.Identity()
        self.fc2, self.drop2 = nn.Linear(4 * dim, dim), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop1(self.act(self.fc1(x)))
        return self.drop2(self.fc2(self.norm(x)))


class LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(0.1 * torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, dim: int = 16, scaled: bool = False) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = (
            nn.LayerNorm(dim),
            Attention(dim),
            LayerScale(dim) if scaled else nn.Identity(),
        )
        self.norm2, self.mlp, self.ls2 = nn.LayerNorm(dim), Mlp(dim), LayerScale(dim) if scaled else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    def __init__(self, scaled: bool = False) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 16, 4, 4)
        self.cls_token, self.pos_embed = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 5, 16))
        self.blocks = nn.Sequential(*(Block(scaled=scaled) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


@ordinary("attention", "feed-forward", "norm")
def vision_transformer() -> Made:
    return VisionTransformer(), (floats(2, 3, 8, 8),)


@ordinary("attention", "feed-forward", "norm")
def vision_transformer_with_layer_scale() -> Made:
    return VisionTransformer(True), (floats(2, 3, 8, 8),)


@ordinary("attention")
def attention_of_patches() -> Made:
    return Attention(), (floats(2, 5, 16),)


@ordinary("attention")
def attention_of_patches_in_one_call() -> Made:
    return Attention(fused=True, norm=nn.LayerNorm), (floats(2, 5, 16),)


@ordinary("feed-forward")
def mlp_of_patches() -> Made:
    return Mlp(act=nn.SiLU), (floats(2, 5, 16),)


@ordinary("attention")
def windows_with_a_position_bias() -> Made:
    class WindowAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj, self.softmax = nn.Linear(8, 24), nn.Linear(8, 8), nn.Softmax(dim=-1)
            self.relative_position_bias_table = nn.Parameter(torch.randn(9, 2))
            at = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
            apart = (at[:, :, None] - at[:, None, :]).permute(1, 2, 0) + 1
            self.register_buffer("relative_position_index", apart[..., 0] * 3 + apart[..., 1])

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            B_, N, C = x.shape
            qkv = self.qkv(x).reshape(B_, N, 3, 2, C // 2).permute(2, 0, 3, 1, 4)
            q, k, v = qkv[0], qkv[1], qkv[2]
            q = q * 4**-0.5
            attn = q @ k.transpose(-2, -1)
            bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(4, 4, -1)
            attn = attn + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
            nW = mask.shape[0]
            attn = attn.view(B_ // nW, nW, 2, N, N) + mask.unsqueeze(1).unsqueeze(0)
            attn = self.softmax(attn.view(-1, 2, N, N))
            return self.proj((attn @ v).transpose(1, 2).reshape(B_, N, C))

    hidden = torch.zeros(4, 4, 4)
    hidden[1, :2, 2:] = -100.0
    return WindowAttention(), (floats(8, 4, 8), hidden)


@ordinary("attention")
def keys_of_fewer_positions() -> Made:
    """Spatial reduction (PVT)."""

    class Reduced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.kv, self.sr, self.proj = (
                nn.Linear(8, 8),
                nn.Linear(8, 16),
                nn.Conv2d(8, 8, 2, 2),
                nn.Linear(8, 8),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = self.q(x).reshape(2, 16, 2, 4).permute(0, 2, 1, 3)
            small = self.sr(x.permute(0, 2, 1).reshape(2, 8, 4, 4)).reshape(2, 8, -1).permute(0, 2, 1)
            k, v = self.kv(small).reshape(2, -1, 2, 2, 4).permute(2, 0, 3, 1, 4)
            attn = (q @ k.transpose(-2, -1)) * 0.5
            return self.proj((attn.softmax(dim=-1) @ v).transpose(1, 2).reshape(2, 16, 8))

    return Reduced(), (floats(2, 16, 8),)


@ordinary("attention")
def attention_in_an_autoencoder() -> Made:
    class AttnBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.GroupNorm(2, 8)
            self.q, self.k, self.v, self.proj_out = (nn.Conv2d(8, 8, 1) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h_ = self.norm(x)
            q, k, v = self.q(h_), self.k(h_), self.v(h_)
            b, c, h, w = q.shape
            q = q.reshape(b, c, h * w).permute(0, 2, 1)
            k = k.reshape(b, c, h * w)
            w_ = torch.bmm(q, k) * (int(c) ** (-0.5))
            w_ = torch.nn.functional.softmax(w_, dim=2)
            v = v.reshape(b, c, h * w)
            w_ = w_.permute(0, 2, 1)
            h_ = torch.bmm(v, w_).reshape(b, c, h, w)
            return x + self.proj_out(h_)

    return AttnBlock(), (floats(2, 8, 3, 4),)


@ordinary()
def talking_heads() -> Made:
    """The scores of all heads are mixed: no attention in single heads."""

    class Talking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj_l, self.proj_w, self.proj = (
                nn.Linear(8, 24),
                nn.Linear(2, 2),
                nn.Linear(2, 2),
                nn.Linear(8, 8),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
            attn = self.proj_l((q @ k.transpose(-2, -1) * 0.5).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            attn = self.proj_w(attn.softmax(dim=-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.proj((attn @ v).transpose(1, 2).reshape(2, 5, 8))

    return Talking(), (floats(2, 5, 8),)


@ordinary()
def channels_attend_to_channels() -> Made:
    """XCiT: normalised queries, a learned temperature."""

    class CrossCovariance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj, self.temperature = nn.Linear(8, 24), nn.Linear(8, 8), nn.Parameter(torch.ones(2, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 4, 1).unbind(0)
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
            attn = (q @ k.transpose(-2, -1)) * self.temperature
            return self.proj((attn.softmax(dim=-1) @ v).permute(0, 3, 1, 2).reshape(2, 5, 8))

    return CrossCovariance(), (floats(2, 5, 8),)


@ordinary()
def queries_that_are_learned() -> Made:
    class AttentionPool(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.latent, self.kv = nn.Parameter(torch.randn(1, 3, 8)), nn.Linear(8, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            k, v = self.kv(x).chunk(2, -1)
            return (self.latent @ k.mT).softmax(-1) @ v

    return AttentionPool(), (floats(2, 5, 8),)
