"""Weights that a model has learned, put into a model for other images and classes (arXiv 2010.11929, section 3.2).

All of the body is loaded, under a new head of zeros; position embeddings are resized to the grid of the new images.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the field's usual name)

from harness.models.vit import ViT
from harness.spec.errors import InvalidInput, require

HEADS = ("head.", "distillation_head.", "fc.", "head_dist.")
"""How the names of the tensors above the body begin, here and in timm."""

OF_TIMM = (
    (r"cls_token", "class_token"),
    (r"dist_token", "distillation_token"),
    (r"pos_embed", "position.table"),
    (r"patch_embed\.proj\.", "stem.projection."),
    (r"fc_norm\.", "norm."),
    (r"(blocks\.\d+)\.attn\.qkv\.", r"\1.attention.qkv."),
    (r"(blocks\.\d+)\.attn\.proj\.", r"\1.attention.output."),
    (r"(blocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.0."),
    (r"(blocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.3."),
    (r"(blocks\.\d+)\.ls([12])\.gamma", r"\1.branch\2.layer_scale"),
)
"""Beginnings of timm's names for a vision transformer, and ours; others are the same, as all of a ResNet are."""


def of_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of timm's `VisionTransformer` or `ResNet` by our names, the kernel of its patches as a linear map."""
    found = {}
    for name, tensor in tensors.items():
        ours = next((new for old, by in OF_TIMM if (new := re.sub(f"^{old}", by, name)) != name), name)
        found[ours] = tensor.flatten(1) if name == "patch_embed.proj.weight" else tensor
    return found


@torch.no_grad()
def start_from(model: nn.Module, tensors: Mapping[str, Tensor], what: str, grid: Sequence[int] = ()) -> None:
    """Give a model of ours the weights of another's body, and a head of zeros.

    `tensors` by our names, those of its head left out; `grid`: rows and columns of their position embeddings, empty
    for a square. Raises `InvalidInput`, saying `what` they are, for a tensor that is missing, unknown or of another
    shape, before anything is changed.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(HEADS)}
    given = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
    for told, names in (("lacks", own.keys() - given.keys()), ("has", given.keys() - own.keys())):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        rule = "the tensors must be those of the model below its head. Give weights of the same model."
        require(not names, f"{what} {told} {', '.join(islice(sorted(names), 3))}{more}; {rule}")
    fitted = {name: _fitted(name, given[name], tensor, model, what, tuple(grid)) for name, tensor in own.items()}
    for name, tensor in fitted.items():
        own[name].copy_(tensor)
    for head in _last_maps(model):
        for parameter in head.parameters():
            nn.init.zeros_(parameter)


def freeze_body(model: nn.Module) -> tuple[nn.Module, ...]:
    """Let only the head learn; returns the parts that must stay in evaluation mode, so that nothing in them changes."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(HEADS))
    return tuple(part for name, part in model.named_children() if not f"{name}.".startswith(HEADS))


def resized_positions(vectors: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Position embeddings of a grid of patches, row by row (P, D), for another grid (P', D), by bicubic interpolation.

    `before` and `after` are rows and columns; corners of pixels, not their centres, stay where they are.
    """
    image = vectors.reshape(1, *before, -1).permute(0, 3, 1, 2)  # (1, D, rows, columns)
    resized = F.interpolate(image, size=after, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(after[0] * after[1], -1)


def _last_maps(model: nn.Module) -> list[nn.Module]:
    """The maps to the classes: a hidden layer of a head stays as it was drawn, or zeros could not be left."""
    heads = [part for name, part in model.named_children() if f"{name}.".startswith(HEADS)]
    return [head[-1] if isinstance(head, nn.Sequential) else head for head in heads]


def _fitted(name: str, given: Tensor, own: Tensor, model: nn.Module, what: str, grid: tuple[int, ...]) -> Tensor:
    """A tensor in the shape of a model's own; position embeddings are resized for it."""
    if isinstance(model, ViT) and name.startswith("position."):
        return _fitted_positions(name, given, own, model, what, grid)
    if given.shape != own.shape:
        told = "the shapes must be the same; only position embeddings are resized. Give weights of the same model."
        raise InvalidInput(f"{what} has {name} of shape {tuple(given.shape)}, the model {tuple(own.shape)}; {told}")
    return given


def _fitted_positions(name: str, given: Tensor, own: Tensor, model: ViT, what: str, grid: tuple[int, ...]) -> Tensor:
    if given.ndim != own.ndim or given.shape[-1] != own.shape[-1]:
        told = "position embeddings are resized to other grids, not to other widths. Give weights of the same model."
        raise InvalidInput(f"{what} has {name} of shape {tuple(given.shape)}, the model {tuple(own.shape)}; {told}")
    if name == "position.table":
        tokens = sum(token is not None for token in (model.class_token, model.distillation_token))
        patches, side = given.shape[1] - tokens, isqrt(own.shape[1] - tokens)
        before = grid or (isqrt(max(patches, 0)),) * 2
        if patches < 1 or before[0] * before[1] != patches:
            told = f"not {before[0]} rows of {before[1]}. Name the rows and columns of its grid (weights_file.grid)."
            raise InvalidInput(f"{what} has position embeddings of {patches} patches, {told}")
        if before == (side, side):
            return given
        kept, vectors = given[0, :tokens], given[0, tokens:]
        resized = resized_positions(vectors.float(), (before[0], before[1]), (side, side))
        return torch.cat([kept.float(), resized])[None]
    if given.shape == own.shape:
        return given
    (rows, columns, _), new = given.shape, own.shape  # `rows` (g, 1, d) or `columns` (1, g, d) of learned_2d
    return resized_positions(given.flatten(0, 1).float(), (rows, columns), (new[0], new[1])).view(new)
