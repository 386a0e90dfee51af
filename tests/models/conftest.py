"""Every small model in turn."""

from __future__ import annotations

import pytest
import torch

from shapeft_tune.config.models import ModelConfig
from shapeft_tune.models import Segmenter, build_model
from tests.models.small_models import NUM_CLASSES, SMALL_MODELS


@pytest.fixture(params=SMALL_MODELS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return SMALL_MODELS[request.param]


@pytest.fixture
def model(config: ModelConfig) -> Segmenter:
    torch.manual_seed(0)
    return build_model(config, NUM_CLASSES).eval()
