"""Galileo's encoder against an independent restatement, through files in the published format."""

from __future__ import annotations

import datetime
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.models import Galileo
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.tuning import FrozenTuning
from shapeft_tune.errors import WeightsError
from shapeft_tune.models import load_encoder
from shapeft_tune.models.galileo import STATISTICS, GalileoEncoder, ndvi_of
from shapeft_tune.models.galileo_layers import month_of, month_table, wave
from shapeft_tune.train import run_trial

WIDTH, QUARTER, DEPTH, HEADS = 128, 32, 4, 8  # of size nano
BANDS_OF_GROUP = {
    "S1": 2, "S2_RGB": 3, "S2_Red_Edge": 3, "S2_NIR_10m": 1, "S2_NIR_20m": 1, "S2_SWIR": 2, "NDVI": 1
}  # fmt: skip
PARTS_OF_LAYER = {
    "norm1": (1, 0), "attn.q": (1, 1), "attn.k": (1, 1), "attn.v": (1, 1), "attn.proj": (1, 1),
    "norm2": (1, 0), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4),
}  # fmt: skip
"""Channels out and in, in widths; norms have none in."""
FIRST_DAY = datetime.date(2018, 9, 1)
Weights = dict[str, Tensor]


def official_weights() -> Weights:
    """Random weights under the names of the published files."""
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (24, QUARTER),
        "month_embed.weight": (12, QUARTER),
        "s_t_channel_embed": (7, QUARTER),
        "sp_channel_embed": (3, QUARTER),
        "t_channel_embed": (3, QUARTER),
        "st_channel_embed": (4, QUARTER),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    cubes = {"space_time_embed": BANDS_OF_GROUP, "space_embed": {"SRTM": 2, "DW": 9, "WC": 5}}
    for embedding, name in ((e, name) for e, names in cubes.items() for name in names):
        shapes[f"{embedding}.{name}.proj.weight"] = (WIDTH, cubes[embedding][name], 8, 8)
        shapes[f"{embedding}.{name}.proj.bias"] = (WIDTH,)
    vectors = {
        "time_embed": {"ERA5": 2, "TC": 3, "VIIRS": 1},
        "static_embed": {"LS": 1, "location": 3, "DW_static": 9, "WC_static": 5},
    }
    for embedding, name in ((e, name) for e, names in vectors.items() for name in names):
        shapes[f"{embedding}.{name}.weight"] = (WIDTH, vectors[embedding][name])
        shapes[f"{embedding}.{name}.bias"] = (WIDTH,)
    for layer, (name, (out, given)) in itertools.product(range(DEPTH), PARTS_OF_LAYER.items()):
        weight = (out * WIDTH, given * WIDTH) if given else (WIDTH,)
        shapes[f"blocks.{layer}.{name}.weight"] = weight
        shapes[f"blocks.{layer}.{name}.bias"] = (out * WIDTH,)
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def save_official(folder: Path, weights: Weights, **changes: int) -> Path:
    shape = {"embedding_size": WIDTH, "depth": DEPTH, "num_heads": HEADS, "mlp_ratio": 4}
    shape |= {"max_sequence_length": 24, "max_patch_size": 8} | changes
    torch.save(weights, folder / "encoder.pt")
    (folder / "config.json").write_text(json.dumps({"model": {"encoder": {**shape, "drop_path": 0.1}}}))
    return folder


def resized_kernel(kernel_DC88: Tensor, patch: int) -> Tensor:
    """Return the kernel whose answer to a resized patch is nearest to the kernel's to the patch itself."""
    pixels = torch.eye(64).reshape(64, 1, 8, 8)
    small = functional.interpolate(pixels, (patch, patch), mode="bicubic", antialias=True).reshape(64, -1)
    solved = torch.linalg.lstsq(small.double(), kernel_DC88.flatten(2).flatten(0, 1).double().T).solution
    return solved.T.float().reshape(*kernel_DC88.shape[:2], patch, patch)


