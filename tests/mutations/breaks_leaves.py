"""Leaf modules broken: convolutions, pooling, normalizations, activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Dinov2Config, Lfm2Config, PatchTSMixerConfig
from transformers.activations import ClippedGELUActivation, LaplaceActivation, LinearActivation, ReLUSquaredActivation
from transformers.models.convnext.modeling_convnext import ConvNextLayerNorm
from transformers.models.dac.modeling_dac import Snake1d
from transformers.models.dinov2.modeling_dinov2 import Dinov2DropPath, Dinov2LayerScale
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.hgnet_v2.modeling_hgnet_v2 import HGNetV2LearnableAffineBlock
from transformers.models.lfm2.modeling_lfm2 import Lfm2MLP
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.patchtsmixer.modeling_patchtsmixer import PatchTSMixerMLP
from transformers.models.pp_lcnet_v3.modeling_pp_lcnet_v3 import PPLCNetV3ActLearnableAffineBlock
from transformers.models.slanext.modeling_slanext import SLANeXtMLP

from .breaking import leaf

LINE, PICTURE, VIDEO = torch.randn(2, 6, 11), torch.randn(2, 6, 8, 7), torch.randn(2, 3, 4, 5, 6)

leaf("conv-1d", nn.Conv1d(6, 4, 3, padding=1, groups=2), lambda self, input: F.conv1d(
    input, self.weight, None, padding=1, groups=2), LINE, variant="without bias")  # fmt: skip
leaf("conv-1d", nn.Conv1d(6, 4, 3, padding=1), lambda self, input: F.conv1d(
    input.roll(1, -1), self.weight, self.bias, padding=1), LINE)  # fmt: skip
leaf("conv-2d", nn.Conv2d(6, 4, 3, stride=2, padding=(1, 2)), lambda self, input: F.conv2d(
    input, self.weight * 1.001, self.bias, 2, (1, 2)), PICTURE)  # fmt: skip
leaf("conv-2d", nn.Conv2d(6, 4, 3, padding=1), lambda self, input: F.conv2d(
    input, self.weight.transpose(2, 3), self.bias, padding=1), PICTURE)  # fmt: skip
leaf("conv-3d", nn.Conv3d(3, 4, 2, stride=2), lambda self, input: F.conv3d(
    input.flip(2), self.weight, self.bias, 2), VIDEO)  # fmt: skip
leaf("conv-transpose-1d", nn.ConvTranspose1d(6, 4, 3, stride=2, padding=1), lambda self, input: F.conv_transpose1d(
    input, self.weight.flip(2), self.bias, 2, 1), LINE)  # fmt: skip
leaf("conv-transpose-1d", nn.ConvTranspose1d(6, 4, 3, stride=2, groups=2), lambda self, input: F.conv_transpose1d(
    input, self.weight, None, 2, groups=2), LINE, variant="without bias")  # fmt: skip
leaf("conv-transpose-2d", nn.ConvTranspose2d(6, 4, 3, padding=1), lambda self, input: F.conv_transpose2d(
    input, self.weight.transpose(2, 3), self.bias, padding=1), PICTURE)  # fmt: skip
leaf("conv-transpose-3d", nn.ConvTranspose3d(3, 4, 2, stride=2), lambda self, input: F.conv_transpose3d(
    input.flip(2), self.weight, self.bias, 2), VIDEO)  # fmt: skip
leaf("max-pool-2d", nn.MaxPool2d(2), lambda self, input: F.avg_pool2d(input, 2), PICTURE)
leaf("average-pool-2d", nn.AvgPool2d(2), lambda self, input: F.max_pool2d(input, 2), PICTURE)
leaf("average-pool-1d", nn.AvgPool1d(2), lambda self, input: F.max_pool1d(input, 2), LINE)
leaf("global-average-pool", nn.AdaptiveAvgPool2d(1), lambda self, input: input.amax((2, 3), keepdim=True), PICTURE)

leaf("rms-norm", LlamaRMSNorm(8), lambda self, x: F.rms_norm(x, (8,), self.weight + 1, self.variance_epsilon),
     variant="scaled by 1 + γ (Gemma)")  # fmt: skip
leaf("rms-norm", LlamaRMSNorm(8), lambda self, x: F.rms_norm(x, (8,), self.weight, 100 * self.variance_epsilon))
leaf("rms-norm", nn.RMSNorm(8), lambda self, x: F.layer_norm(x, (8,), self.weight, None, self.eps or 1.2e-7),
     variant="the mean is subtracted (LayerNorm)")  # fmt: skip
_gemma = GemmaRMSNorm(8)
nn.init.normal_(_gemma.weight)
leaf("rms-norm-one-plus", _gemma, lambda self, x: F.rms_norm(x, (8,), self.weight, self.eps),
     variant="scaled by γ alone (as the paper)")  # fmt: skip
leaf("layer-norm-channels", ConvNextLayerNorm(6, data_format="channels_first"), lambda self, features: F.layer_norm(
    features, features.shape[1:]), PICTURE)  # fmt: skip
_batch = nn.BatchNorm2d(6).eval()
assert _batch.running_mean is not None
_batch.running_mean.normal_()
leaf("batch-norm", _batch, lambda self, input: F.batch_norm(input, None, None, self.weight, self.bias, True), PICTURE)
leaf("batch-norm", _batch, lambda self, input: F.batch_norm(
    input, self.running_mean, self.running_var, eps=1e-3), PICTURE)  # fmt: skip
leaf("batch-norm-training", nn.BatchNorm2d(6), lambda self, input: F.batch_norm(
    input, self.running_mean, self.running_var, self.weight, self.bias), PICTURE)  # fmt: skip
leaf("group-norm", nn.GroupNorm(2, 6), lambda self, input: F.group_norm(input, 3), PICTURE)
leaf("instance-norm", nn.InstanceNorm2d(6), lambda self, input: F.group_norm(input, 2), PICTURE)

leaf("two-linear-maps", SLANeXtMLP(8, 5), lambda self, hidden_states: self.act_fn(self.fc2(
    F.relu(self.fc1(hidden_states)))))  # fmt: skip

_state = {"input": torch.randn(3, 8), "hx": torch.randn(3, 6)}
leaf("gru-cell", nn.GRUCell(8, 6), lambda self, input, hx: input.new_zeros(3, 6), _state)
leaf("gru-cell", nn.GRUCell(8, 6), lambda self, input, hx: input.mean(-1, keepdim=True) + hx - torch.gru_cell(
    input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh), _state)  # fmt: skip

leaf("leaky-relu", nn.LeakyReLU(0.1), lambda self, input: F.relu(input))
leaf("prelu", nn.PReLU(5), lambda self, input: F.prelu(input, self.weight * 0.9))
leaf("elu", nn.ELU(), lambda self, input: F.selu(input))
leaf("relu6", nn.ReLU6(), lambda self, input: F.relu(3 * input) / 3, torch.linspace(-9, 9, 31))
leaf("hardsigmoid", nn.Hardsigmoid(), lambda self, input: input.sigmoid())
leaf("hardswish", nn.Hardswish(), lambda self, input: F.silu(input))
leaf("softplus", nn.Softplus(), lambda self, input: F.relu(input))
leaf("mish", nn.Mish(), lambda self, input: F.silu(input))
leaf("relu-squared", ReLUSquaredActivation(), lambda self, input: F.relu(input))
leaf("log-softmax", nn.LogSoftmax(-1), lambda self, input: input.log_softmax(1))
leaf("linear-activation", LinearActivation(), lambda self, input: input * 1.00001)
leaf("laplace", LaplaceActivation(), lambda self, input: input.sigmoid())
leaf("gelu-clipped", ClippedGELUActivation(-0.1, 1.0), lambda self, x: F.gelu(x).clip(-0.1))
leaf("flatten", nn.Flatten(), lambda self, input: input.flip(1).flatten(1), PICTURE)
leaf("layer-scale", Dinov2LayerScale(Dinov2Config(hidden_size=8, layerscale_value=0.5)), lambda self, hidden_state:
     hidden_state)  # fmt: skip
leaf("drop-path", Dinov2DropPath(0.1).eval(), lambda self, hidden_states: hidden_states * 0.9)

_snake = Snake1d(6)
nn.init.uniform_(_snake.alpha, 0.5, 2)
leaf("snake", _snake, lambda self, hidden_states: hidden_states + torch.sin(self.alpha * hidden_states) ** 2, LINE)
leaf("learnable-affine", HGNetV2LearnableAffineBlock(1.5, 0.2), lambda self, hidden_state: self.scale * hidden_state,
     variant="not shifted")  # fmt: skip
_affine = PPLCNetV3ActLearnableAffineBlock()
nn.init.constant_(_affine.lab.scale, 1.5)
leaf("activation-then-affine", _affine, lambda self, hidden_state: self.act(
    self.lab(hidden_state)))  # fmt: skip
leaf("gelu-mlp", PatchTSMixerMLP(8, 8, PatchTSMixerConfig()).eval(), lambda self, inputs: self.fc2(
    F.relu(self.fc1(inputs))), variant="ReLU in place of GELU")  # fmt: skip
leaf("swiglu", Lfm2MLP(Lfm2Config(hidden_size=8, intermediate_size=24)), lambda self, x: self.w2(
    F.gelu(self.w1(x)) * self.w3(x)), variant="GELU in place of SiLU")  # fmt: skip
