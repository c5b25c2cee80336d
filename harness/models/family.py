"""What the harness knows of a family of models, and what each parameter of a model is to its optimiser."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from torch import nn

from harness.spec.errors import InvalidInput
from harness.spec.model import Architecture

MUON, DECAY, NO_DECAY = "muon", "decay", "no_decay"
"""Groups of parameters: hidden weights, which are decayed and which Muon updates where the recipe asks for it; others
that are decayed; and those that are not."""

Names = Iterable[str] | Mapping[str, int]
_MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.LayerNorm, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a model, by the names of its modules; the first of stem, blocks and head that has one counts.

    Weights of linear maps and convolutions are decayed; those in the blocks are hidden weights. Norms, biases and what
    is named in `tables` are not decayed.
    """

    stem: tuple[str, ...]
    """From pixels to vectors."""
    blocks: tuple[str, ...]
    """Between stem and head."""
    head: tuple[str, ...]
    """From the features to logits."""
    tables: tuple[str, ...] = ()
    """Parameters that are no layer's weight: tokens, tables of positions, scales; by the attribute that holds each."""
    fused: Mapping[str, int] = field(default_factory=dict)
    """Linear maps that are several in one, by the attribute that holds each; and how many they are."""

    def groups(self, model: nn.Module) -> dict[str, dict[str, int]]:
        """The parameters of a model that has these parts, by group."""
        found: dict[str, dict[str, int]] = {MUON: {}, DECAY: {}, NO_DECAY: {}}
        for name, module in model.named_modules():
            for leaf, _ in module.named_parameters(recurse=False):
                is_map = isinstance(module, _MAPS) and leaf == "weight"
                if is_map or leaf == "bias" or isinstance(module, _NORMS) or leaf in self.tables:
                    group = NO_DECAY if not is_map else MUON if self.part_of(name) == "blocks" else DECAY
                    found[group][f"{name}.{leaf}".strip(".")] = self.fused.get(name.rpartition(".")[2], 1)
        return found

    def part_of(self, module: str) -> str | None:
        """`stem`, `blocks` or `head`, whichever a module is in; None for what is in neither, as a norm between them."""
        for part in ("stem", "blocks", "head"):
            if any(f"{module}.".startswith(f"{name}.") for name in getattr(self, part)):
                return part
        return None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of models; `harness.models.factory.FAMILIES` lists them."""

    spec: type[Architecture]
    build: Callable[..., nn.Module]
    """`build(spec, image_size=, channels=, classes=)` draws a model from torch's global generator."""
    parts: Parts | None = None
    """None for models of others, of whose insides nothing is known."""


@dataclass(frozen=True, kw_only=True)
class ParameterGroups:
    """Names of a model's trained parameters, each in one group."""

    hidden: Mapping[str, int]
    """Weights that Muon updates, and how many matrices each is."""
    decayed: Set[str]
    undecayed: Set[str]


def parameter_groups(model: nn.Module) -> ParameterGroups:
    """The groups of our own models by their `parts`; of others as `parameter_groups()` says, else `usual_groups`.

    The method returns a dict with the keys `muon`, `decay` and `no_decay` (any may be left out), whose values are names
    of parameters as `named_parameters()` has them; under `muon` a dict from names to numbers says how many matrices
    lie in a weight, one above the other, as queries, keys and values often do. Frozen parameters need no group.

    Raises `InvalidInput` unless each trained parameter is in exactly one group.
    """
    parts, method = getattr(model, "parts", None), getattr(model, "parameter_groups", None)
    declared: Mapping[str, Names] = (
        parts.groups(model) if isinstance(parts, Parts) else method() if callable(method) else usual_groups(model)
    )
    what = f"{type(model).__name__}.parameter_groups()"
    if not isinstance(declared, Mapping) or not declared.keys() <= {MUON, DECAY, NO_DECAY}:
        raise InvalidInput(f"{what} returns {declared!r}; it must return a dict with the keys muon, decay, no_decay.")
    everything = dict(model.named_parameters())
    trained = {name for name, parameter in everything.items() if parameter.requires_grad}
    muon, decayed, undecayed = (declared.get(group, ()) for group in (MUON, DECAY, NO_DECAY))
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


def usual_groups(model: nn.Module) -> dict[str, Names]:
    """Groups of a model that declares none: tensors of rank 2 and more are decayed, the others are not.

    Muon updates the weights of linear maps and of convolutions that are in one group, but for the first and the last
    of all maps in the order in which the model has registered them: those are taken to be its stem and its head. The
    three projections that `nn.MultiheadAttention` has in one are three matrices. What a method `no_weight_decay()`
    names, as models of timm have it, is not decayed.
    """
    parameters = dict(model.named_parameters())
    exempt = set(getattr(model, "no_weight_decay", set)())
    hidden = {name: parts for name, parts in list(_maps(model))[1:-1] if parts and name in parameters}
    matrices = {name for name, parameter in parameters.items() if parameter.ndim > 1} - exempt
    return {
        MUON: {name: parts for name, parts in hidden.items() if name in matrices},
        DECAY: matrices - hidden.keys(),
        NO_DECAY: parameters.keys() - matrices,
    }


def _maps(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Names of all weights of linear maps and convolutions, and the matrices in each; 0 for a grouped convolution."""
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            yield f"{prefix}in_proj_weight", 3
        elif isinstance(module, _MAPS):
            yield f"{prefix}weight", int(getattr(module, "groups", 1) == 1)
