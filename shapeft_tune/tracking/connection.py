"""The door to MLflow: a client for a store that is known to answer, and requests that end in time."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shapeft_tune.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient

SQLITE = "sqlite:///"
PAGE = 200
"""Runs per request. With all their tags and metrics they take a server half a second of computing."""
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # MLflow's own 7 retries block for four minutes in an outage
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would tear up the live table
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # one bar for each file, where many are read
}
"""Environment variables under which this project talks to MLflow, which has no other way to set them."""
READING_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""While a page of runs is read: a server whose disk or processors are busy takes ten times as long."""


def connect(tracking_uri: str, *, create: bool) -> MlflowClient:
    """Return a client for a store that has just answered.

    Args:
        tracking_uri: ``sqlite:////absolute/path.db`` or ``http(s)://host:port``.
        create: make the SQLite file if it is not there. Only one process may do that at a time.

    Raises:
        TrackingError: no such kind of store, no such file or folder, or no answer within seconds.
    """
    scheme = urlsplit(tracking_uri).scheme
    if scheme == "sqlite":
        _check_file(tracking_uri, create=create)
    elif scheme not in ("http", "https") or not urlsplit(tracking_uri).hostname:
        shown = without_password(tracking_uri, tracking_uri)
        raise TrackingError(
            f"tracking store: expected http://HOST:PORT of an MLflow server or sqlite:////ABSOLUTE/FILE.db; "
            f"got {shown!r} - for any other kind of store, start `mlflow server` on it"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
    from mlflow.tracking import MlflowClient

    with talking_to(tracking_uri), _quiet_migrations():
        # Without its own URI the registry would be looked for wherever the environment points.
        client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def talking_to(tracking_uri: str) -> Iterator[None]:
    """Bound the requests inside, and turn whatever goes wrong into a ``TrackingError`` with advice."""
    try:
        with bounded_requests():
            yield
    except TrackingError:
        raise
    except Exception as error:  # whatever a database driver, a proxy or a foreign server comes up with
        raise TrackingError(_unusable(tracking_uri, error)) from error


def is_file(tracking_uri: str) -> bool:
    """Tell a SQLite store on this machine from a server."""
    return tracking_uri.startswith(SQLITE)


def file_of(tracking_uri: str) -> Path:
    """Return the file of a SQLite store."""
    return Path(tracking_uri.removeprefix(SQLITE))


@contextmanager
def bounded_requests() -> Iterator[None]:
    """Let requests of this process fail within seconds; afterwards the environment is as it was.

    May be entered by several threads at a time: the first one in sets, the last one out restores.
    """
    with _patience.waiting():
        yield


def find_experiment(client: MlflowClient, name: str) -> Experiment | None:
    """Return the experiment of a sweep.

    Raises:
        TrackingError: it is in MLflow's trash, where nothing can be added and its name stays taken.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r}: expected an active experiment; got a deleted one - restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`, or give the sweep another name"
        )
    return experiment


def all_runs(client: MlflowClient, experiment_id: str, filter_string: str = "") -> Iterator[Run]:
    """Yield every active run of an experiment, oldest first."""
    token: str | None = None
    while True:
        with bounded_requests(), _reading.waiting():
            page = client.search_runs(
                [experiment_id],
                filter_string,
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
        yield from page
        token = page.token
        if not token:
            return


class _Patience:
    """Sets environment variables while anyone is inside, and counts who is."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._inside = 0
        self._before: dict[str, str | None] = {}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Be inside."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = {name: os.environ.get(name) for name in self._settings}
                os.environ.update(self._settings)
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for name, value in self._before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value


_patience = _Patience(PATIENCE)
_reading = _Patience(READING_PATIENCE)
"""Only ever entered inside the other one, so that what the two restore does not mix."""


@contextmanager
def _quiet_migrations() -> Iterator[None]:
    """Hide the log of MLflow making its tables, which says nothing to a user."""
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_file(tracking_uri: str, *, create: bool) -> None:
    file = file_of(tracking_uri)
    if not is_file(tracking_uri) or not file.is_absolute():
        raise TrackingError(
            f"tracking store: expected an absolute file, sqlite:////ABSOLUTE/FILE.db; got {tracking_uri!r} - "
            f"write {SQLITE}{Path(tracking_uri.removeprefix('sqlite:').lstrip('/')).absolute()}"
        )
    if not create:
        if not file.is_file():
            raise TrackingError(f"tracking store: expected a file {file}; got none - run the sweep first")
        return
    if not file.parent.is_dir():
        raise TrackingError(f"tracking store: expected a folder {file.parent}; got none - create it first")
    try:
        # In the folder, not only the file: SQLite puts a journal beside it.
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise TrackingError(
            f"tracking store: expected a writable folder {file.parent}; got {error.strerror} - "
            f"choose another folder or make this one writable"
        ) from error


def without_password(text: str, tracking_uri: str) -> str:
    """Return the text without the user and password that the address may hold."""
    user, at, _ = urlsplit(tracking_uri).netloc.rpartition("@")
    return text.replace(user + at, "") if user else text


def _unusable(tracking_uri: str, error: Exception) -> str:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if is_file(tracking_uri):
        advice = f"move the file away, or if an older MLflow made it, run `mlflow db upgrade {tracking_uri}`"
    else:
        advice = "check the address, and that `mlflow server` runs there and lets this machine in"
    message = f"tracking store {tracking_uri}: expected MLflow to answer; got {reason[:300]} - {advice}"
    return without_password(message, tracking_uri)
