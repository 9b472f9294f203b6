"""Losses of critics that predict a distribution of returns: C51's projection and quantiles."""

from __future__ import annotations

import torch
from torch import Tensor

# B batch, K atoms or quantiles of the prediction, M of the target


@torch.no_grad()
def categorical_projection(probs: Tensor, atoms: Tensor, support: Tensor) -> Tensor:
    """Probabilities on moved atoms, shared out over the support: Algorithm 1 of Bellemare et al.
    2017, arXiv:1707.06887. The result carries no gradient.

    probs, atoms [B, K]: p_j and T z_j = r + discount * z_j.  support [K]: z, ascending and evenly
    spaced; it must cover the returns, for atoms beyond it are moved to its ends.  -> [B, K].
    An atom that falls on one of z gives it everything: the upper share is 0 there, where the
    algorithm as printed (l = u) would lose the mass.
    """
    assert probs.shape == atoms.shape, (
        f"probs {tuple(probs.shape)} against atoms {tuple(atoms.shape)}"
    )
    assert support.shape == probs.shape[1:], (
        f"support {tuple(support.shape)} against probs {tuple(probs.shape)}"
    )
    last = len(support) - 1
    width = (support[-1] - support[0]) / last
    position = ((atoms - support[0]) / width).clamp(0, last)
    lower = position.floor().clamp(max=last - 1)
    upper_share = position - lower
    index = lower.long()
    projected = torch.zeros_like(probs)
    projected.scatter_add_(1, index, probs * (1 - upper_share))
    return projected.scatter_add_(1, index + 1, probs * upper_share)


def quantile_huber(predicted: Tensor, target: Tensor, taus: Tensor, kappa: float = 1.0) -> Tensor:
    """Quantile regression's loss, sum_i mean_j rho_tau_i(target_j - predicted_i), one a sample:
    equation 10 of Dabney et al. 2018, arXiv:1710.10044. No gradient flows into the target.

    predicted [B, K] at the fractions taus [K], target [B, M]  -> [B].
    rho_tau(u) = |tau - 1{u < 0}| L_kappa(u) / kappa, L_kappa the Huber loss (equation 9); the
    division, 1 for the paper's kappa = 1, is that of equation 3 of arXiv:1806.06923, which makes
    the limit of small kappa the quantile loss. TQC takes the mean over i too: divide by K.
    The loss of errors above and below is summed apart, and its derivative, the clipped errors'
    mean, is put in by hand: a fifth of autograd's time on [B, K, M], good for one differentiation.
    """
    assert kappa > 0, f"kappa is {kappa}: it must be above 0"
    assert predicted.dim() == target.dim() == 2 and len(predicted) == len(target), (
        f"predicted {tuple(predicted.shape)} against target {tuple(target.shape)}"
    )
    assert taus.shape == predicted.shape[1:], (
        f"taus {tuple(taus.shape)} against predicted {tuple(predicted.shape)}"
    )
    with torch.no_grad():
        u = target[:, None, :] - predicted[:, :, None]
        loss = slope = torch.zeros_like(predicted)
        for weight, near in ((taus, u.clamp(0, kappa)), (1 - taus, u.clamp(-kappa, 0))):
            loss = loss + weight * (near * (u - 0.5 * near)).mean(2)
            slope = slope + weight * near.mean(2)
    return (loss - slope * (predicted - predicted.detach())).sum(1) / kappa
