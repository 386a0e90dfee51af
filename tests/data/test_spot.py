from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.data.folder import Patch
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.spot import spot_header, spot_image, spot_path
from shapeft_tune.errors import DataError
from shapeft_tune.train.trial import run_trial
from shapeft_tune.tune.preflight import check_trial
from tests.train.tiny import tiny

SaveSpot = Callable[..., np.ndarray]

opened: list[str] = []
"""Every path that Python has opened, in whatever way; GDAL's are not among them."""
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)


@pytest.fixture
def folder(handmade) -> PastisFolder:
    return handmade.add(7, size=(8, 16)).opened()


@pytest.fixture
def save_spot(folder: PastisFolder) -> SaveSpot:
    """Store an image of ``scale`` pixels for each of Sentinel-2 as patch 7's, tiled as large ones are."""

    def save(scale: int = 10, bands: int = 3, dtype: str = "uint8", size: tuple[int, int] = (8, 16)):
        height, width = scale * size[0], scale * size[1]
        values = np.random.default_rng(0).integers(0, 256, (bands, height, width)).astype(dtype)
        path = spot_path(folder.root, folder.patches[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": dtype}
        place = {"crs": "EPSG:2154", "transform": from_origin(420_000, 6_890_000, 1, 1)}
        with rasterio.open(path, "w", **profile, **place, tiled=True, blockxsize=16, blockysize=16) as image:
            image.write(values)
        return values

    return save


def test_the_image_lies_where_pastis_hd_puts_it(folder):
    path = spot_path(folder.root, folder.patches[0]).relative_to(folder.root)
    assert str(path) == "DATA_SPOT/PASTIS_SPOT6_RVB_1M00_2019/SPOT6_RVB_1M00_2019_7.tif"


def test_a_whole_image_is_read_as_stored(folder, save_spot):
    stored = save_spot()
    image_CHW = spot_image(folder, folder.patches[0])
    assert image_CHW.dtype == np.uint8
    np.testing.assert_array_equal(image_CHW, stored)


@pytest.mark.parametrize("scale", [10, 4])
def test_a_window_is_given_in_pixels_of_sentinel_2(folder, save_spot, scale):
    stored = save_spot(scale, bands=4)
    image_CHW = spot_image(folder, folder.patches[0], (slice(2, 5), slice(8, 16)))
    np.testing.assert_array_equal(image_CHW, stored[:, 2 * scale : 5 * scale, 8 * scale : 16 * scale])


def test_a_window_with_steps_is_refused(folder, save_spot):
    save_spot()
    with pytest.raises(ValueError, match="without steps"):
        spot_image(folder, folder.patches[0], (slice(0, 8, 2), slice(None)))


def test_the_header_is_enough_to_know_the_scale(folder, save_spot):
    save_spot(10)
    header = spot_header(folder.root, folder.patches[0], (8, 16))
    assert (header.bands, header.size, header.scale) == (3, (80, 160), 10)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"dtype": "uint16"}, r"expected uint8 \[3 or 4, H, W\]; got uint16 \[3, 80, 160\]"),
        ({"bands": 1}, r"expected uint8 \[3 or 4, H, W\]; got uint8 \[1, 80, 160\]"),
        ({"size": (8, 8)}, r"expected a multiple of Sentinel-2's size \(8, 16\); got \(80, 80\)"),
        ({"size": (4, 8), "scale": 1}, r"expected a multiple of Sentinel-2's size"),
    ],
)
def test_an_image_of_another_kind_is_refused(folder, save_spot, stored, message):
    save_spot(**stored)
    with pytest.raises(DataError, match=rf"SPOT6_RVB_1M00_2019_7.tif: {message}"):
        spot_image(folder, folder.patches[0])


@pytest.mark.parametrize("kept", [0, 5, 200])
def test_an_image_cut_short_is_named(folder, save_spot, kept):
    save_spot()
    path = spot_path(folder.root, folder.patches[0])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"_7.tif: expected .*copy or download this file again"):
        spot_image(folder, folder.patches[0])


def test_an_image_whose_pixels_are_cut_is_named(folder, save_spot):
    save_spot()
    path = spot_path(folder.root, folder.patches[0])
    path.write_bytes(path.read_bytes()[:20_000])  # the header is whole
    with pytest.raises(DataError, match=r"_7.tif: expected a whole GeoTIFF"):
        spot_image(folder, folder.patches[0])


def test_a_missing_image_is_named(folder):
    with pytest.raises(DataError, match=r"_7.tif: expected a file; got none"):
        spot_image(folder, folder.patches[0])


def _put_garbage_beside(root: Path) -> None:
    """Give all patches radar dates, and radar and SPOT files that would not survive being opened."""
    content = json.loads((root / "metadata.geojson").read_text())
    for feature in content["features"]:
        known = feature["properties"]
        known |= {"dates-S1A": known["dates-S2"], "dates-S1D": known["dates-S2"]}
        for path in (
            *(root / f"DATA_{name}/{name}_{known['ID_PATCH']}.npy" for name in ("S1A", "S1D")),
            spot_path(root, Patch(known["ID_PATCH"], 1, ())),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"garbage")
    (root / "metadata.geojson").write_text(json.dumps(content))


def test_a_trial_of_an_optical_network_opens_neither_radar_nor_spot(handmade, tmp_path_factory, monkeypatch):
    def refuse(path: object, *arguments: object, **options: object) -> None:
        raise AssertionError(f"{path} was opened by rasterio")

    for id, fold in enumerate((1, 2, 3, 4, 5)):
        handmade.add(id, fold=fold, size=(16, 16))
    root = handmade.written()
    _put_garbage_beside(root)
    monkeypatch.setattr(rasterio, "open", refuse)
    home = tmp_path_factory.mktemp("home")
    config = tiny(data__dataset={"name": "pastis"}, data__normalisation="own")
    opened.clear()
    check_trial(config, Places(home, root))
    run_trial(config, Places(home, root), home / "trial", role=Role.CONFIRMATION, device="cpu")
    inside = [Path(path) for path in opened if Path(path).is_relative_to(root)]
    assert {path.parent.name for path in inside} == {root.name, "DATA_S2", "ANNOTATIONS"}
    assert {path.name for path in inside if path.parent == root} == {"metadata.geojson"}
