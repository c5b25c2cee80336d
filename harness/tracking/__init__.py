"""The mirror of the records in MLflow: written in the background, made up at any time, never in training's way."""

from harness.tracking.mirror import Mirror, sync
from harness.tracking.on_request import register, serve

__all__ = ["Mirror", "register", "serve", "sync"]
