"""How the numbers of a report came about, as paragraphs for a paper: from what the sweep declares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shapeft_tune.config import Cell, SweepConfig, TrialConfig
from shapeft_tune.config.data import DataConfig
from shapeft_tune.config.optimisation import Pruner, Sampler
from shapeft_tune.report import sources
from shapeft_tune.report.report import Report
from shapeft_tune.report.sources import Source
from shapeft_tune.report.statistics.resampling import DRAWS
from shapeft_tune.report.tables.layout import share_text
from shapeft_tune.report.words.phrases import counted, listed

LABELS = {
    "stratified": "stratified, so that the classes of a subset follow the whole's",
    "random": "random",
    "oversampled": "drawn with patches that are rich in rare classes first",
}
DATES = {
    "even": "spread evenly over the season, fewer nested in more",
    "last": "the last ones of the series",
    "calendar": "nearest to fixed days of the year, the same for every patch",
    "clear": "the least cloudy of each of as many slots",
    "random": "drawn anew for every pass in training, and spread evenly at evaluation",
}
TUNINGS = {
    "frozen": "frozen encoder",
    "finetune": "fine-tuned, with a learning rate of the encoder's own",
    "lora": "LoRA",
    "scratch": "trained from scratch",
}
SAMPLERS: dict[str, tuple[str, Source | None]] = {
    "tpe": ("the tree-structured Parzen estimator", sources.TPE),
    "random": ("random search", None),
    "quasi_random": ("quasi-random search", None),
    "gaussian_process": ("Bayesian optimisation with a Gaussian process", None),
    "cma_es": ("CMA-ES", sources.CMA_ES),
    "grid": ("a full grid", None),
}
PRUNERS: dict[str, tuple[str, Source | None]] = {
    "none": ("none was stopped early", None),
    "median": ("a trial below the median of its cell at the same step was stopped", sources.MEDIAN),
    "successive_halving": ("poor trials were stopped by asynchronous successive halving", sources.ASHA),
    "hyperband": ("poor trials were stopped by Hyperband", sources.HYPERBAND),
    "patience": ("a trial that stayed below its own earlier best was stopped", None),
}


@dataclass(frozen=True)
class Paragraph:
    """One paragraph of the methods."""

    text: str
    sources: tuple[Source, ...] = ()
    """Of what it speaks of."""


def methods(report: Report) -> tuple[Paragraph, ...]:
    """Return the methods of a report, and their sources: what was compared, searched, repeated, computed."""
    sweep = report.sweep
    trials = {cell.strategy: _any_trial(cell) for cell in sweep.cells}
    parts = (
        Paragraph(" ".join(_compared(sweep, trials))),
        Paragraph(" ".join(_data(sweep, list(trials.values())))),
        _search(sweep, list(trials.values())),
        Paragraph(" ".join(_confirmed(sweep))),
        _scores(report),
        *_comparisons(report),
    )
    return tuple(part for part in parts if part.text)


def sources_of(paragraphs: Sequence[Paragraph]) -> tuple[Source, ...]:
    """Return the sources of all paragraphs, each once, in the order in which they are needed."""
    return tuple(dict.fromkeys(source for part in paragraphs for source in part.sources))


def _any_trial(cell: Cell) -> TrialConfig:
    return cell.trial(cell.first_corners)


def _compared(sweep: SweepConfig, trials: dict[str, TrialConfig]) -> Iterator[str]:
    shares = listed(share_text(fraction) for fraction in sorted(sweep.settings.label_fractions))
    dates = listed(str(length) for length in sorted(sweep.settings.temporal_lengths))
    named = listed(f"{name} ({_described(sweep, name, trial)})" for name, trial in trials.items())
    several = len(trials) > 1
    yield (
        f"{_number(len(trials), 'strategy', 'strategies')} {'were' if several else 'was'} tuned: {named}. "
        f"{'Each was' if several else 'It was'} tuned and tested in every setting, with {shares} of the "
        f"labelled training patches and series of {dates} date{'s' if dates != '1' else ''}."
    )
    yield (
        "A strategy in a setting is a cell; every cell had the same budget."
        if len({strategy.trials for strategy in sweep.strategies.values()}) == 1
        else "A strategy in a setting is a cell; strategies had different numbers of search trials."
    )


def _described(sweep: SweepConfig, name: str, trial: TrialConfig) -> str:
    searched = {*sweep.search, *sweep.strategies[name].search}
    if "model" in searched:
        return "model searched"
    model: dict[str, Any] = trial.canonical()["model"]
    kinds = [part for part in ("size", "pretraining") if model.get(part) and f"model.{part}" not in searched]
    words = [" ".join(str(model[part]) for part in ("name", *kinds))]
    mode = str((model.get("tuning") or {}).get("mode", "scratch"))
    if not {"model.tuning", "model.tuning.mode"} & searched:
        words.append(TUNINGS.get(mode, mode))
        if (model.get("tuning") or {}).get("weights") == "none":
            words.append("random weights")
    return ", ".join(words)


def _data(sweep: SweepConfig, trials: Sequence[TrialConfig]) -> Iterator[str]:
    data = trials[0].data
    yield f"Data set: {data.dataset.name}."
    yield from _folds(sweep, trials)
    if label := _shared(sweep, trials, "labels"):
        yield (
            f"Labelled subsets were {LABELS[label]}; smaller ones lie inside larger ones, and a seed decides "
            "which patches they hold."
        )
    if dates := _shared(sweep, trials, "dates"):
        yield f"Dates were {DATES[dates]}."
    if normalisation := _shared(sweep, trials, "normalisation"):
        yield f"Bands were normalised by statistics of kind *{normalisation}*."


def _folds(sweep: SweepConfig, trials: Sequence[TrialConfig]) -> Iterator[str]:
    folds = trials[0].data.folds
    if any(trial.data.folds != folds for trial in trials):
        yield "Folds differ between strategies, as their configurations have it."
        return
    train, validation, test = (
        f"fold{'s' if len(some) > 1 else ''} {listed(map(str, some))}"
        for some in (folds.train, folds.validation, folds.test)
    )
    if sweep.folds == "rotate":
        yield (
            f"Hyperparameters were searched with {train} for training and {validation} for choosing. Each "
            "confirmation seed was trained five times, all folds one further each time, so that every fold "
            "was tested once; the score of a seed is that of the sum of the five confusion matrices. The "
            "search has seen the labels of its own training and validation folds, which are among those "
            "tested."
        )
    else:
        yield (
            f"Networks were trained on {train}; hyperparameters, and the step whose weights are kept, were "
            f"chosen on {validation}; {test} {'was' if len(folds.test) == 1 else 'were'} opened by the "
            "confirmations alone."
        )


def _shared(sweep: SweepConfig, trials: Sequence[TrialConfig], field: str) -> str:
    """Return a field of the data that all strategies have in common; empty where they differ or search it."""
    searched = {*sweep.search, *(path for each in sweep.strategies.values() for path in each.search)}
    values = {str(getattr(trial.data, field)) for trial in trials}
    assert field in DataConfig.model_fields
    return values.pop() if len(values) == 1 and not searched & {f"data.{field}", "data"} else ""


def _search(sweep: SweepConfig, trials: Sequence[TrialConfig]) -> Paragraph:
    search, budget = sweep.optimisation, sweep.budget
    sampler, sampler_source = SAMPLERS[search.sampler.name]
    pruner, pruner_source = PRUNERS[search.stopping.name]
    text = [
        f"In each cell, up to {counted(budget.trials, 'configuration')} were tried: the declared one first"
        f"{', then the best of neighbouring cells' if search.neighbours else ''}, then those of {sampler} as "
        f"implemented in Optuna{_options(search.sampler)}; {pruner}{_options(search.stopping)}.",
        *_training(sweep, trials),
        *_limits(sweep),
    ]
    if search.objective == "miou_and_cost":
        text.append(
            "The search had two objectives, validation mIoU and device time; the trial with the best "
            "validation mIoU was confirmed."
        )
    else:
        text.append(
            "Among the trials that ran to their end, the one with the best validation mIoU was confirmed."
        )
    named = (sources.OPTUNA, sampler_source, pruner_source)
    return Paragraph(" ".join(text), tuple(source for source in named if source))


def _options(chosen: Sampler | Pruner) -> str:
    """Return the settings of a sampler or pruner in brackets."""
    fields = chosen.model_dump(exclude={"name"}, exclude_none=True)
    told = ", ".join(f"{name.replace('_', ' ')} {str(value).lower()}" for name, value in fields.items())
    return f" ({told})" if told else ""


def _training(sweep: SweepConfig, trials: Sequence[TrialConfig]) -> Iterator[str]:
    searched = {*sweep.search, *(path for each in sweep.strategies.values() for path in each.search)}
    budgets = {trial.training.model_dump_json(include={"steps"}): trial.training.steps for trial in trials}
    if len(budgets) == 1 and "training.steps" not in searched:
        (steps,) = budgets.values()
        length = f"{steps} optimiser steps" if isinstance(steps, int) else f"{steps.epochs} epochs"
        yield (
            f"A training took {length}, whatever the number of labels."
            if isinstance(steps, int)
            else (f"A training took {length}, so fewer steps with fewer labels.")
        )
    every = {trial.validation.every for trial in trials}
    if len(every) == 1 and "validation.every" not in searched:
        yield (
            f"It was validated every {every.pop()} steps; the weights of the best validation are those that "
            "are scored."
        )


def _limits(sweep: SweepConfig) -> Iterator[str]:
    budget = sweep.budget
    limits = [
        f"{value:g} {unit}"
        for value, unit in (
            (budget.steps, "optimiser steps"),
            (budget.wall_hours, "wall hours"),
            (budget.device_hours, "device hours"),
        )
        if value is not None
    ]
    if limits:
        yield f"A cell's search ended early at {' or '.join(limits)}."


def _confirmed(sweep: SweepConfig) -> Iterator[str]:
    seeds = sweep.budget.confirmation_seeds
    if not seeds:
        yield "No confirmations were asked for: all scores are validation scores."
        return
    yield (
        f"The chosen configuration of every cell was trained again with {seeds} other "
        f"seed{'s' if seeds > 1 else ''}. A seed changes the initial weights, the order and augmentation of "
        "the patches, and which patches are labelled, so the spread over seeds holds all three. Only these "
        "trainings were scored on the test folds."
    )


def _scores(report: Report) -> Paragraph:
    name, version = report.comparison.metric or ("miou", "?")
    text = (
        "Scores come from one confusion matrix over all test pixels that are not void; void is never "
        "predicted. mIoU is the mean over the classes that occur in target or prediction (convention "
        f"*{name}*, version {version}); *mIoU/20* is the original study's convention, the mean over one "
        "class more with void and absent classes counted as 0. "
        "The 95 % interval of a mean over seeds has two crossed sources of variance: the seeds, and the test "
        f"patches. The variance over patches is that of {DRAWS} bootstrap draws of the patches, the same for "
        "all seeds; the part of it that is due to a seed on a patch is taken off, as the variance over seeds "
        "holds it already. The interval is that of the sum of two Student's t, one for each source, after "
        "Behrens and Fisher. Where the matrices of the patches are not to be had, it is over seeds alone. A "
        "single seed has no interval."
    )
    named = (sources.PASTIS, sources.BOOTSTRAP, sources.CROSSED, sources.TWO_VARIANCES, sources.FEW)
    return Paragraph(text, named)


def _comparisons(report: Report) -> Iterator[Paragraph]:
    baseline = report.comparison.baseline
    if baseline is None or len(report.comparison.strategies) < 2:
        return
    yield Paragraph(
        f"Strategies were compared with {baseline} in the same setting, paired over the seeds that both "
        "have and over the same draws of the test patches. The recommended strategy of a setting is the one "
        "with the best mean test score. As that score chose it, its mean is a little too high, and so is its "
        "lead over the others; they are compared with it in the same way. The p values of all these "
        "pairs, in all settings, are adjusted together by Holm's procedure, and intervals have the level at "
        "which that procedure tests them: 0 is outside exactly where a strategy is called better or worse. "
        "What more labels or dates bring is tested likewise, corrected for the number of these pairs. "
        "Agreement of the order over seeds is Kendall's W.",
        (sources.HOLM, sources.KENDALL),
    )
    if any(search.importances for search in report.searches):
        yield Paragraph(
            "Importances of hyperparameters are those of fANOVA over the complete trials of a cell, averaged "
            "over cells.",
            (sources.FANOVA,),
        )


def _number(count: int, one: str, many: str) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return f"{words[count] if count < len(words) else count} {one if count == 1 else many}"
