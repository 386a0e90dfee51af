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
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Serve MLflow's own pages on the sweep's store, until Ctrl-C."""
    import os

    uri = tracking_at(home, tracking_uri)
    if tracking_uri and tracking_uri.startswith("http"):
        print(f"The server at {tracking_uri} has its own pages: open it in a browser.")
        print_comparisons(tracking_uri, tracking_uri)
        return
    if not tracking_uri and not (home.resolve() / "mlflow.db").exists():
        raise UserError(f"{home}: expected a home with mlflow.db; run a sweep first, or give --home")
    _require_free(port)
    print(f"MLflow on {uri}: open http://127.0.0.1:{port}", flush=True)
    print_comparisons(uri, f"http://127.0.0.1:{port}")
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # saves 2 GB; nothing here needs it
    command = ["server", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *command])


def print_comparisons(tracking_uri: str, server: str, only: str = "") -> None:
    """Tell where a server shows the ready comparisons of the sweeps in its store, or of one of them."""
    from shapeft_tune.errors import TrackingError
    from shapeft_tune.tracking.publishing.views import ready_comparisons

    try:
        found = ready_comparisons(tracking_uri)
    except TrackingError:  # a store to be migrated, a server that starts: not what was asked for
        return
    for sweep, place in found.items():
        if only in ("", sweep):
            print(f"Comparison of {sweep}: {server.rstrip('/')}/{place}", flush=True)


def _require_free(port: int) -> None:
    """Raise UserError where nothing can listen on a port; the server itself would say so and exit with 0."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left is free
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"--port {port}: expected a free port; got {error.strerror or error} - choose another with "
                "--port, or end what listens there"
            ) from error


def doctor(home: Home = HOME, weights: WeightsFolder = None, tracking_uri: TrackingUri = None) -> None:
    """Tell what is installed, reachable and configured, and what to do about the rest."""
    from shapeft_tune.doctor import examine

    findings = examine(places_at(home, weights=weights), tracking_at(home, tracking_uri))
    for finding in findings:
        print(f"{'ok  ' if finding.well else 'FIX '} {finding.subject:12} {finding.words}")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
