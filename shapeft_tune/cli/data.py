"""``data ...``: make, fetch, bring in, check and describe data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapeft_tune.cli.options import Json, open_console, print_json
from shapeft_tune.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Make or check a data set in the PASTIS layout.")


@app.command("sample")
def data_sample(
    to: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; must not exist or be empty.")],
    patches: Annotated[int, typer.Option(min=5, help="Patches, dealt to five folds.")] = 60,
    patch_size: Annotated[int, typer.Option(help="Pixels along one side; a multiple of 8.")] = 32,
    dates: Annotated[int, typer.Option(min=1, help="Acquisitions in the season.")] = 40,
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
    from dataclasses import asdict

    from rich.progress import Progress

    from shapeft_tune.data.check import check_folder, described

    console = open_console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("patches")
        found = check_folder(folder, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        content = asdict(found)
        content["sizes"] = {f"{height}x{width}": count for (height, width), count in found.sizes.items()}
        print_json(content)
    else:
        for name, words in described(found):
            print(f"{name:14} {words}")
    if found.faults:
        raise UserError("\n  ".join([f"{folder}: faults found: {len(found.faults)}", *found.faults]))
