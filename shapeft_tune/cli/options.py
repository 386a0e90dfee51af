"""What the commands share: their options, where things lie, how results are printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shapeft_tune.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from shapeft_tune.config.places import Places

SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="Sweep file (YAML); see search_spaces/.")]
OptionalSweepFile = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Sweep file (YAML); see search_spaces/.", show_default=False),
]
Home = Annotated[Path, typer.Option(help="Folder that everything is written to.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the data set, where the file names one.")]
WeightsFolder = Annotated[
    Path | None, typer.Option(help="Folder of pretrained checkpoints.", show_default="HOME/weights")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server or database.",
        show_default="sqlite, HOME/mlflow.db",
    ),
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="SHAPEFT_TUNE_LEDGER",
        help="Database for the search state: postgresql+psycopg://USER:PASSWORD@HOST/DATABASE.",
        show_default="a file in the sweep's folder",
    ),
]
Generation = Annotated[
    int | None,
    typer.Option(min=1, help="Of the sweep, an older one; see `sweep --new`.", show_default="the newest"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder on a local disk: what is read of a slow data set is copied there.")
]
CacheGb = Annotated[int, typer.Option(min=1, help="The most that these copies take, in 10^9 bytes.")]
HOME = Path("runs")
CACHE_GB = 100


def places_at(
    home: Path,
    data: Path | None = None,
    weights: Path | None = None,
    cache: Path | None = None,
    cache_gb: int = CACHE_GB,
) -> Places:
    """Return where things lie. Paths are made absolute: workers have working directories of their own."""
    from shapeft_tune.config.places import Places

    data, weights, cache = (path.resolve() if path else None for path in (data, weights, cache))
    if cache and data and cache.is_relative_to(data):
        raise UserError(f"--cache {cache}: expected a folder outside of the data set {data}")
    return Places(home.resolve(), data, weights, cache, cache_gb * 10**9)


def tracking_at(home: Path, tracking_uri: str | None) -> str:
    """Return MLflow's address: what was given, or the home's own database."""
    return tracking_uri or f"sqlite:///{home.resolve() / 'mlflow.db'}"


def open_console(stderr: bool = False) -> Console:
    """Return where tables and bars are drawn."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = 140  # rich assumes 80 columns for a file or a pipe and would fold the tables
    return console


def print_json(content: Any) -> None:
    """Print for machines."""
    json.dump(content, sys.stdout, indent=1)
    sys.stdout.write("\n")


def print_aside(sentence: str) -> None:
    """Print for people, where it does not mix with results."""
    print(sentence, file=sys.stderr)
