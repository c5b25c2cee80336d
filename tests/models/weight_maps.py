"""Weights of torchvision's, timm's and torch's transformers under the names of `harness.models.vit.ViT`."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.models.vit import ViT

TORCHVISION_BLOCK = {
    "norm1": "ln_1",
    "attention.qkv": "self_attention.in_proj",
    "attention.output": "self_attention.out_proj",
    "norm2": "ln_2",
    "mlp.0": "mlp.0",
    "mlp.3": "mlp.3",
}
TORCHVISION_REST = {
    "stem.projection.weight": "conv_proj.weight",
    "stem.projection.bias": "conv_proj.bias",
    "class_token": "class_token",
    "position.table": "encoder.pos_embedding",
    "norm.weight": "encoder.ln.weight",
    "norm.bias": "encoder.ln.bias",
    "head.linear.weight": "heads.head.weight",
    "head.linear.bias": "heads.head.bias",
}
TIMM_BLOCK = {
    "norm1": "norm1",
    "attention.qkv": "attn.qkv",
    "attention.norms.0": "attn.q_norm",
    "attention.norms.1": "attn.k_norm",
    "attention.output": "attn.proj",
    "norm2": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
    "mlp.gate": "mlp.fc1_g",
    "mlp.value": "mlp.fc1_x",
    "mlp.output": "mlp.fc2",
}
TIMM_REST = {
    "stem.projection.weight": "patch_embed.proj.weight",
    "stem.projection.bias": "patch_embed.proj.bias",
    "class_token": "cls_token",
    "distillation_token": "dist_token",
    "registers": "reg_token",
    "position.table": "pos_embed",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "head.linear.weight": "head.weight",
    "head.linear.bias": "head.bias",
    "distillation_head.linear.weight": "head_dist.weight",
    "distillation_head.linear.bias": "head_dist.bias",
}
"""For each of our names theirs; one that a model has no use for is in neither state dict."""


def torchvision_weights(theirs: nn.Module) -> dict[str, Tensor]:
    return renamed(theirs.state_dict(), TORCHVISION_BLOCK, TORCHVISION_REST, "encoder.layers.encoder_layer_{}.")


def timm_weights(theirs: nn.Module) -> dict[str, Tensor]:
    after_pooling = {"norm.weight": "fc_norm.weight", "norm.bias": "fc_norm.bias"}
    rest = TIMM_REST | (after_pooling if "fc_norm.weight" in theirs.state_dict() else {})
    tensors = theirs.state_dict()
    gated = "blocks.0.mlp.fc1_g.weight" in tensors
    block = {
        ours: other for ours, other in TIMM_BLOCK.items() if not ours.startswith("mlp.3" if gated else "mlp.output")
    }
    return renamed(tensors, block, rest, "blocks.{}.") | _pool_of_timm(tensors)


def _pool_of_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The MAP head, whose keys and values are one map there."""
    found = {}
    for name, tensor in tensors.items():
        if name.startswith("attn_pool.kv."):
            for part, half in zip(("key", "value"), tensor.chunk(2), strict=True):
                found[name.replace("attn_pool.kv", f"attention_pool.{part}")] = half
        elif name.startswith("attn_pool."):
            ours = name.replace("attn_pool.", "attention_pool.")
            for old, new in ((".q.", ".query."), (".proj.", ".output."), ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.3")):
                ours = ours.replace(old, new)
            found[ours] = tensor
    return found


def renamed(
    theirs: Mapping[str, Tensor], block: Mapping[str, str], rest: Mapping[str, str], prefix: str
) -> dict[str, Tensor]:
    """Their state dict under our names; `{}` in the prefix stands for a block's number."""
    found = {ours: theirs[other] for ours, other in rest.items() if other in theirs}
    for index in range(sum(name.endswith(f"{block['norm1']}.weight") for name in theirs)):
        for ours, other in block.items():
            for part in ("weight", "bias"):
                key = f"{prefix.format(index)}{other}" + ("_" if other.endswith("in_proj") else ".") + part
                if key in theirs:
                    found[f"blocks.{index}.{ours}.{part}"] = theirs[key]
    return found


def load(ours: ViT, weights: Mapping[str, Tensor]) -> None:
    """Copy all of `weights` into our model, which has no others."""
    state = ours.state_dict()
    assert weights.keys() == state.keys()
    ours.load_state_dict({name: value.reshape(state[name].shape) for name, value in weights.items()})


def randomise(model: nn.Module) -> None:
    """Give every parameter, zeros and ones too, a value of its own."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
