"""The commands. Each parses, calls one function, prints. Imports happen inside: ``--help`` is instant."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shapeft_tune import __version__
from shapeft_tune.errors import ShapeftError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from shapeft_tune.config import SweepConfig
    from shapeft_tune.config.places import Places

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Which geospatial foundation model, fine-tuned how, gives the best crop map with your labels and "
    "dates? Declare strategies and settings in one YAML file; `sweep` tunes every one of them fairly.",
    epilog="Begin with: python -m shapeft_tune sweep search_spaces/quickstart.yaml",
)
data_app = typer.Typer(no_args_is_help=True, help="Make or check a data set in the PASTIS layout.")
app.add_typer(data_app, name="data")

SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="Sweep file (YAML); see search_spaces/.")]
Home = Annotated[Path, typer.Option(help="Folder that everything is written to.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the data set, where the file names one.")]
WeightsFolder = Annotated[
    Path | None, typer.Option(help="Folder of pretrained checkpoints. [default: HOME/weights]")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI", help="MLflow server or database. [default: sqlite, HOME/mlflow.db]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
HOME = Path("runs")


def main() -> None:
    """Run a command: exit code 2 and one message for a user's mistake, 1 for a failure, never a traceback."""
    try:
        app()
    except UserError as error:
        _fail(error, 2)
    except ShapeftError as error:
        _fail(error, 1)


@app.command()
def sweep(
    file: SweepFile,
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    tracking_uri: TrackingUri = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster that this machine is a node of: auto or HOST:6379.")
    ] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU slots, for a cluster of this machine.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs, for a cluster of this machine.")] = None,
) -> None:
    """Run every trial that FILE declares and that has not run yet; then report.

    Start, resume after a crash, and extend are this same command. On a finished sweep it starts nothing.
    """
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.cluster import ClusterOptions
    from shapeft_tune.tune.display import watching
    from shapeft_tune.tune.run import run_sweep

    declared = load_sweep(file)
    places, uri = _places(home, data, weights), _uri(home, tracking_uri)
    console = _console()
    with watching(console) as on_event:
        run = run_sweep(declared, places, uri, ClusterOptions(address, cpus, gpus), on_event)
    for problem in run.record_problems:
        print(f"not in the record: {problem}", file=sys.stderr)
    if run.stopped and not run.done:
        again = shlex.join(["python", "-m", "shapeft_tune", *sys.argv[1:]])
        if run.obstacle:
            print(f"Stopped, because no trial could go on: {run.obstacle}", file=sys.stderr)
        print(f"Stopped in good order: checkpoints are written. Go on with: {again}")
        if run.obstacle:
            raise typer.Exit(1)
        raise typer.Exit(130)
    _report(declared, uri, places, console)
    served = tracking_uri and tracking_uri.startswith("http")
    print(
        f"Look closer {f'at {tracking_uri}' if served else f'with: python -m shapeft_tune ui --home {home}'}"
    )
    if failed := sum(count.failed + count.confirmations_failed for count in run.counts):
        print(f"{failed} trials failed; see: python -m shapeft_tune status {file} --home {home}")
        if not any(count.complete for count in run.counts):
            raise typer.Exit(1)


@app.command()
def plan(
    file: SweepFile,
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    as_json: Json = False,
) -> None:
    """Show what `sweep` would run, without running it. With --data, the data and weights are checked too."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.display import cells_table
    from shapeft_tune.tune.standing import look_at, plan_json

    declared = load_sweep(file)
    places = _places(home, data, weights)
    if data:
        from shapeft_tune.tune.preflight import check_sweep  # torch: only where it is asked for

        check_sweep(declared, places)
    counts = look_at(declared, places)
    if as_json:
        _print_json(plan_json(declared.name, counts))
        return
    _console().print(cells_table(counts))
    todo, done = sum(c.trials_todo for c in counts), sum(c.trials_done for c in counts)
    print(f"{len(counts)} cells, {todo} trials to do, {done} done.")


@app.command()
def status(file: SweepFile, home: Home = HOME, as_json: Json = False) -> None:
    """Show where a sweep stands, also while it runs elsewhere."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.display import cells_table
    from shapeft_tune.tune.lock import driver_of
    from shapeft_tune.tune.standing import failures, look_at, status_json

    declared = load_sweep(file)
    places = _places(home)
    counts, driver = look_at(declared, places), driver_of(places.sweep_folder(declared.name))
    if as_json:
        _print_json(status_json(declared.name, driver, counts))
        return
    console = _console()
    console.print(cells_table(counts))
    for line in failures(declared, places):
        console.print(line, style="red", markup=False, soft_wrap=True)
    todo = sum(count.trials_todo for count in counts)
    if driver:
        print(f"{todo} trials to do; at work: {driver}")
    else:
        print(f"{todo} trials to do; run them with: python -m shapeft_tune sweep {file}" if todo else "done")


