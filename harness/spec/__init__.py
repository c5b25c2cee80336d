"""What is asked: studies, arms, recipes, claims, as frozen dataclasses. Needs the standard library only."""

from harness.spec.catalogue import find_study, study_name, study_names
from harness.spec.claims import (
    METRICS,
    Answer,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    Estimate,
    GainsMore,
    GapShrinks,
    Judgement,
    Monotone,
)
from harness.spec.data import IMAGENET, NAMED_SOURCES, SOURCES, DataSpec, SourceFacts
from harness.spec.errors import InvalidInput
from harness.spec.few_shot import FewShot
from harness.spec.model import ModelSpec, Module, ResNetSpec, SwinSpec, Timm, Torchvision, ViTSpec
from harness.spec.procedural import Cued, Scattered
from harness.spec.recipe import BUDGET_UNITS, Augmentation, Distillation, Pretraining, Recipe, StartFrom, WeightsFile
from harness.spec.run import Run, RunConfig, canonical_json, to_plain
from harness.spec.search import Choice, LogUniform, Search, Space, Uniform
from harness.spec.study import (
    GROUPS,
    SCALES,
    TUNE_SEED,
    Arm,
    ResolvedStudy,
    Scale,
    Study,
)

__all__ = ["GROUPS", "SCALES", "TUNE_SEED", "Arm", "ResolvedStudy", "Scale", "Study"]
__all__ += ["find_study", "study_name", "study_names"]
__all__ += ["ModelSpec", "Module", "ResNetSpec", "SwinSpec", "Timm", "Torchvision", "ViTSpec"]
__all__ += ["BUDGET_UNITS", "Augmentation", "Distillation", "Pretraining", "Recipe", "StartFrom", "WeightsFile"]
__all__ += ["IMAGENET", "NAMED_SOURCES", "SOURCES", "Cued", "DataSpec", "FewShot", "Scattered", "SourceFacts"]
__all__ += ["Choice", "LogUniform", "Search", "Space", "Uniform"]
__all__ += ["METRICS", "Better", "Claim", "CostGrows", "Crosses", "Equivalent", "GainsMore", "GapShrinks", "Monotone"]
__all__ += ["Answer", "Estimate", "Judgement"]
__all__ += ["InvalidInput", "Run", "RunConfig", "canonical_json", "to_plain"]
