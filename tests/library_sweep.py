"""How the equations fare on other libraries: records small models of timm, diffusers and x-transformers.

    pip install '.[sweep]'
    python -m tests.library_sweep timm|diffusers|x-transformers [NAME…]

A line for each model: its verdicts, and how many of its module calls carry an equation; below it each difference, with
its kind. Exits 1 if any is a mistake (✗), which then has to be true of the code."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

import tftrace
from tftrace.navigate.difference_kinds import kind_of
from tftrace.trace import schema

Made = tuple[Any, Callable[[Any], Any]]
TIMM = """
aimv2_large_patch14_224 beit_base_patch16_224 caformer_s18 cait_xxs24_224 coat_tiny coatnet_nano_rw_224 convformer_s18
convit_tiny convnext_atto convnextv2_atto crossvit_tiny_240 davit_tiny deit_tiny_patch16_224 densenet121 dla34
edgenext_xx_small efficientnet_b0 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fastvit_t8 focalnet_tiny_srf
ghostnet_050 gmixer_12_224 gmlp_ti16_224 hiera_tiny_224 hrnet_w18_small inception_next_atto inception_v3 levit_128s
mambaout_femto maxvit_pico_rw_256 maxxvit_rmlp_nano_rw_256 mixer_s32_224 mobilenetv3_small_050 mobilenetv4_conv_small
mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nextvit_small pit_ti_224 poolformer_s12 poolformerv2_s12 pvt_v2_b0
rdnet_tiny regnetx_002 repvit_m0_9 resmlp_12_224 resnet18 resnetv2_50 samvit_base_patch16 sequencer2d_s shvit_s1
starnet_s1 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 tiny_vit_5m_224 tnt_s_patch16_224
twins_svt_small vgg11 visformer_tiny vit_base_patch16_siglip_224 vit_tiny_patch16_224 volo_d1_224 xception41
xcit_nano_12_p16_224
"""


def timm_models() -> dict[str, Callable[[], Made]]:
    """Models by name, with random weights and one random picture."""
    import timm

    def make(name: str) -> Made:
        model = timm.create_model(name, pretrained=False).eval()
        picture = torch.randn(1, *model.default_cfg.get("input_size", (3, 224, 224)))
        return model, lambda m: m(picture)

    return {name: partial(make, name) for name in TIMM.split()}


def diffusers_models() -> dict[str, Callable[[], Made]]:
    """Denoisers and autoencoders, tiny."""
    import diffusers as d

    x, t, c = torch.randn(1, 4, 16, 16), torch.tensor([3]), torch.randn(1, 5, 32)
    picture, blocks = torch.randn(1, 3, 32, 32), {"block_out_channels": (32, 64), "layers_per_block": 1}
    cross = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    plain = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    coder = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    heads = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2}
    return {
        "unet-2d": lambda: (d.UNet2DModel(sample_size=32, **blocks, **plain), lambda m: m(picture, t)),
        "unet-2d-condition": lambda: (
            d.UNet2DConditionModel(sample_size=16, cross_attention_dim=32, attention_head_dim=8, **blocks, **cross),
            lambda m: m(x, t, encoder_hidden_states=c),
        ),
        "autoencoder-kl": lambda: (d.AutoencoderKL(**blocks, **coder), lambda m: m(picture)),
        "vq-model": lambda: (d.VQModel(**blocks, **coder), lambda m: m(picture)),
        "autoencoder-tiny": lambda: (d.AutoencoderTiny(), lambda m: m(picture)),
        "dit": lambda: (
            d.DiTTransformer2DModel(
                in_channels=4, out_channels=8, num_embeds_ada_norm=10, sample_size=16, patch_size=2, **heads
            ),
            lambda m: m(x, timestep=t, class_labels=torch.tensor([1])),
        ),
        "prior": lambda: (
            d.PriorTransformer(**heads, embedding_dim=32, num_embeddings=5),
            lambda m: m(c[:, 0], t, c[:, 0], c),
        ),
        "transformer-2d": lambda: (
            d.Transformer2DModel(**heads, in_channels=32, cross_attention_dim=32),
            lambda m: m(torch.randn(1, 32, 8, 8), encoder_hidden_states=c),
        ),
    }  # fmt: skip


def x_transformers_models() -> dict[str, Callable[[], Made]]:
    """Language models and a vision transformer in five configurations."""
    from x_transformers import Decoder, Encoder, TransformerWrapper, ViTransformerWrapper

    tokens, picture = torch.randint(0, 99, (2, 12)), torch.randn(1, 3, 32, 32)

    def language(kind: Any, **options: Any) -> Made:
        layers = kind(dim=32, depth=2, heads=4, attn_dim_head=8, **options)
        return TransformerWrapper(num_tokens=99, max_seq_len=32, attn_layers=layers).eval(), lambda m: m(tokens)

    return {
        "decoder": lambda: language(Decoder),
        "encoder": lambda: language(Encoder, attn_flash=True),
        "rotary-rmsnorm-swiglu": lambda: language(Decoder, rotary_pos_emb=True, use_rmsnorm=True, ff_glu=True),
        "alibi-qk-norm": lambda: language(Decoder, alibi_pos_bias=True, attn_qk_norm=True),
        "vision": lambda: (
            ViTransformerWrapper(
                image_size=32, patch_size=8, num_classes=9, attn_layers=Encoder(dim=32, depth=2, heads=4)
            ),
            lambda m: m(picture),
        ),
    }  # fmt: skip


LIBRARIES = {"timm": timm_models, "diffusers": diffusers_models, "x-transformers": x_transformers_models}


def differences(model: Any, call: Callable[[Any], Any]) -> Iterator[str | tuple[bool, str]]:
    """First the line of a model, then for each kind of difference whether it is a mistake, and its line."""
    with tempfile.TemporaryDirectory() as folder:
        with torch.no_grad(), tftrace.record(model, Path(folder) / "run.tftrace") as trace:
            call(model)
        modules = [step for step in trace if step.kind == "module"]
        verdicts = Counter(check.verdict for step in trace for check in step.checks)
        yield f"{dict(verdicts)}, {sum(bool(s.equation) for s in modules)} of {len(modules)} calls with an equation"
        found: Counter[tuple[bool, str]] = Counter()
        for step in trace:
            for check in step.checks:
                if check.verdict == "differs":
                    said = f"{step.type} {check.equation}: {check.variant or check.reason}"
                    mistake = kind_of(trace, check.equation or "", check.variant) == schema.MISTAKE
                    found[mistake, said] += 1
        for (mistake, said), times in found.items():
            yield mistake, f"   {'✗' if mistake else '△'} {said} ({times})"


def main(library: str, *names: str) -> int:
    """Sweep a library, or some models of it."""
    warnings.filterwarnings("ignore")
    mistakes = 0
    for name, make in LIBRARIES[library]().items():
        if names and name not in names:
            continue
        torch.manual_seed(0)
        try:
            model, call = make()
            told = list(differences(model.eval(), call))
        except Exception as error:
            told = [f"cannot be run here ({type(error).__name__}: {str(error)[:100]})"]
        for line in told:
            mistakes += isinstance(line, tuple) and line[0]
            print(line[1] if isinstance(line, tuple) else f"{name}: {line}", flush=True)
    return 1 if mistakes else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
