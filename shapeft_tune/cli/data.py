"""``data ...``: make, fetch, bring in, check and describe data sets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from shapeft_tune.cli.options import Json, open_console, print_json
from shapeft_tune.errors import UserError

app = typer.Typer(
    no_args_is_help=True, help="Make, fetch, bring in, check or describe a data set in the PASTIS layout."
)


@app.command("sample")
def data_sample(
    to: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; must not exist or be empty.")],
    patches: Annotated[int, typer.Option(min=5, help="Patches, dealt to five folds.")] = 60,
    patch_size: Annotated[int, typer.Option(help="Pixels along one side; a multiple of 8.")] = 32,
    dates: Annotated[int, typer.Option(min=1, help="Acquisitions in the season, or a few more.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other fields and clouds.")] = 0,
) -> None:
    """Generate a small data set in the PASTIS layout that behaves like the real one."""
    from shapeft_tune.config.data import SampleDataset
    from shapeft_tune.config.loading import checked
    from shapeft_tune.data import generate_sample
    from shapeft_tune.tune.preflight import require_writable

    settings = checked(
        SampleDataset, {"patches": patches, "patch_size": patch_size, "dates": dates, "seed": seed}, "options"
    )
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to}: expected a new or empty folder; it holds something already")
    require_writable(to)
    generate_sample(settings, to)
    print(f"{patches} patches in {to}; look with: python -m shapeft_tune data check {to}")


@app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder in the PASTIS layout.")],
    as_json: Json = False,
) -> None:
    """Look at every file of a data set and list every fault at once; exit code 2 where there is one."""
    from shapeft_tune.cli.data_tables import print_report
    from shapeft_tune.data.check import check_folder

    with _bar("patches") as on_progress:
        found = check_folder(folder, on_progress)
    if as_json:
        print_json({"folder": str(folder), **found.content()})
    else:
        print_report(found)
    if found.faults:
        raise UserError("\n  ".join([f"{folder}: faults found: {len(found.faults)}", *found.faults]))


@app.command("stats")
def data_stats(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder in the PASTIS layout.")],
    sensor: Annotated[str, typer.Option(help="S2, or S1A or S1D for the orbits of Sentinel-1.")] = "S2",
    write: Annotated[
        bool, typer.Option("--write", help="Write them into DIR as NORM_<sensor>_patch.json.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="With --write: replace such a file.")] = False,
    as_json: Json = False,
) -> None:
    """Compute means and deviations per band and fold, by the official definition and in the official form."""
    from shapeft_tune.cli.data_tables import print_statistics
    from shapeft_tune.data.normalisation import statistics_content, write_statistics
    from shapeft_tune.data.pastis import PastisFolder
    from shapeft_tune.data.sources import S1A, S1D, S2

    sources = {source.name: source for source in (S2, S1A, S1D)}
    if not (source := sources.get(sensor.upper())):
        raise UserError(f"--sensor: expected one of {', '.join(sources)}; got {sensor}")
    opened = PastisFolder.open(folder)
    path = folder / source.statistics
    if write and path.exists() and not force:
        raise UserError(f"{path}: expected no such file; there is one - add --force to replace it")
    official = opened.statistics(source) if path.exists() and not write else {}
    compute = write_statistics if write else statistics_content
    with _bar("patches") as on_progress:
        content = compute(opened, source, on_progress)
    if as_json:
        print_json(content)
    else:
        print_statistics(content, official, source)
        if write:
            print(f"written to {path}")


@app.command("download")
def data_download(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="pastis-hd: PASTIS, PASTIS-R and SPOT images.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder to download into, or to go on with.")],
    modality: Annotated[
        list[str] | None,
        typer.Option(
            help="s2, s1a, s1d, spot, annotations or instances; may be given several times.",
            show_default="s2 and annotations",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit.", show_default="what DIR was begun with, or main"),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read again what was downloaded before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be fetched, and stop.")] = False,
) -> None:
    """Download PASTIS-HD from the Hugging Face hub; the same command again goes on where it stopped."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from shapeft_tune.cli.data_tables import print_plan
    from shapeft_tune.data.download import DEFAULT_MODALITIES, download, gigabytes, plan_download

    if what != "pastis-hd":
        raise UserError(f"expected pastis-hd; got {what} - no other data set can be downloaded")
    plan = plan_download(to, modality or DEFAULT_MODALITIES, revision, verify)
    print_plan(plan)
    plan.require_space()
    if dry_run:
        return
    waiting = (*plan.unchecked, *plan.missing)
    console = open_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"0 of {len(waiting)} files", total=sum(file.size for file in waiting))

        def show(files: int, size: int) -> None:
            bar.update(task, completed=size, description=f"{files} of {len(waiting)} files")

        download(plan, show)
    size = gigabytes(sum(file.size for file in plan.missing))
    there = len(plan.files) - len(plan.missing)
    print(f"{len(plan.missing)} files fetched ({size}), {there} were there")
    print(f"look with: python -m shapeft_tune data check {to}")


@app.command("import")
def data_import(
    rasters: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with rasters.yaml, or that file.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make; must not exist or be empty.")],
) -> None:
    """Turn GeoTIFF series and label rasters of one's own into the PASTIS layout.

    An import that is interrupted may leave a folder DIR.unfinished-... beside DIR, which can be deleted.
    """
    from shapeft_tune.data.rasters.folder import RasterFolder
    from shapeft_tune.data.rasters.imported import import_rasters, require_nothing_at

    require_nothing_at(to)
    with _bar("looking") as on_progress:
        folder = RasterFolder.open(rasters, on_progress=on_progress)
    with _bar("writing") as on_progress:
        import_rasters(folder, to, on_progress)
    for words in folder.told:
        print(words)
    print(f"{len(folder.patches)} patches in {to}; look with: python -m shapeft_tune data check {to}")


@contextlib.contextmanager
def _bar(of: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar on a terminal, and give what tells it how many of how many are done."""
    from rich.progress import Progress

    console = open_console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(of)
        yield lambda done, total: bar.update(task, completed=done, total=total)
