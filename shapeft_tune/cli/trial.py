"""``train`` and ``evaluate``: one trial, without Ray and MLflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shapeft_tune.cli.options import (
    CACHE_GB,
    HOME,
    Cache,
    CacheGb,
    Data,
    Home,
    Json,
    WeightsFolder,
    places_at,
    print_aside,
    print_json,
)
from shapeft_tune.errors import UserError


def train(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trial file (YAML), or a stored config.json.")],
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    test: Annotated[bool, typer.Option("--test", help="Score on the test folds at the end.")] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1.", show_default="a GPU if any")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; a sweep's trials have `resources.cpu`.")
    ] = 1,
    cache: Cache = None,
    cache_gb: CacheGb = CACHE_GB,
) -> None:
    """Run one trial, without Ray and MLflow. Stopped with Ctrl-C, it goes on when called again."""
    import torch

    from shapeft_tune.config import load_trial
    from shapeft_tune.config.protocol import Role
    from shapeft_tune.train import Progress, run_trial
    from shapeft_tune.tune.preflight import check_trial, require_writable

    config = load_trial(file)
    places = places_at(home, data, weights, cache, cache_gb)
    require_writable(places.home)
    if places.cache:
        require_writable(places.cache)
    digest = check_trial(config, places, print_aside)
    folder = (
        places.single_trials / f"{config.fingerprint()}-on-{digest}"
    )  # the same trial on other data or weights is another

    torch.set_num_threads(threads)

    def tell(progress: Progress) -> None:
        print(
            f"step {progress.step}/{progress.steps}  loss {progress.train_loss:.3f}  "
            f"val mIoU {progress.validation.miou:.3f}  {progress.seconds:.0f} s",
            flush=True,
        )

    role = Role.CONFIRMATION if test else Role.SEARCH
    try:
        result = run_trial(config, places, folder, role=role, on_progress=tell, device=device)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from the last checkpoint.", file=sys.stderr)
        raise typer.Exit(130) from None
    scored = f", test mIoU {result.test.miou:.3f}" if result.test else ""
    print(f"val mIoU {result.validation.miou:.3f} at step {result.best_step}{scored}")
    print(f"Stored in {folder}")


def evaluate(
    run: Annotated[str, typer.Argument(help="Folder of a trial, or the first digits of its fingerprint.")],
    fold: Annotated[
        str, typer.Option(help="validation or test; test only where the trial may open it.")
    ] = "validation",
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    as_json: Json = False,
    cache: Cache = None,
    cache_gb: CacheGb = CACHE_GB,
) -> None:
    """Score a stored trial's best weights again, from its config alone."""
    from shapeft_tune.train import evaluate_trial, find_trial

    if fold not in ("validation", "test"):
        raise UserError(f"--fold {fold}: expected validation or test")
    places = places_at(home, data, weights, cache, cache_gb)
    evaluation = evaluate_trial(find_trial(run, places.home), places, fold)
    scores = evaluation.scores
    by_class = {"iou": scores.iou, "precision": scores.precision, "recall": scores.recall}
    if as_json:
        print_json({"fold": fold, **scores.summary(), "class_names": evaluation.class_names, **by_class})
        return
    for name, value in scores.summary().items():
        print(f"{name:18} {value:.4f}" if isinstance(value, float) else f"{name:18} {value}")
    print(f"\n{'class':28}", *(f"{name:>9}" for name in by_class))
    for name, values in zip(evaluation.class_names, zip(*by_class.values(), strict=True), strict=True):
        print(f"{name:28}", *("        -" if value is None else f"{value:9.4f}" for value in values))
