"""``ui`` and ``doctor``: what is on this machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from shapeft_tune.cli.options import HOME, Home, TrackingUri, WeightsFolder, places_at, tracking_at
from shapeft_tune.errors import UserError


def ui(
    home: Home = HOME,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
) -> None:
    """Serve MLflow's own pages on the sweep's store, until Ctrl-C."""
    import os

    uri = tracking_at(home, tracking_uri)
    if tracking_uri and tracking_uri.startswith("http"):
        print(f"The server at {tracking_uri} has its own pages: open it in a browser.")
        return
    if not tracking_uri and not (home.resolve() / "mlflow.db").exists():
        raise UserError(f"{home}: expected a home with mlflow.db; run a sweep first, or give --home")
    print(f"MLflow on {uri}: open http://127.0.0.1:{port}", flush=True)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # saves 2 GB; nothing here needs it
    command = ["server", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *command])


def doctor(home: Home = HOME, weights: WeightsFolder = None, tracking_uri: TrackingUri = None) -> None:
    """Tell what is installed, reachable and configured, and what to do about the rest."""
    from shapeft_tune.doctor import examine

    findings = examine(places_at(home, weights=weights), tracking_at(home, tracking_uri))
    for finding in findings:
        print(f"{'ok  ' if finding.well else 'FIX '} {finding.subject:12} {finding.words}")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
