"""What the harness knows of a family of models, and what each parameter of a model is to its optimiser."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from harness.spec.errors import InvalidInput
from harness.spec.model import Architecture

Names = Iterable[str] | Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What decides the groups of a model's parameters, by the names of its modules and parameters."""

    stem: str  # from pixels to vectors; may be one of the blocks' modules, whose maps are hidden weights otherwise
    blocks: tuple[str, ...]
    head: str  # from features to logits
    tables: tuple[str, ...] = ()  # tokens and positions, which are not decayed; by the attribute that holds each


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What can be looked at in a model: modules of its own, whose inputs and outputs hooks hear, and parameters."""

    blocks: tuple[nn.Module, ...]
    """In order; each makes tokens (B, N, D) or feature maps (B, C, h, w)."""
    patch_size: int | None = None  # side of the patches that are tokens, pixels; None where there are none
    attentions: tuple[tuple[nn.Module, Callable[[Tensor], Tensor]], ...] = ()
    """Of each block, a module and the weights (B, H, N, N) that it computes from its input (B, N, D)."""
    pooled: slice = field(
        default_factory=lambda: slice(None)
    )  # which tokens the head reads: registers are not among them. The last are the patches
    filters: Tensor | None = None  # (D, C, p, p), the linear map of patches
    positions: Tensor | None = None  # (P, D), the position embeddings of the patches


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of models; `harness.models.FAMILIES` lists them."""

    spec: type[Architecture]
    build: Callable[..., nn.Module]
    """`build(spec, image_size=, channels=, classes=)` draws a model from torch's global generator."""
    parts: Parts | None = None  # none for models of others, of whose insides nothing is known
    inside: Callable[[Any, Any], Inside] | None = None
    """`inside(model, spec)` of a model of the family; None where it cannot be looked into."""


@dataclass(frozen=True, kw_only=True)
class ParameterGroups:
    """Names of a model's trained parameters, each in one group."""

    hidden: Mapping[str, int]
    """Weights that Muon updates where the recipe asks for it, and how many matrices each is; decayed, too."""
    decayed: Set[str]
    undecayed: Set[str]


def parameter_groups(model: nn.Module) -> ParameterGroups:
    """The groups that the model's method `parameter_groups()` declares, else the usual ones.

    The method returns a dict with the keys `muon`, `decay` and `no_decay` (any may be left out), whose values are names
    of parameters as `named_parameters()` has them; under `muon` a dict from names to numbers says how many matrices
    lie in a weight, one above the other, as queries, keys and values often do. Frozen parameters need no group.

    Raises `InvalidInput` unless each trained parameter is in exactly one group.
    """
    method = getattr(model, "parameter_groups", None)
    declared: Mapping[str, Names] = method() if callable(method) else _usual_groups(model)
    what = f"{type(model).__name__}.parameter_groups()"
    if not isinstance(declared, Mapping) or not declared.keys() <= {"muon", "decay", "no_decay"}:
        raise InvalidInput(f"{what} returns {declared!r}; it must return a dict with the keys muon, decay, no_decay.")
    everything = dict(model.named_parameters())
    trained = {name for name, parameter in everything.items() if parameter.requires_grad}
    muon, decayed, undecayed = (declared.get(group, ()) for group in ("muon", "decay", "no_decay"))
    named = Counter(name for names in (muon, decayed, undecayed) for name in names)
    wrong = {name for name in trained if named[name] != 1 or (name in muon and everything[name].ndim < 2)}
    wrong |= {name for name in named if named[name] > 1 or name not in everything}
    if wrong:
        raise InvalidInput(
            f"{what} is wrong on {', '.join(sorted(wrong))}; it must name parameters of the model, each trained one in "
            "exactly one of muon (of rank 2 or more), decay and no_decay."
        )
    return ParameterGroups(
        hidden={name: muon[name] if isinstance(muon, Mapping) else 1 for name in muon if name in trained},
        decayed=trained & set(decayed),
        undecayed=trained & set(undecayed),
    )


def _usual_groups(model: nn.Module) -> dict[str, Names]:
    """Tensors of rank 2 and more are decayed, but for tables; and Muon updates the maps between stem and head.

    Models of others have no `Parts`. Of their maps, in the order in which they are registered, the first is taken to be
    the stem and the last to be the head; tables are what a method `no_weight_decay()` names, as models of timm have it.
    """
    parameters = dict(model.named_parameters())
    parts, maps = getattr(model, "parts", None), _maps(model)
    if isinstance(parts, Parts):
        stem, blocks = f"{parts.stem}.", tuple(f"{name}." for name in parts.blocks)
        hidden = {name for name in maps if name.startswith(blocks) and not name.startswith(stem)}
        tables = {name for name in parameters if name.rpartition(".")[2] in parts.tables}
        maps |= {name: 3 for name in maps if name.endswith(".qkv.weight")}
    else:
        hidden, tables = set(list(maps)[1:-1]), set(getattr(model, "no_weight_decay", set)())
    matrices = {name for name, parameter in parameters.items() if parameter.ndim > 1} - tables
    muon = {name: count for name, count in maps.items() if name in hidden & matrices and count}
    return {"muon": muon, "decay": matrices - muon.keys(), "no_decay": parameters.keys() - matrices}


def _maps(model: nn.Module) -> dict[str, int]:
    """Names of all weights of linear maps and convolutions, and the matrices in each; 0 for a grouped convolution."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            found[f"{name}.in_proj_weight".lstrip(".")] = 3
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            found[f"{name}.weight".lstrip(".")] = int(getattr(module, "groups", 1) == 1)
    return found