@app.command()
def report(
    file: SweepFile, home: Home = HOME, tracking_uri: TrackingUri = None, as_json: Json = False
) -> None:
    """Compare the strategies of a sweep: table, heat maps, curves. Works on an unfinished sweep too."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.report import write_report

    declared = load_sweep(file)
    places, uri = _places(home), _uri(home, tracking_uri)
    if as_json:
        files = write_report(declared, uri, places.sweep_folder(declared.name) / "report")
        sys.stdout.write(files.json.read_text(encoding="utf-8"))
        return
    _report(declared, uri, places, _console())


@app.command()
def train(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trial file (YAML), or a stored config.json.")],
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    test: Annotated[bool, typer.Option("--test", help="Score on the test folds at the end.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1. [default: a GPU if any]")] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; a sweep's trials have `resources.cpu`.")
    ] = 1,
) -> None:
    """Run one trial, without Ray and MLflow. Stopped with Ctrl-C, it goes on when called again."""
    import torch

    from shapeft_tune.config import load_trial
    from shapeft_tune.config.protocol import Role
    from shapeft_tune.train import Progress, run_trial
    from shapeft_tune.tune.preflight import check_trial, require_writable

    config = load_trial(file)
    places = _places(home, data, weights)
    require_writable(places.home)
    digest = check_trial(config, places)
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


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="Folder of a trial, or the first digits of its fingerprint.")],
    fold: Annotated[
        str, typer.Option(help="validation or test; test only where the trial may open it.")
    ] = "validation",
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    as_json: Json = False,
) -> None:
    """Score a stored trial's best weights again, from its config alone."""
    from shapeft_tune.train import evaluate_trial, find_trial

    if fold not in ("validation", "test"):
        raise UserError(f"--fold {fold}: expected validation or test")
    places = _places(home, data, weights)
    scores = evaluate_trial(find_trial(run, places.home), places, fold).scores
    if as_json:
        _print_json({"fold": fold, **scores.summary(), "iou": scores.iou})
        return
    for name, value in scores.summary().items():
        print(f"{name:18} {value:.4f}" if isinstance(value, float) else f"{name:18} {value}")


@data_app.command("sample")
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


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder in the PASTIS layout.")],
    as_json: Json = False,
) -> None:
    """Look at every file of a data set and list every fault at once; exit code 2 where there is one."""
    from dataclasses import asdict

    from rich.progress import Progress

    from shapeft_tune.data.check import check_folder, described

    console = _console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("patches")
        found = check_folder(folder, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        content = asdict(found)
        content["sizes"] = {f"{height}x{width}": count for (height, width), count in found.sizes.items()}
        _print_json(content)
    else:
        for name, words in described(found):
            print(f"{name:14} {words}")
    if found.faults:
        raise UserError("\n  ".join([f"{folder}: faults found: {len(found.faults)}", *found.faults]))


@app.command()
def ui(
    home: Home = HOME,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
) -> None:
    """Serve MLflow's own pages on the sweep's store, until Ctrl-C."""
    import os

    uri = _uri(home, tracking_uri)
    if tracking_uri and tracking_uri.startswith("http"):
        print(f"The server at {tracking_uri} has its own pages: open it in a browser.")
        return
    if not tracking_uri and not (home.resolve() / "mlflow.db").exists():
        raise UserError(f"{home}: expected a home with mlflow.db; run a sweep first, or give --home")
    print(f"MLflow on {uri}: open http://127.0.0.1:{port}", flush=True)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # saves 2 GB; nothing here needs it
    command = ["server", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *command])


@app.command()
def doctor(home: Home = HOME, weights: WeightsFolder = None, tracking_uri: TrackingUri = None) -> None:
    """Tell what is installed, reachable and configured, and what to do about the rest."""
    from shapeft_tune.doctor import examine

    findings = examine(_places(home, weights=weights), _uri(home, tracking_uri))
    for finding in findings:
        print(f"{'ok  ' if finding.well else 'FIX '} {finding.subject:12} {finding.words}")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


@app.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Handle options that stand before a command."""
    if version:
        print(f"shapeft_tune {__version__}")
        raise typer.Exit


def _report(declared: SweepConfig, uri: str, places: Places, console: Console) -> None:
    from shapeft_tune.report import as_terminal, findings, write_report

    files = write_report(declared, uri, places.sweep_folder(declared.name) / "report")
    console.print(as_terminal(files.comparison))
    for sentence in findings(files.comparison):
        console.print(sentence, highlight=False, soft_wrap=True)
    print(f"Report: {files.markdown}")


def _places(home: Path, data: Path | None = None, weights: Path | None = None) -> Places:
    """Make paths absolute: workers have working directories of their own."""
    from shapeft_tune.config.places import Places

    return Places(home.resolve(), data.resolve() if data else None, weights.resolve() if weights else None)


def _uri(home: Path, tracking_uri: str | None) -> str:
    return tracking_uri or f"sqlite:///{home.resolve() / 'mlflow.db'}"


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = 140  # rich assumes 80 columns for a file or a pipe and would fold the tables
    return console


def _print_json(content: Any) -> None:
    json.dump(content, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _fail(message: object, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
