from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.merge import merged, with_values
from shapeft_tune.config.training import AdamW, Epochs, Sgd
from tests.config.examples import CROMA, MODEL, TRIAL


def trial(**changes: Any) -> TrialConfig:
    return TrialConfig.model_validate(TRIAL | changes)


def test_equal_configs_have_one_fingerprint_however_they_are_written() -> None:
    spelled_out = trial().canonical()
    shuffled = {key: spelled_out[key] for key in reversed(list(spelled_out))}
    assert TrialConfig.model_validate(shuffled).fingerprint() == trial().fingerprint()
    assert trial(data={"dataset": {"name": "sample"}}).fingerprint() == trial().fingerprint()


def test_the_fingerprint_is_stable_over_versions_of_python_and_runs() -> None:
    assert trial().fingerprint() == "e76767c74419cb3b"


@pytest.mark.parametrize(
    "path", ["seed", "data.label_fraction", "training.optimiser.lr", "model.dropout", "validation.every"]
)
def test_every_field_changes_the_fingerprint(path: str) -> None:
    values = {"seed": 1, "data.label_fraction": 0.5, "validation.every": 7}
    changed = TrialConfig.model_validate(with_values(TRIAL, {path: values.get(path, 0.015)}))
    assert changed.fingerprint() != trial().fingerprint()


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        trial().seed = 2  # type: ignore[misc]


def test_weights_that_have_seen_the_labels_of_a_scored_fold_are_refused() -> None:
    def begun_with(fold: int) -> TrialConfig:
        tuning = {"mode": "finetune", "weights": f"utae/Fold_{fold}/model.pth.tar"}
        return TrialConfig.model_validate(with_values(TRIAL, {"model": MODEL | {"tuning": tuning}}))

    begun_with(1)  # folds 1 to 3
    with pytest.raises(ValidationError, match=r"have not seen \(they have \[2, 3, 4\]\)") as refusal:
        begun_with(2)
    assert "data.folds.validation" in str(refusal.value)
    assert "data.folds.test" not in str(refusal.value)


def test_a_backbone_named_twice_is_refused() -> None:
    model = {"name": "timm:resnet18", "backbone": "resnet34", "tuning": "scratch"}
    with pytest.raises(ValidationError, match="write name: timm beside backbone"):
        TrialConfig.model_validate(with_values(TRIAL, {"model": model}))


@pytest.mark.parametrize(
    ("model", "normalisation", "message"),
    [
        (MODEL, "pretraining", "official or own: utae has no pretraining"),
        ({"name": "galileo", "tuning": "scratch"}, "official", "or set model.ndvi: false"),
    ],
)
def test_a_normalisation_that_does_not_fit_the_network_is_refused(
    model: dict[str, Any], normalisation: str, message: str
) -> None:
    values = with_values(TRIAL, {"model": model, "data.normalisation": normalisation})
    with pytest.raises(ValidationError, match=message):
        TrialConfig.model_validate(values)


@pytest.mark.parametrize(
    "model",
    [
        CROMA | {"tuning": {"mode": "scratch", "weights": "official"}},
        CROMA | {"tuning": {"mode": "frozen", "weights": "none", "encoder_lr_ratio": 0.1}},
        CROMA | {"tuning": {"mode": "frozen"}},
        CROMA | {"tuning": {"mode": "frozen", "weights": "official"}},
        CROMA | {"layers": [0, 1, 2, 4]},
        CROMA | {"layers": [1, 0, 2, 3]},
        TRIAL["model"] | {"tuning": {"mode": "lora", "weights": "none"}},
        TRIAL["model"] | {"decoder_widths": [8]},
        TRIAL["model"] | {"heads": 3},
        CROMA | {"input": {"name": "windows", "side": 20}},
        CROMA | {"temporal": {"name": "ltae", "heads": 3, "width": 3}},
    ],
)
def test_contradictions_cannot_be_written_down(model: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        trial(model=model)


@pytest.mark.parametrize(
    "folds",
    [{"validation": [3]}, {"test": [4]}, {"train": [], "validation": [4]}, {"train": [0]}],
)
def test_no_fold_serves_two_purposes(folds: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        trial(data={"dataset": "sample", "folds": folds})


def test_a_budget_is_steps_or_epochs() -> None:
    assert trial(training={"steps": 7}, validation={"every": 7}).training.steps == 7
    assert trial(training={"steps": {"epochs": 3}}).training.steps == Epochs(epochs=3)


def test_laying_one_part_over_another_keeps_nothing_of_another_member_of_a_union() -> None:
    below = {"optimiser": {"name": "sgd", "momentum": 0.5}, "steps": 3}
    assert merged(below, {"optimiser": {"name": "adamw"}}) == {"optimiser": {"name": "adamw"}, "steps": 3}
    assert merged(below, {"optimiser": {"lr": 1}})["optimiser"] == {"name": "sgd", "momentum": 0.5, "lr": 1}
    assert merged({"optimiser": "sgd"}, {"optimiser": {"lr": 1}})["optimiser"] == {"name": "sgd", "lr": 1}
    assert below == {"optimiser": {"name": "sgd", "momentum": 0.5}, "steps": 3}


def test_a_union_may_be_written_as_its_name_alone() -> None:
    assert trial(training={"optimiser": "sgd"}).training.optimiser == Sgd()
    assert trial(training={"optimiser": "adamw"}).training.optimiser == AdamW()
