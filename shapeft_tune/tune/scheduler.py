"""Where Ray Tune asks this project: what to run next, and whether to go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from shapeft_tune.tune.driver import Driver


class LedgerSearcher(Searcher):  # type: ignore[misc]
    """Hands out the driver's next order. Keeps nothing that a dead driver would take with it."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self._driver = driver

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return an order, None to be asked again later, or FINISHED."""
        order = self._driver.next_order(trial_id)
        if order:
            return order.to_ray()
        return self.FINISHED if self._driver.done else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the driver that a trial is over, however it ended."""
        self._driver.ended(trial_id, section(result or {}, "outcome"))

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher for a restore of its own, which is never used

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Never used: a sweep is continued by running it again."""


class LedgerScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes each validation to the driver, which asks the pruner of the trial's cell."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self._driver = driver

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as for the searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the trial goes on."""
        if begun := section(result, "begun"):
            self._driver.began(trial.trial_id, **begun)
        metrics = section(result, "metrics")
        if not metrics:  # the first and the last word of a trial are no validations
            return str(self.CONTINUE)
        stop = self._driver.progressed(
            trial.trial_id,
            int(result["step"]),
            int(result["steps"]),
            float(result["seconds"]),
            metrics,
            int(result.get("disk_bytes", 0)),
            int(result.get("kept_bytes", 0)),
        )
        return str(self.STOP if stop else self.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the trial that waits longest, looking at living ones only: the dead become thousands."""
        living = tune_controller.get_live_trials()
        waiting = {trial.trial_id: trial for trial in living if trial.status == "PENDING"}
        return next((waiting[ray_id] for ray_id in self._driver.handed_out if ray_id in waiting), None)


def section(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return one part of what a worker reported; Tune hands results over flat, as ``name/key``."""
    return {
        key.removeprefix(f"{name}/"): value for key, value in result.items() if key.startswith(f"{name}/")
    }
