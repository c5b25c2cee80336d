"""The colours of arms, the same in every figure and wherever runs are shown: hue by family of models."""

import json
from collections import Counter

from harness.spec.model import ModelSpec, ViTSpec
from harness.spec.run import to_plain
from harness.spec.study import ResolvedStudy

_HUES = {
    "resnet": ("#3d444d", "#6e7781", "#a3acb6"),
    "vit": ("#00457a", "#0173b2", "#4ba3dc"),
    "hybrid": ("#004a36", "#029e73", "#4fbf98"),
    "swin": ("#7a4a00", "#de8f05", "#efb04f"),
    "timm": ("#752f00", "#d55e00", "#f58d45"),
    "torchvision": ("#662a5d", "#b05aa0", "#d596cb"),
    "module": ("#63391a", "#a56b3f", "#cf9c76"),
}
"""Of each family of models, in every figure: the dark end of its colours, the one of its only arm, the light end."""
FAMILIES = {
    "resnet": "ResNet",
    "vit": "ViT",
    "hybrid": "hybrid",
    "swin": "Swin",
    "timm": "timm",
    "torchvision": "torchvision",
    "module": "own model",
}
"""What each is called."""
_STEPS = 256  # of shades between the ends of a family's colours


def colours(study: ResolvedStudy) -> dict[str, str]:
    """The colour of each arm, `#rrggbb`."""
    return {name: shaded(family_of(study.arm(name).model), shade) for name, shade in shades_of(study).items()}


def family_of(model: ModelSpec) -> str:
    """The family that gives an arm its hue: that of the specification, and `hybrid` for a ViT with convolutions."""
    return "hybrid" if isinstance(model, ViTSpec) and model.stem != "patch" else model.kind


def second_factor(study: ResolvedStudy) -> dict[str, int]:
    """For each arm the place of what it varies within its family: equal for two arms that differ in their family alone.

    Arms of one series share a place. Arms of different families are alike where they change the same of recipe and
    data, in their order where several do.
    """
    units = [arm for arm in study.all_arms if arm.series is None or arm is study.series[arm.series][0]]
    places, seen, found = dict[tuple[str, int], int](), Counter[tuple[str, str]](), dict[str, int]()
    for arm in units:
        changed = "" if arm.series is not None else json.dumps(to_plain(arm.changes), sort_keys=True)
        same = family_of(arm.model), changed
        place = places.setdefault((changed, seen[same]), len(places))
        seen[same] += 1
        for each in (arm,) if arm.series is None else study.series[arm.series]:
            found[each.name] = place
    return found


def shades_of(study: ResolvedStudy) -> dict[str, float | None]:
    """For each arm its shade within its family, 0 (dark) to 1; None for one that is alone there.

    Shades follow what an arm varies; numeric levels shade from dark to light. The arms of a series look alike.
    """
    places, families = second_factor(study), {arm.name: family_of(arm.model) for arm in study.all_arms}
    ordered = not study.series and has_ordered_levels(study)
    shades: dict[str, float | None] = {}
    for arm in study.all_arms:
        of_family = sorted({places[name] for name in places if families[name] == families[arm.name]})
        shade = of_family.index(places[arm.name]) / (len(of_family) - 1) if len(of_family) > 1 else None
        if ordered and arm is not study.baseline and len(study.arms) > 2:
            levels = sorted(float(other.level or 0) for other in study.arms)
            shade = levels.index(float(arm.level or 0)) / (len(levels) - 1)
        shades[arm.name] = shade
    return shades


def shaded(family: str, shade: float | None = None) -> str:
    """A colour of a family of models, from its dark end, 0, to its light one, 1; its usual colour for None."""
    dark, usual, light = _HUES[family]
    if shade is None:
        return usual
    place = 2 * min(int(shade * _STEPS), _STEPS - 1) / (_STEPS - 1)
    start, end = (dark, usual) if place < 1 else (usual, light)
    parts = ((int(start[at : at + 2], 16), int(end[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(low + (high - low) * (place - (place >= 1))):02x}" for low, high in parts)


def has_ordered_levels(study: ResolvedStudy) -> bool:
    """Whether every arm's level is a number (`Arm` keeps numeric levels as floats)."""
    return bool(study.arms) and all(isinstance(arm.level, float) for arm in study.arms)
