"""Finding trials that were stored."""

from __future__ import annotations

import glob
from pathlib import Path

from shapeft_tune.errors import UserError
from shapeft_tune.train.trial import CONFIG_FILE


def find_trial(name: str, home: Path) -> Path:
    """Return the folder of a stored trial.

    Args:
        name: the folder itself, or the first digits of the trial's fingerprint.
        home: where trials are looked for.

    Raises:
        UserError: none, or more than one.
    """
    if (Path(name) / CONFIG_FILE).is_file():
        return Path(name)
    start = glob.escape(name)
    places = (f"*/trials/*/{start}*/{CONFIG_FILE}", f"single/{start}*/{CONFIG_FILE}")
    found = [] if "/" in name else sorted(path.parent for place in places for path in home.glob(place))
    if len(found) == 1:
        return found[0]
    listed = "".join(f"\n  {path}" for path in found[:10])
    raise UserError(
        f"{name}: expected a trial's folder or the first digits of one fingerprint in {home}; "
        f"found {len(found) or 'none'}{listed}"
    )
