"""L-TAE as its equations read, one pixel and one head at a time. Independent of the package on purpose."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def reference_ltae(
    weights: dict[str, Tensor], maps_TCHW: Tensor, days_T: Tensor, heads: int, dates: bool
) -> tuple[Tensor, Tensor]:
    """Return the fused map [C, H, W] and the attention [T, h, H, W] of one series without padding."""
    length, _, height, width = maps_TCHW.shape
    fused_CHW = torch.empty(len(weights["out_norm.weight"]), height, width)
    attention_ThHW = torch.empty(length, heads, height, width)
    for row in range(height):
        for column in range(width):
            fused, attention = _pixel(weights, maps_TCHW[:, :, row, column], days_T, heads, dates)
            fused_CHW[:, row, column], attention_ThHW[:, :, row, column] = fused, attention
    return fused_CHW, attention_ThHW


def _pixel(
    weights: dict[str, Tensor], series_TC: Tensor, days_T: Tensor, heads: int, dates: bool
) -> tuple[Tensor, Tensor]:
    normed_TC = _group_norm(series_TC.T, heads, weights["in_norm.weight"], weights["in_norm.bias"]).T
    values_TC = normed_TC @ weights["in_project.weight"][:, :, 0, 0].T + weights["in_project.bias"]
    share = values_TC.shape[1] // heads
    if dates:
        for date, day in enumerate(days_T.tolist()):
            for channel in range(share):
                angle = day / 1000 ** (2 * (channel // 2) / share)
                encoding = math.cos(angle) if channel % 2 else math.sin(angle)
                for head in range(heads):
                    values_TC[date, head * share + channel] += encoding
    attention_Th, outputs = torch.empty(len(days_T), heads), []
    for head in range(heads):
        query_k, key_weight_kC = weights["query_hk"][head], weights["key_weight_hkC"][head]
        keys_Tk = values_TC @ key_weight_kC.T
        attention_Th[:, head] = torch.softmax(keys_Tk @ query_k / math.sqrt(len(query_k)), dim=0)
        outputs.append(attention_Th[:, head] @ values_TC[:, head * share : (head + 1) * share])
    hidden = weights["mlp.0.weight"][:, :, 0, 0] @ torch.cat(outputs) + weights["mlp.0.bias"]
    scale = weights["mlp.1.weight"] / torch.sqrt(weights["mlp.1.running_var"] + 1e-5)
    hidden = torch.relu((hidden - weights["mlp.1.running_mean"]) * scale + weights["mlp.1.bias"])
    fused = _group_norm(hidden[:, None], heads, weights["out_norm.weight"], weights["out_norm.bias"])
    return fused[:, 0], attention_Th


def _group_norm(series_CT: Tensor, groups: int, weight_C: Tensor, bias_C: Tensor) -> Tensor:
    normed = [
        (group - group.mean()) / torch.sqrt(group.var(correction=0) + 1e-5)
        for group in series_CT.chunk(groups)
    ]
    return torch.cat(normed) * weight_C[:, None] + bias_C[:, None]