def sines_and_cosines(place: float, channels: int) -> Tensor:
    angles = [place * 10000 ** -(i / (2 * channels)) for i in range(channels // 2)]
    return torch.tensor([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])


def reference_tokens(weights: Weights, raw_TCHW: Tensor, days: list[int], patch: int, ndvi: bool) -> Tensor:
    """Return every token [h, w, T, G, D] of a series of reflectances before the first layer."""
    mean, deviation = torch.tensor(list(STATISTICS.values()), dtype=torch.float64).T[..., None, None]
    near_infrared, red = raw_TCHW[:, 6:7].double(), raw_TCHW[:, 2:3].double()
    bands = (raw_TCHW.double() - (mean - 2 * deviation)) / (4 * deviation)
    given = torch.cat([bands, (near_infrared - red) / (near_infrared + red)], dim=1).float()
    groups = list(BANDS_OF_GROUP)[1 : None if ndvi else -1]
    rows, columns = raw_TCHW.shape[2] // patch, raw_TCHW.shape[3] // patch
    tokens = torch.zeros(rows, columns, len(days), len(groups), WIDTH)
    first = 0
    for number, group in enumerate(groups):
        last = first + BANDS_OF_GROUP[group]
        kernel = resized_kernel(weights[f"space_time_embed.{group}.proj.weight"], patch)
        for row, column, date in np.ndindex(rows, columns, len(days)):
            block = given[date, first:last, row * patch :, column * patch :][:, :patch, :patch]
            content = torch.einsum("cij,dcij->d", block, kernel)
            rank = sorted(days).index(days[date])
            month = (FIRST_DAY + datetime.timedelta(days[date])).month - 1
            encoding = [
                weights["s_t_channel_embed"][number + 1],
                weights["pos_embed"][rank] if rank < 24 else sines_and_cosines(rank, QUARTER),
                weights["month_embed.weight"][month],
                sines_and_cosines(column * patch, QUARTER // 2),
                sines_and_cosines(row * patch, QUARTER // 2),
            ]
            bias = weights[f"space_time_embed.{group}.proj.bias"]
            tokens[row, column, date, number] = content + bias + torch.cat(encoding)
        first = last
    return tokens


def reference_features(
    weights: Weights, raw_TCHW: Tensor, days: list[int], patch: int, ndvi: bool = True
) -> list[Tensor]:
    """Return every layer's map [D, h, w] of one series, the last one normalised: one head at a time."""

    def norm(tokens: Tensor, name: str) -> Tensor:
        centred = tokens - tokens.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(tokens: Tensor, name: str) -> Tensor:
        return tokens @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    tokens_hwTGD = reference_tokens(weights, raw_TCHW, days, patch, ndvi)
    stream, outputs = tokens_hwTGD.flatten(0, 3), []
    for layer in range(DEPTH):
        attend, feed = f"blocks.{layer}.attn", f"blocks.{layer}.mlp"
        normed = norm(stream, f"blocks.{layer}.norm1")
        queries, keys, values = (linear(normed, f"{attend}.{part}") for part in "qkv")
        mixed = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = queries[:, part] @ keys[:, part].T / math.sqrt(WIDTH / HEADS)
            mixed.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ values[:, part])
        stream = stream + linear(torch.cat(mixed, dim=-1), f"{attend}.proj")
        hidden = linear(norm(stream, f"blocks.{layer}.norm2"), f"{feed}.fc1")
        stream = stream + linear(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))), f"{feed}.fc2")
        shown = norm(stream, "norm") if layer == DEPTH - 1 else stream
        outputs.append(shown.reshape(tokens_hwTGD.shape).mean((2, 3)).permute(2, 0, 1))
    return outputs


