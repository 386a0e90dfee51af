"""Telling the spool what the ledger knows and it does not: of a home whose spool is lost, or young.

What the ledger holds of a trial is less than what its driver told: of the curves the validation mIoU alone,
and no place. Scores, cost and files are the whole.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from shapeft_tune.tracking.facts import Key, SweepEnding
from shapeft_tune.tracking.spooling.fact_lines import Kind, end_content, key_of
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE, Spool, spool_lines
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from shapeft_tune.tune.orders import trial_folder
from shapeft_tune.tune.recording import end_of, facts_of


def retell(ledger: Ledger, folder: Path) -> int:
    """Write into the spool every trial that has ended and whose end it lacks; return how many these are.

    Nobody may run the sweep.

    Args:
        ledger: opened for looking.
        folder: the sweep's, with its spool, if there is one, and its trials.
    """
    told = _ended_in(folder / SPOOL_FILE)
    lacking = [
        trial
        for trial in ledger.trials()
        if trial.state is not State.RUNNING and key_of(facts_of(ledger.sweep.name, trial)) not in told
    ]
    if lacking:
        spool = Spool(folder)
        try:
            for trial in lacking:
                _retell(trial, ledger, spool)
            if all(trial.state is not State.RUNNING for trial in ledger.trials()):
                last_ms = max(_ms(trial.ended) for trial in ledger.trials())
                spool.append(Kind.CLOSED, last_ms, ending=str(SweepEnding.FINISHED))
        finally:
            spool.close()
    return len(lacking)


def _ended_in(file: Path) -> set[Key]:
    lines = (each.line for each in spool_lines(file)) if file.exists() else ()
    return {line.key for line in lines if line.kind is Kind.ENDED and line.key}


def _retell(trial: LedgerTrial, ledger: Ledger, spool: Spool) -> None:
    facts = facts_of(ledger.sweep.name, trial)
    end_ms = _ms(trial.ended)
    spool.append(Kind.STARTED, _ms(trial.began) or end_ms, facts)
    for step, miou in sorted(ledger.cells[trial.cell.key].curve(trial).items()):
        spool.append(Kind.PROGRESS, end_ms, facts, step=step, metrics={"val/miou": miou})
    home = trial_folder(spool.folder, trial.cell.strategy, trial.fingerprint)
    end = end_of(trial, trial.state, trial.message, home)
    spool.append(Kind.ENDED, end_ms, facts, end=end_content(end, spool.folder))


def _ms(time: datetime | None) -> int:
    return int(time.timestamp() * 1000) if time else 0
