"""Backbones of timm: its own feature maps, its own file formats, and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.beit import Beit
from torch import Tensor

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.decoding import LtaeFusion, UperNetDecoder
from shapeft_tune.config.inputs import InputPolicy, Resize, Whole, Windows
from shapeft_tune.config.models import Timm
from shapeft_tune.config.tuning import FinetuneTuning, FrozenTuning, LoraTuning, ScratchTuning, Tuning
from shapeft_tune.errors import UserError, WeightsError
from shapeft_tune.models import Segmenter, build_model, load_encoder
from shapeft_tune.models.timm_backbone import TimmEncoder
from tests.models.small_models import NUM_CLASSES, make_series, randomise


def small(
    backbone: str, tuning: Tuning | None = None, policy: InputPolicy | None = None, heads: int = 4
) -> Timm:
    return Timm(
        backbone=backbone,
        tuning=tuning or ScratchTuning(),
        input=policy or Whole(),
        temporal=LtaeFusion(heads=heads, width=16),
        decoder=UperNetDecoder(channels=16, pool_sizes=(1, 2)),
    )


def built(config: Timm) -> Segmenter:
    return build_model(config, NUM_CLASSES)


def pretrained(name: str, bands: int = 3) -> dict[str, Tensor]:
    """The state of timm's whole network, classifier included."""
    torch.manual_seed(0)
    network = timm.create_model(name, in_chans=bands)
    randomise(network)
    return network.state_dict()


def extractor(name: str, path: Path, layers: tuple[int, ...], bands: int = 3) -> torch.nn.Module:
    """The extractor of feature maps that timm makes itself, filled from a file by timm itself."""
    return timm.create_model(
        name,
        features_only=True,
        out_indices=layers,
        in_chans=bands,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path), "custom_load": False},
    ).eval()


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("test_resnet", (1, 2, 3, 4)),
        ("test_efficientnet", (1, 2, 3, 4)),
        ("test_convnext", (0, 1, 2, 3)),
        ("test_vit", (0, 2, 3, 5)),
    ],
)
def test_maps_are_those_of_timms_own_extractor(name: str, layers: tuple[int, ...], tmp_path: Path) -> None:
    """Repeated over the bands, the first layer sees what the original would see of sums of bands."""
    path = tmp_path / "mine.pt"
    torch.save(pretrained(name), path)
    encoder, original = load_encoder(f"timm:{name}", str(path)), extractor(name, path, layers)
    images = torch.randn(2, 10, 64, 96)
    sums = torch.stack([images[:, first::3].sum(dim=1) for first in range(3)], dim=1)
    with torch.no_grad():
        got, expected = encoder.forward_features(images), original(0.3 * sums)
    info = original.feature_info
    assert [shape.channels for shape in encoder.maps] == info.channels()
    assert [shape.stride for shape in encoder.maps] == info.reduction()
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_of_ten_bands_loads_as_it_is(suffix: str, tmp_path: Path) -> None:
    path, state = tmp_path / f"mine.{suffix}", pretrained("test_resnet", bands=10)
    (save_file if suffix == "safetensors" else torch.save)(state, path)
    encoder = load_encoder("timm:test_resnet", str(path))
    loaded = {name.removeprefix("network."): value for name, value in encoder.state_dict().items()}
    assert set(state) - set(loaded) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


def test_a_training_checkpoint_of_timm_loads_by_its_state(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": pretrained("test_resnet")}, tmp_path / "last.pt")
    load_encoder("timm:test_resnet", "last.pt", weights_folder=tmp_path)


def test_a_file_that_does_not_fit_is_refused_with_every_entry(tmp_path: Path) -> None:
    state = pretrained("test_resnet")
    del state["layer1.0.conv1.weight"]
    state |= {"extra.weight": torch.zeros(1), "bn1.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "mine.pt")
    with pytest.raises(WeightsError) as refusal:
        load_encoder("timm:test_resnet", "mine.pt", weights_folder=tmp_path)
    for fault in ("missing: layer1.0.conv1.weight", "unexpected: extra.weight", "bn1.weight: expected shape"):
        assert fault in str(refusal.value)
    assert "(3 entries)" in str(refusal.value)


def test_a_broken_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(WeightsError, match=r"mine\.safetensors"):
        load_encoder("timm:test_resnet", "mine.safetensors", weights_folder=tmp_path)


def test_official_weights_put_there_by_hand_are_loaded_as_timm_does(tmp_path: Path) -> None:
    folder = tmp_path / "timm" / "test_resnet.r160_in1k"
    folder.mkdir(parents=True)
    save_file(pretrained("test_resnet"), folder / "model.safetensors")
    encoder = load_encoder("timm:test_resnet", "official", weights_folder=tmp_path)
    original = extractor("test_resnet", folder / "model.safetensors", (1, 2, 3, 4), bands=10)
    images = torch.randn(1, 10, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder.forward_features(images), original(images))


def test_official_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "timm" / "test_resnet.r160_in1k"
    folder.mkdir(parents=True)
    state = pretrained("test_resnet")
    del state["layer2.0.bn1.weight"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"does not fit timm:test_resnet[\s\S]*layer2\.0\.bn1\.weight"):
        load_encoder("timm:test_resnet", "official", weights_folder=tmp_path)


def test_official_weights_without_a_network_are_named_with_their_source_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as refusal:
        load_encoder("timm:resnet18", "official", weights_folder=tmp_path)
    assert str(tmp_path / "timm" / "resnet18.a1_in1k" / "model.safetensors") in str(refusal.value)
    assert "huggingface.co/timm/resnet18.a1_in1k" in str(refusal.value)


def test_weights_that_nobody_published_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nothing is published"):
        load_encoder("timm:test_vit4", "official", weights_folder=tmp_path)


def test_an_unknown_backbone_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(UserError, match=r"resnet18.*got timm:resnet_18"):
        built(small("resnet_18"))


def test_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"resnet18\.a1_in1k"):
        built(small("resnet18.nonsense"))


def test_a_map_that_the_backbone_lacks_is_refused_with_its_strides() -> None:
    with pytest.raises(UserError, match=r"below 5.*\[2, 4, 8, 16, 32\].*got \[1, 7\]"):
        load_encoder("timm:test_resnet", "none", layers=(1, 7))


def test_heads_that_do_not_divide_the_channels_are_refused_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"one of \[1, 2, 4, 8\].*\[24, 32, 48, 64\].*got 16"):
        built(small("test_efficientnet", heads=16))


