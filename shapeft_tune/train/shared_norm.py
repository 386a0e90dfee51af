"""Batch norm with the statistics of the whole batch, whose rows lie in several processes.

PyTorch's own ``SyncBatchNorm`` works on GPUs only. This one exchanges each part's mean, variance and size
once a layer, and the sum of their gradients once on the way back. Variances are put together from those of
the parts (Chan et al., "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979),
since a mean of squares minus a squared mean cancels where the mean is large.

Legend: S processes, C channels, V = 2 C + 1 numbers that a process sends.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shapeft_tune.train.parallel import Team, exchanging

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def share_statistics(model: nn.Module, team: Team) -> None:
    """Let every batch norm of the model see the whole batch. Parameters and names stay what they are.

    Raises:
        TypeError: a kind of batch norm that is not known here.
    """
    if team.size == 1:
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, _BatchNorm):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, SharedBatchNorm(module, team))


class SharedBatchNorm(_BatchNorm):
    """Takes the place of a batch norm: same parameters, same running statistics as over the whole batch."""

    def __init__(self, original: _BatchNorm, team: Team) -> None:
        super().__init__(
            original.num_features,
            original.eps,
            original.momentum,
            affine=original.affine,
            track_running_stats=original.track_running_stats,
        )
        self.weight, self.bias = original.weight, original.bias
        for name, buffer in original.named_buffers(recurse=False):
            setattr(self, name, buffer)
        self.after = _what_follows_in(original)
        self.team = team
        self.train(original.training)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps of this process's rows, normalised; channels are the second dimension."""
        if not (self.training or self.running_mean is None):
            return self.after(super().forward(maps))  # type: ignore[no-any-return]
        values = maps.float()
        dimensions = [0, *range(2, maps.dim())]
        variance_C, mean_C = torch.var_mean(values, dimensions, correction=0)
        size_1 = mean_C.new_tensor([values.numel() / self.num_features])
        everyone_SV: Tensor = _Gathered.apply(torch.cat([mean_C, variance_C, size_1]), self.team)
        mean_C, variance_C, count = _put_together(everyone_SV, self.num_features)
        self._note(mean_C.detach(), variance_C.detach() * (count / (count - 1).clamp(min=1)))
        scale_C = (variance_C + self.eps).rsqrt()
        shape = [-1, *[1] * (maps.dim() - 2)]
        normed = (values - mean_C.view(shape)) * scale_C.view(shape)
        if self.affine:
            normed = torch.addcmul(self.bias.view(shape), normed, self.weight.view(shape))
        return self.after(normed.to(maps.dtype))  # type: ignore[no-any-return]

    def _note(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Take a batch into the running statistics, its variance without bias, as PyTorch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean_C, weight)
        self.running_var.lerp_(variance_C, weight)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take maps of any number of dimensions."""


def _put_together(everyone_SV: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance (both ``[C]``) and size of the whole from those of its parts."""
    means_SC, variances_SC, sizes_S1 = torch.split(everyone_SV, [channels, channels, 1], dim=1)
    count = sizes_S1.detach().sum()
    shares_S1 = sizes_S1.detach() / count
    mean_C = (shares_S1 * means_SC).sum(0)
    variance_C = (shares_S1 * (variances_SC + (means_SC - mean_C).square())).sum(0)
    return mean_C, variance_C, count


def _what_follows_in(original: _BatchNorm) -> nn.Module:
    """Return what the module does behind the norm: timm's have dropout and activation inside."""
    if type(original) in PLAIN:
        return nn.Identity()
    drop, act = getattr(original, "drop", None), getattr(original, "act", None)
    if not (isinstance(drop, nn.Module) and isinstance(act, nn.Module)):
        raise TypeError(f"expected a batch norm of PyTorch or timm to share; got {type(original)}")
    return nn.Sequential(drop, act)


class _Gathered(torch.autograd.Function):
    """Every process's numbers in one tensor ``[S, V]``, with the way back to each."""

    @staticmethod
    def forward(context: Any, own_V: Tensor, team: Team) -> Tensor:
        context.rank = team.rank
        everyone_SV = own_V.new_empty(team.size, len(own_V))
        with exchanging():
            dist.all_gather_into_tensor(everyone_SV.view(-1), own_V.contiguous())
        return everyone_SV

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        total_SV = slopes[0].clone(memory_format=torch.contiguous_format)
        with exchanging():
            dist.all_reduce(total_SV)
        return total_SV[context.rank], None
