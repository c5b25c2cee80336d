"""The Swin transformer (arXiv 2103.14030): torchvision's, for any number of channels.

Letters of the shape comments: B images, C channels, r image side in pixels, h tokens per side of a stage, w width of a
stage, K classes.
"""

from functools import partial

from torch import Tensor, nn
from torchvision.models import swin_transformer

from harness.spec import SwinSpec


class Swin(swin_transformer.SwinTransformer):  # type: ignore[misc]  # torchvision publishes no types
    """torchvision's Swin: images (B, C, r, r) to logits (B, K); its state dict fits torchvision's where shapes agree.

    As there, tokens of zeros fill up the last windows of a grid that windows do not tile, and take part in attention;
    so a window larger than a stage's grid is work for nothing. Under autocast the residual stream stays in the
    parameters' precision, as in the vision transformer.
    """

    def __init__(self, spec: SwinSpec, *, image_size: int, channels: int, classes: int) -> None:
        super().__init__(
            patch_size=[spec.patch_size] * 2,
            embed_dim=spec.width,
            depths=list(spec.depths),
            num_heads=list(spec.heads),
            window_size=[spec.window] * 2,
            mlp_ratio=spec.mlp_ratio,
            stochastic_depth_prob=spec.stochastic_depth,
            num_classes=classes,
            block=partial(swin_transformer.SwinTransformerBlock, attn_layer=WindowAttention),
        )
        if channels != 3:
            self.features[0][0] = nn.Conv2d(channels, spec.width, spec.patch_size, stride=spec.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for part in self.features:  # stem, blocks of a stage, merging, blocks of a stage, ...
            x = part(x).to(self.head.weight.dtype)  # (B, h, h, w)
        logits: Tensor = self.head(self.norm(x).mean(dim=(1, 2)))
        return logits


class WindowAttention(swin_transformer.ShiftedWindowAttention):  # type: ignore[misc]
    """torchvision's attention in windows of s x s tokens: tokens (B, h, h, w) to (B, h, h, w)."""

    def get_relative_position_bias(self) -> Tensor:
        """The bias (1, heads, s * s, s * s) from query (third) to key (fourth).

        Taken by `index_select`: on a CPU its backward pass is faster than indexing's, and adds up in the same order.
        """
        tokens = self.window_size[0] * self.window_size[1]
        bias: Tensor = self.relative_position_bias_table.index_select(0, self.relative_position_index)
        return bias.view(1, tokens, tokens, -1).permute(0, 3, 1, 2)
