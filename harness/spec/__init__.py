"""What is asked: studies, arms, recipes, claims, as frozen dataclasses. Needs the standard library only."""

from harness.spec.catalogue import find_study, study_name, study_names
from harness.spec.claims import (
    METRICS,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    GainsMore,
    GapShrinks,
    Monotone,
)
from harness.spec.data import IMAGENET, NAMED_SOURCES, SOURCES, DataSpec, SourceFacts
from harness.spec.errors import InvalidInput
from harness.spec.model import ModelSpec, Module, ResNetSpec, SwinSpec, Timm, Torchvision, ViTSpec
from harness.spec.recipe import BUDGET_UNITS, Augmentation, Distillation, Recipe
from harness.spec.run import Run, RunConfig, canonical_json, to_plain
from harness.spec.search import Choice, LogUniform, Search, Space, Uniform
from harness.spec.study import SCALES, TUNE_SEED, Arm, ResolvedStudy, Scale, Study, changed_fields
from harness.spec.verdict import Estimate, Judgement

__all__ = [
    "BUDGET_UNITS",
    "IMAGENET",
    "METRICS",
    "NAMED_SOURCES",
    "SCALES",
    "SOURCES",
    "TUNE_SEED",
    "Arm",
    "Augmentation",
    "Better",
    "Choice",
    "Claim",
    "CostGrows",
    "Crosses",
    "DataSpec",
    "Distillation",
    "Equivalent",
    "Estimate",
    "GainsMore",
    "GapShrinks",
    "InvalidInput",
    "Judgement",
    "LogUniform",
    "ModelSpec",
    "Module",
    "Monotone",
    "Recipe",
    "ResNetSpec",
    "ResolvedStudy",
    "Run",
    "RunConfig",
    "Scale",
    "Search",
    "SourceFacts",
    "Space",
    "Study",
    "SwinSpec",
    "Timm",
    "Torchvision",
    "Uniform",
    "ViTSpec",
    "canonical_json",
    "changed_fields",
    "find_study",
    "study_name",
    "study_names",
    "to_plain",
]
