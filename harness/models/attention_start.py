"""Starts of a vision transformer's attention that lend it a bias: of weights alone, which training may undo.

Letters: D width, H heads, k = D / H, g patches per side, P = g * g. Products of matrices act on rows, as in the papers:
queries are X Q with Q (D, k). All is drawn from torch's global generator and computed in float64.
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

MIMETIC_SCORES, MIMETIC_VALUES = 0.7, 0.4
"""alpha1 = beta1 and alpha2 = beta2 (arXiv 2305.09828, for ViT-Tiny)."""

NORM = 7 / sqrt(64)
"""Frobenius norm of an impulse head's Q and of its K, by sqrt(k): the authors' 7 in heads of width 64."""

NOISE = 0.003 * 0.6
"""Standard deviation (cut at 2 / .6 of it) of the scores beside those of an impulse, which are 1: the authors' code."""


def mimetic(width: int, heads: int) -> tuple[Tensor, Tensor]:
    """Weights (3D, D) of `qkv` and (D, D) of `output` of one attention (arXiv 2305.09828).

    Each head's Q K^T is, of rank k, the nearest to alpha1 Z + beta1 I, and V W_proj of all heads is alpha2 Z - beta2 I,
    the entries of Z being normal of variance 1/D: by singular value decompositions, with roots of S in both factors.
    """
    products = torch.stack([_near_identity(width, MIMETIC_SCORES) for _ in range(heads)])
    queries, keys = factors(products, width // heads)
    return _joined(queries, keys, *_values_and_output(width))


def impulse(table: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Weights (3D, D) of `qkv` and (D, D) of `output`, for the patches' positions `table` (P, D) (arXiv 2505.19985).

    Each head's map starts as a filter that is an impulse: every patch looks at the neighbour at one of nine offsets,
    the head's own, in random order; a patch that has none there looks nowhere. With E+ the pseudo-inverse of the
    normalised positions, of which k singular values are kept, Q K^T is E+ map E+^T, cut to rank k, its factors of fixed
    norm; values and output start as mimetic ones. So the authors' code has it (osiriszjq/structured_initialization),
    where heads take the offsets in one order; arXiv 2404.01139, their earlier text, fits Q and K by gradient descent.
    """
    patches, width = table.shape
    k, grid = width // heads, round(sqrt(patches))
    order = torch.randperm(9).tolist()
    maps = torch.stack([shift_map(grid, *divmod(order[head % 9], 3)) for head in range(heads)])  # (H, P, P)
    noise = torch.nn.init.trunc_normal_(torch.empty_like(maps), std=NOISE, a=-2 * NOISE / 0.6, b=2 * NOISE / 0.6)
    maps = torch.where(maps == 0, noise, maps)
    u, s, vh = torch.linalg.svd(F.layer_norm(table.double(), (width,)), full_matrices=False)
    known = min(k, width - 1)  # a layer norm leaves one dimension empty, whose inverse would be of rounding errors
    inverse = vh[:known].T / s[:known] @ u[:, :known].T  # (D, P)
    pair = factors(inverse @ maps @ inverse.T, k)
    queries, keys = (part * (NORM * sqrt(k) / part.norm(dim=(1, 2), keepdim=True)) for part in pair)
    return _joined(queries, keys, *_values_and_output(width))


def shift_map(grid: int, down: int, right: int) -> Tensor:
    """(P, P), 1 from each patch (row) to the one (column) that is `down` - 1 below and `right` - 1 to its right."""
    line = torch.ones(grid, dtype=torch.float64)
    rows, columns = (torch.diag(line[: max(0, grid - abs(by - 1))], by - 1) for by in (down, right))
    return torch.kron(rows, columns)


def factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Left (..., D, rank) and right (..., D, rank), whose product left right^T is nearest to `product` (..., D, D)."""
    u, s, vh = torch.linalg.svd(product)
    root = s[..., None, :rank].sqrt()
    return u[..., :rank] * root, vh[..., :rank, :].mT * root


def _near_identity(width: int, scale: float, sign: int = 1) -> Tensor:
    noise = torch.randn(width, width, dtype=torch.float64) / sqrt(width)
    return scale * (noise + sign * torch.eye(width, dtype=torch.float64))


def _values_and_output(width: int) -> tuple[Tensor, Tensor]:
    left, right = factors(_near_identity(width, MIMETIC_VALUES, sign=-1), width)
    return left, right.T


def _joined(queries: Tensor, keys: Tensor, values: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """As torch's linear maps have them, transposed: queries and keys (H, D, k), values and output (D, D)."""
    return torch.cat([queries.mT.flatten(0, 1), keys.mT.flatten(0, 1), values.T]), output.T