def test_the_written_name_holds_the_backbone() -> None:
    model = {"name": "timm:vit_small_patch14_dinov2", "tuning": "scratch"}
    config = TrialConfig.model_validate({"data": {"dataset": "sample"}, "model": model}).model
    assert isinstance(config, Timm)
    assert (config.backbone, config.size_multiple) == ("vit_small_patch14_dinov2", 14)


def test_sides_that_a_transformer_cannot_cut_are_refused() -> None:
    with pytest.raises(UserError, match=r"multiples of 16 px.*got 40 x 32 px"):
        make_series(height=40).through(built(small("test_vit")))


def test_a_network_for_one_size_asks_for_it() -> None:
    with pytest.raises(UserError, match=r"\{name: resize, side: 160\}"):
        built(small("test_vit_relpos"))


@pytest.mark.parametrize("policy", [Resize(side=48), Windows(side=32)])
def test_a_network_for_one_size_is_built_for_that_of_the_input(policy: InputPolicy) -> None:
    model = built(small("test_vit_relpos", policy=policy)).eval()
    with torch.no_grad():
        assert make_series(height=40, width=40).through(model).shape == (2, NUM_CLASSES, 40, 40)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("test_vit_relpos", "multiples of 16 px"), ("test_maxvit", "side.*test_maxvit takes")],
)
def test_a_side_that_a_network_for_one_size_cannot_have_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"model.input.*{reason}.*; got 40"):
        built(small(name, policy=Resize(side=40)))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
def test_layers_hold_every_parameter_once_and_begin_at_the_input(name: str) -> None:
    encoder = load_encoder(f"timm:{name}", "none")
    layers = encoder.layers()
    held = sorted(id(parameter) for layer in layers for parameter in layer)
    assert held == sorted(id(parameter) for parameter in encoder.parameters())
    assert len(layers) >= 4
    assert any(parameter.shape[1:2] == (10,) for parameter in layers[0])


@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_every_parameter_that_is_kept_gets_a_gradient(name: str) -> None:
    model = built(small(name)).train()
    make_series(height=64, width=64).through(model).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "targets", "updated"),
    [("test_vit", ("attention", "mlp"), 4 * 6), ("test_convnext", ("mlp",), 2 * 9)],
)
def test_updates_are_trained_where_the_network_has_such_layers(
    name: str, targets: tuple[str, ...], updated: int
) -> None:
    model = built(small(name, LoraTuning(weights="none", rank=2, targets=targets))).train()
    make_series(height=64, width=64).through(model).square().sum().backward()
    encoder = model.get_submodule("encoder")
    reached = [key for key, value in encoder.named_parameters() if value.grad is not None]
    assert len(reached) == 2 * updated
    assert all("lora_" in key for key in reached)


def test_updates_of_layers_that_a_network_lacks_are_refused() -> None:
    with pytest.raises(UserError, match="got attention, which selects no parameter - it has mlp"):
        built(small("test_convnext", LoraTuning(weights="none")))
    with pytest.raises(UserError, match="it has neither"):
        built(small("test_resnet", LoraTuning(weights="none")))


def test_no_update_is_added_to_a_layer_that_is_not_called() -> None:
    """BEiT uses the weight of its qkv layer, with biases of its own: an update of it would do nothing."""
    network = Beit(img_size=32, patch_size=8, in_chans=10, embed_dim=16, depth=2, num_heads=2)
    targets = TimmEncoder(network, (0, 1), multiple=8, side=32).update_targets
    assert targets == {"attention": ("attn.proj",), "mlp": ("mlp.fc1", "mlp.fc2")}


def test_batch_statistics_are_those_of_the_valid_dates_alone() -> None:
    series = make_series()
    seen = []
    for each in (series, series.with_padding([0, 2])):
        torch.manual_seed(0)
        model = built(small("test_resnet", FinetuneTuning(weights="none"))).train()
        each.through(model)
        seen.append(dict(model.get_submodule("encoder").named_buffers()))
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-5, atol=1e-6)


def test_a_frozen_network_keeps_its_batch_statistics_in_training() -> None:
    model = built(small("test_resnet", FrozenTuning(weights="none"))).train()
    before = {name: value.clone() for name, value in model.get_submodule("encoder").named_buffers()}
    make_series().through(model)
    assert len(before) > 10
    assert all(
        torch.equal(value, before[name]) for name, value in model.get_submodule("encoder").named_buffers()
    )