def make_raw(dates: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(1, 9000, (1, dates, 10, height, width), generator=generator).float()


def as_pretrained(encoder: GalileoEncoder, raw_BTCHW: Tensor) -> Tensor:
    """Normalise as the project does with ``data.normalisation: pretraining``, then as the segmenter does."""
    statistics = encoder.statistics_of(S2_BANDS)
    assert statistics is not None
    mean, deviation = (torch.tensor(part)[:, None, None] for part in (statistics.mean, statistics.std))
    return encoder.scaled((raw_BTCHW - mean) / deviation)


def load_nano(weights: Path | str, **settings: object) -> GalileoEncoder:
    encoder = load_encoder("galileo", str(weights), size="nano", **settings)
    assert isinstance(encoder, GalileoEncoder)
    return encoder.eval()


@pytest.mark.parametrize(
    ("patch", "height", "width", "days", "ndvi"),
    [
        (8, 16, 24, [10, 45, 130, 364], True),
        (5, 10, 10, [3, 200, 90], True),  # the days are in no order
        (2, 4, 6, [0, 29, 30], False),
        (8, 8, 8, list(range(0, 390, 13)), True),  # 30 dates: more than the published table has rows
    ],
)
def test_features_of_a_published_file_equal_the_restatement(
    tmp_path: Path, patch: int, height: int, width: int, days: list[int], ndvi: bool
) -> None:
    weights = official_weights()
    folder = save_official(tmp_path, weights)
    encoder = load_nano(folder, patch=patch, ndvi=ndvi, layers=(0, 1, 2, 3))
    raw_BTCHW = make_raw(len(days), height, width)
    days_BT = torch.tensor([days])
    with torch.no_grad():
        features = encoder.forward_series(
            as_pretrained(encoder, raw_BTCHW), days_BT, torch.ones_like(days_BT).bool()
        )
    expected = reference_features(weights, raw_BTCHW[0], days, patch, ndvi)
    assert len(features) == DEPTH
    for feature, wanted in zip(features, expected, strict=True):
        assert feature.shape == (1, WIDTH, height // patch, width // patch)
        assert (feature[0] - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_gradients_equal_those_of_the_restatement(tmp_path: Path) -> None:
    weights = official_weights()
    encoder = load_nano(save_official(tmp_path, weights), patch=4, layers=(1, 3))
    raw_BTCHW, days = make_raw(2, 8, 8), [10, 100]
    days_BT = torch.tensor([days])
    features = encoder.forward_series(
        as_pretrained(encoder, raw_BTCHW), days_BT, torch.ones_like(days_BT).bool()
    )
    sum(feature.square().mean() for feature in features).backward()
    for value in weights.values():
        value.requires_grad_()
    expected = reference_features(weights, raw_BTCHW[0], days, patch=4)
    (expected[1].square().mean() + expected[3].square().mean()).backward()
    for name, parameter in encoder.named_parameters():
        wanted = weights[name].grad
        assert wanted is not None
        assert parameter.grad is not None
        # A key's bias shifts all scores of a query alike: its gradient is 0 but for rounding.
        tolerance = 1e-4 * wanted.abs().max() + 1e-6
        assert (parameter.grad - wanted).abs().max() < tolerance, name


def test_a_single_image_is_a_series_of_one_date_in_the_month_that_is_told(tmp_path: Path) -> None:
    encoder = load_nano(save_official(tmp_path, official_weights()))
    image_NCHW = as_pretrained(encoder, make_raw(1, 16, 16))[0]
    january_15th = (datetime.date(2019, 1, 15) - FIRST_DAY).days
    with torch.no_grad():
        alone = encoder.forward_features(image_NCHW, month=0)
        series = encoder.forward_series(
            image_NCHW[None], torch.tensor([[january_15th]]), torch.ones(1, 1, dtype=torch.bool)
        )
        in_june = encoder.forward_features(image_NCHW)
    assert all(torch.equal(one, other) for one, other in zip(alone, series, strict=True))
    assert not torch.allclose(alone[-1], in_june[-1])


def test_dates_of_the_same_day_may_come_in_any_order(tmp_path: Path) -> None:
    encoder = load_nano(save_official(tmp_path, official_weights()))
    images_BTCHW, days_BT = as_pretrained(encoder, make_raw(3, 8, 8)), torch.tensor([[7, 7, 40]])
    valid_BT = torch.ones_like(days_BT).bool()
    with torch.no_grad():
        given = encoder.forward_series(images_BTCHW, days_BT, valid_BT)[-1]
        swapped = encoder.forward_series(images_BTCHW[:, [1, 0, 2]], days_BT, valid_BT)[-1]
    torch.testing.assert_close(given, swapped, rtol=1e-5, atol=1e-5)


def test_months_are_those_of_the_calendar() -> None:
    days = [*range(-500, 1500), 29_766, 29_767]  # with 29 February 2020 and the end of February 2100
    expected = [(FIRST_DAY + datetime.timedelta(day)).month - 1 for day in days]
    assert month_of(torch.tensor(days)).tolist() == expected


def test_ndvi_is_that_of_reflectance_and_zero_where_there_is_none() -> None:
    red, near_infrared = torch.tensor([500.0, 3000.0, 0.0]), torch.tensor([4500.0, 1000.0, 0.0])

    def scaled(raw: Tensor, band: str) -> Tensor:
        mean, deviation = STATISTICS[band]
        return (raw - (mean - 2 * deviation)) / (4 * deviation)

    ndvi = ndvi_of(scaled(near_infrared, "B8"), scaled(red, "B4"))
    torch.testing.assert_close(ndvi, torch.tensor([0.8, -0.5, 0.0]), rtol=1e-5, atol=0)


def test_ndvi_is_refused_with_a_normalisation_that_hides_reflectance() -> None:
    tuning = {"mode": "frozen", "weights": "none"}

    def trial(normalisation: str, ndvi: bool) -> TrialConfig:
        data = {"dataset": "sample", "normalisation": normalisation}
        model = {"name": "galileo", "size": "nano", "ndvi": ndvi, "tuning": tuning}
        return TrialConfig.model_validate({"data": data, "model": model})

    trial("pretraining", ndvi=True)
    trial("official", ndvi=False)
    with pytest.raises(ValidationError, match="pretraining for galileo"):
        trial("official", ndvi=True)


def test_layers_that_the_size_does_not_have_are_refused() -> None:
    Galileo(size="nano", layers=(1, 3), tuning=FrozenTuning(weights="none"))
    with pytest.raises(ValidationError, match="ascending numbers below 4"):
        Galileo(size="nano", layers=(1, 4), tuning=FrozenTuning(weights="none"))


def test_branches_are_skipped_in_training_alone() -> None:
    torch.manual_seed(1)
    encoder = load_nano("none", drop_path=0.9)
    image_NCHW = as_pretrained(encoder, make_raw(1, 8, 8))[0]
    with torch.no_grad():
        whole = encoder.forward_features(image_NCHW)[-1]
        assert torch.equal(encoder.forward_features(image_NCHW)[-1], whole)
        assert not torch.allclose(encoder.train().forward_features(image_NCHW)[-1], whole)
        for block in encoder.blocks:
            block.drop_path = 0.0
        assert torch.equal(encoder.forward_features(image_NCHW)[-1], whole)


def test_layers_behind_the_last_one_used_are_dropped_without_changing_the_features(tmp_path: Path) -> None:
    folder = save_official(tmp_path, official_weights())
    whole, cut = load_nano(folder, layers=(0, 2, 3)), load_nano(folder, layers=(0, 2))
    image_NCHW = as_pretrained(whole, make_raw(1, 8, 8))[0]
    assert not any(name.startswith(("blocks.3", "norm.")) for name in cut.state_dict())
    with torch.no_grad():
        pairs = zip(whole.forward_features(image_NCHW), cut.forward_features(image_NCHW), strict=False)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_a_file_that_does_not_fit_is_refused_with_every_name(tmp_path: Path) -> None:
    weights = official_weights()
    del weights["blocks.2.attn.k.bias"]
    weights["blocks.4.norm1.weight"] = torch.zeros(WIDTH)
    weights["space_time_embed.S2_SWIR.proj.weight"] = torch.zeros(WIDTH, 3, 8, 8)
    with pytest.raises(WeightsError, match="3 entries") as refusal:
        load_nano(save_official(tmp_path, weights))
    for part in (
        "missing: blocks.2.attn.k.bias",
        "unexpected: blocks.4",
        "[128, 2, 8, 8], got [128, 3, 8, 8]",
    ):
        assert part in str(refusal.value)


def test_names_with_a_backbone_in_them_load_too(tmp_path: Path) -> None:
    weights = official_weights()
    weights["blocks.backbone.0.norm1.weight"] = weights.pop("blocks.0.norm1.weight")
    encoder = load_nano(save_official(tmp_path, weights))
    assert torch.equal(
        encoder.state_dict()["blocks.0.norm1.weight"], weights["blocks.backbone.0.norm1.weight"]
    )


def test_a_file_of_another_size_is_refused_with_the_size_to_set(tmp_path: Path) -> None:
    folder = save_official(tmp_path, official_weights())
    with pytest.raises(WeightsError, match=r"Set model\.size: nano\."):
        load_encoder("galileo", str(folder), size="tiny")
    with pytest.raises(WeightsError, match=r"Set model\.size: nano\."):
        load_encoder("galileo", str(folder / "encoder.pt"), size="base")
    with pytest.raises(WeightsError, match=r"'num_heads': 4.*No published size"):
        load_nano(save_official(tmp_path, official_weights(), num_heads=4))


def test_the_real_file_loads_and_its_tables_are_the_formulas(shared: Path) -> None:
    """So positions beyond the 24 of the table, which the formula gives, are of the same kind."""
    encoder = load_nano("galileo_nano", weights_folder=shared / "weights")
    torch.testing.assert_close(encoder.pos_embed, wave(torch.arange(24), QUARTER), rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.month_embed, month_table(QUARTER), rtol=0, atol=1e-6)
    by_file = load_nano(shared / "weights" / "galileo_nano" / "encoder.pt")
    assert all(torch.equal(value, by_file.state_dict()[name]) for name, value in encoder.state_dict().items())


def overall_accuracy(weights: str, shared: Path, folder: Path) -> float:
    """Train a linear head on the frozen encoder and score it on fold 5 of the real tiles."""
    config = {
        "data": {"dataset": "pastis", "temporal_length": 6, "normalisation": "pretraining"},
        "model": {
            "name": "galileo",
            "size": "nano",
            "patch": 4,
            "layers": [3],
            "tuning": {"mode": "frozen", "weights": weights},
            "input": {"name": "windows", "side": 16},
            "decoder": {"name": "linear"},
        },
        "training": {"steps": 60, "batch_size": 6, "optimiser": {"name": "adamw", "lr": 0.03}},
        "validation": {"every": 60},
    }
    places = Places(folder, shared / "data" / "flanders", shared / "weights")
    result = run_trial(
        TrialConfig.model_validate(config), places, folder / weights, role=Role.CONFIRMATION, device="cpu"
    )
    assert result.test is not None
    return result.test.overall_accuracy


def test_real_weights_beat_random_ones_by_far_on_real_tiles(shared: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)  # two would wait for each other beside other tests
    pretrained = overall_accuracy("galileo_nano", shared, tmp_path)
    assert pretrained > overall_accuracy("none", shared, tmp_path) + 0.2
