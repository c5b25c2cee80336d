"""What a vision transformer's first layer has learned: filters of patches, and embeddings of their positions."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def principal_components(filters: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The first principal components of filters (D, C, p, p), (k, C, p, p), and their shares of the variance (k,).

    k is at most `most`, and no more than have any variance. Each has norm 1 and the sign that makes its largest entry
    positive (arXiv 2010.11929, Fig. 7, left).
    """
    flat = filters.double().flatten(1)
    _, values, rows = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    variances = values.square()
    count = min(most, int((variances > 1e-12 * variances.sum()).sum()))
    rows = rows[:count]
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return (rows * largest.sign()).view(-1, *filters.shape[1:]), variances[:count] / variances.sum()


def position_similarity(positions: Tensor) -> Tensor:
    """Cosines between the embeddings of positions (P, D): float64 (P, P) (arXiv 2010.11929, Fig. 7, centre)."""
    unit = F.normalize(positions.double(), dim=1)
    return unit @ unit.T


def mean_similarities(similarity: Tensor) -> tuple[float | None, float | None, float | None]:
    """Mean similarity (P, P) of patches side by side, of others in one row or column, of all others; None for none."""
    grid = round(len(similarity) ** 0.5)
    line = torch.arange(grid)
    places = torch.cartesian_prod(line, line)
    apart = (places[:, None] - places).abs()  # (P, P, 2)
    steps, in_line = apart.sum(-1), (apart == 0).any(-1)
    kinds = (steps == 1, in_line & (steps > 1), ~in_line)
    near, line_, other = (float(similarity[kind].mean()) if kind.any() else None for kind in kinds)
    return near, line_, other
