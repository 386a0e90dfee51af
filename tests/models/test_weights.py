"""Finding and reading weight files, and what is said when that fails."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from shapeft_tune.config.models import Croma
from shapeft_tune.config.tuning import FrozenTuning
from shapeft_tune.errors import UserError, WeightsError
from shapeft_tune.models import build_model, croma, galileo, load_encoder, ssl4eo
from shapeft_tune.models.weights import (
    OfficialCheckpoint,
    file_digest,
    noting_digests,
    read_checkpoint,
    resolve_weights,
)

PUBLISHED = (*croma.OFFICIAL.values(), *ssl4eo.OFFICIAL.values(), *galileo.OFFICIAL.values())
OFFICIAL = OfficialCheckpoint("Model.pt", repository="someone/Model")


class Surprise:
    """A pickle that would create a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_none_means_no_file(tmp_path: Path) -> None:
    assert resolve_weights("none", OFFICIAL, tmp_path) is None


@pytest.mark.parametrize("word", ["official", "Model.pt"])
def test_names_are_looked_for_in_the_weights_folder(tmp_path: Path, word: str) -> None:
    (tmp_path / "Model.pt").touch()
    assert resolve_weights(word, OFFICIAL, tmp_path) == tmp_path / "Model.pt"


def test_an_absolute_name_needs_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    assert resolve_weights(str(tmp_path / "mine.pt"), OFFICIAL, None) == tmp_path / "mine.pt"


def test_missing_official_weights_are_named_with_their_source_and_place(tmp_path: Path) -> None:
    config = Croma(size="large", tuning=FrozenTuning(weights="official"))
    with pytest.raises(WeightsError) as refusal:
        build_model(config, 20, weights_folder=tmp_path)
    assert str(tmp_path / "CROMA_large.pt") in str(refusal.value)
    address = f"https://huggingface.co/antofuller/CROMA/resolve/{croma.HUB_REVISION}/CROMA_large.pt"
    assert address in str(refusal.value)


@pytest.mark.parametrize("official", PUBLISHED, ids=lambda official: official.name)
def test_every_official_file_is_pinned_to_a_commit(official: OfficialCheckpoint) -> None:
    assert re.fullmatch("[0-9a-f]{40}", official.revision)
    assert official.sha256 is None or re.fullmatch("[0-9a-f]{64}", official.sha256)


def test_the_hash_of_galileo_nano_is_that_of_the_real_file(shared: Path) -> None:
    assert file_digest(shared / "weights/galileo_nano/encoder.pt") == galileo.OFFICIAL["nano"].sha256


def test_digests_are_noted_of_the_files_that_are_used(tmp_path: Path) -> None:
    (tmp_path / "Model.pt").write_bytes(b"one")
    (tmp_path / "mine.pt").write_bytes(b"two")
    with noting_digests() as digests:
        for word in ("none", "official", "mine.pt"):
            resolve_weights(word, OFFICIAL, tmp_path)
    resolve_weights(str(tmp_path / "mine.pt"), OFFICIAL, tmp_path)  # after the noting
    assert digests == {
        "someone/Model/Model.pt": sha256(b"one").hexdigest(),
        "mine.pt": sha256(b"two").hexdigest(),
    }


def test_a_relative_name_without_a_folder_is_refused() -> None:
    with pytest.raises(WeightsError, match="no weights folder was given"):
        load_encoder("croma_optical", "mine.pt", size="small")


def test_official_weights_of_an_unpublished_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nothing is published"):
        load_encoder("croma_optical", "official", size="small", weights_folder=tmp_path)


def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "evil.pt", tmp_path / "it_ran"
    torch.save({"s2_encoder": Surprise(proof)}, path)
    with pytest.raises(WeightsError, match="arbitrary code"):
        read_checkpoint(path)
    assert not proof.exists()


def test_a_file_in_the_format_before_torch_1_6_is_read(tmp_path: Path) -> None:
    weight = torch.randn(3)
    torch.save({"weight": weight}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(tmp_path / "old.pt")["weight"], weight)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float, new: bool) -> None:
    path = tmp_path / "short.pt"
    torch.save({"weight": torch.randn(10_000)}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match="truncated"):
        read_checkpoint(path)


def test_an_old_file_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "evil.pt", tmp_path / "it_ran"
    torch.save({"weight": Surprise(proof)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="arbitrary code"):
        read_checkpoint(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "content",
    [b"<html>404 Not Found</html>", b"hello <html>", b"version https://git-lfs.github.com/spec/v1\n"],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"page\.pt"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"s2_encoder": 3}, "expected a dictionary whose keys are names; got int"),
        ({"s2_encoder": {7: torch.zeros(1)}}, "expected a dictionary whose keys are names; got other keys"),
        ({"s2_encoder": {"linear_input.bias": 3}}, r"linear_input\.bias: .* got no tensor but int"),
        ({"s2_encoder": {"linear_input.bias": torch.ones(128).long()}}, r"float32, got torch\.int64"),
        ({"s2_encoder": {"linear_input.bias": torch.full((128,), torch.nan)}}, "expected finite numbers"),
    ],
)
def test_entries_that_are_no_weights_are_named(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(WeightsError, match=words):
        load_encoder("croma_optical", "odd.pt", size="small", weights_folder=tmp_path)


@pytest.mark.parametrize(
    "name", ["croma_optical", "croma_joint", "galileo", "ssl4eo_vit", "timm:test_resnet"]
)
def test_encoders_come_in_evaluation_mode_and_only_with_layers_that_they_have(name: str) -> None:
    size = {"croma_optical": {"size": "small"}, "croma_joint": {"size": "small"}, "galileo": {"size": "nano"}}
    assert not load_encoder(name, "none", **size.get(name, {})).training
    for layers in ((1, 30), (2, 1), (1, 1)):
        with pytest.raises((ValueError, UserError), match="layers"):
            load_encoder(name, "none", layers=layers, **size.get(name, {}))


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="croma_optical"):
        load_encoder("cromma", "none")
