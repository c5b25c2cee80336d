"""What the parameters of a model are to its optimiser."""

from torch import nn


def no_decay(model: nn.Module) -> set[str]:
    """Names of the parameters without weight decay: norms, biases, layer scales, tokens, tables of positions."""
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1 or name.endswith("_token") or "position" in name
    }


def hidden_weights(model: nn.Module) -> dict[str, int]:
    """Weights between a model's first map and its head, which Muon updates; and how many matrices each one fuses.

    Of a ViT or Swin, the matrices of the encoder blocks (queries, keys and values are three in one) and of the maps
    that merge tokens; of a ResNet, the convolution kernels but the first. Left out are stems, heads, tokens and tables
    of positions (a relative bias too, though it is 2-D).
    """
    return {
        name: 3 if name.endswith("qkv.weight") else 1
        for name, parameter in model.named_parameters()
        if name.endswith(".weight") and (_is_hidden_matrix(name, parameter) or _is_hidden_kernel(name, parameter))
    }


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and name.startswith(("blocks.", "features."))


def _is_hidden_kernel(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 4 and name != "conv1.weight" and not name.startswith(("stem.", "features."))
