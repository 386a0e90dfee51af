"""What ``data check``, ``data stats`` and ``data download`` print for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from shapeft_tune.cli.options import open_console

if TYPE_CHECKING:
    from rich.table import Table

    from shapeft_tune.config.bands import BandStatistics
    from shapeft_tune.data.check import FolderReport
    from shapeft_tune.data.download import Plan
    from shapeft_tune.data.sources import Source


def print_report(report: FolderReport) -> None:
    """Print what a folder holds, subject by subject."""
    console = open_console()
    for table in (_series_table(report), _folds_table(report), _classes_table(report)):
        console.print(table)
    for subject, words in _summary(report):
        console.print(f"{subject:14} {words}", highlight=False, markup=False, soft_wrap=True)


def _summary(report: FolderReport) -> Iterator[tuple[str, str]]:
    yield "patches", str(report.patches)
    sizes = sorted(report.sizes.items())
    listed = ", ".join(f"{height} x {width} px ({count})" for (height, width), count in sizes)
    yield "sizes", listed or "none that can be read"
    if report.spot is not None:
        yield "SPOT images", str(report.spot)
    for remark in report.remarks:
        yield "remark", remark
    yield "faults", str(len(report.faults) or "none")


def _series_table(report: FolderReport) -> Table:
    names = ("series", "patches", "frames", "dates min", "median", "max", "first", "last", "cloud-like")
    table = _table(names)
    for name, series in report.series.items():
        table.add_row(
            name,
            str(series.patches),
            str(series.frames),
            str(series.dates_min),
            f"{series.dates_median:g}",
            str(series.dates_max),
            series.first or "-",
            series.last or "-",
            "-" if series.cloud_like is None else f"{100 * series.cloud_like:.1f} %",
        )
    return table


def _folds_table(report: FolderReport) -> Table:
    table = _table(("fold", *map(str, report.folds)))
    table.add_row("patches", *map(str, report.folds.values()))
    return table


def _classes_table(report: FolderReport) -> Table:
    table = _table(("label", "class", "pixels", "share"))
    names = (*report.class_names, "void")
    rows = zip(names, report.class_pixels, report.class_shares, strict=True)
    for label, (name, pixels, share) in enumerate(rows):
        table.add_row(str(label), name, str(pixels), f"{100 * share:.2f} %")
    table.columns[1].justify = "left"
    return table


def print_statistics(
    content: Mapping[str, Mapping[str, Sequence[float]]],
    official: Mapping[int, BandStatistics],
    source: Source,
) -> None:
    """Print means and deviations in the units of storage, and beside them the official ones if there are."""
    console = open_console()
    table = _table(("fold", "band", "mean", "std", *(("official mean", "official std") if official else ())))
    differences = []
    for fold_name, computed in content.items():
        given = official.get(int(fold_name.removeprefix("Fold_")))
        for band, name in enumerate(source.bands):  # radar has a third channel, which no network sees
            mean, std = computed["mean"][band], computed["std"][band]
            row = [fold_name.removeprefix("Fold_"), name, f"{mean:.2f}", f"{std:.2f}"]
            if given:
                pair = given.mean[band] / source.scale, given.std[band] / source.scale
                row += [f"{value:.2f}" for value in pair]
                differences += [_relative(mean, pair[0]), _relative(std, pair[1])]
            table.add_row(*row)
    console.print(table)
    if differences:
        print(f"largest difference from {source.statistics}: {100 * max(differences):.3f} %")
    else:
        print(f"no official values to compare with: {source.statistics} is not there")


def _relative(value: float, official: float) -> float:
    return abs(value - official) / max(abs(official), 1e-9)


def print_plan(plan: Plan) -> None:
    """Print what a download will take, before it starts."""
    from shapeft_tune.data.download import gigabytes

    table = _table(("modality", "files", "there", "to fetch", "size"))
    for modality in plan.modalities:
        files = [file for file in plan.files if file.modality == modality]
        missing = [file for file in plan.missing if file.modality == modality]
        size = gigabytes(sum(file.size for file in missing))
        table.add_row(modality, str(len(files)), str(len(files) - len(missing)), str(len(missing)), size)
    open_console().print(table)
    packed = any(file.is_archive for file in plan.missing)
    archives = " or more (what archives unpack to is asked once they are here)" if packed else ""
    print(f"takes {gigabytes(plan.disk)} of disk{archives}; {gigabytes(plan.free)} are free at {plan.root}")
    print(f"commit {plan.commit}")


def _table(columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    return table
