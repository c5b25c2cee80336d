"""Patchbench: a benchmarking and ablation harness for vision transformers."""
