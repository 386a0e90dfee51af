"""What each test patch was scored under each seed: all that intervals and differences are computed from.

Legend: S seeds, N patches, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from shapeft_tune.scores import Counts


@dataclass(frozen=True, eq=False)
class ScoredPatches:
    """Pixels of every test patch under every seed, as far as scores need them; void is left out.

    A confusion matrix's diagonal and margins are enough for IoU, F1 and accuracy, and take K/3 less room.
    """

    seeds: tuple[int, ...]
    patches: tuple[str, ...]
    """Ids, in the same order for every seed; every test fold's patches where folds rotate."""
    class_names: tuple[str, ...]
    hit_SNK: Counts
    """Pixels of a class that were called it."""
    target_SNK: Counts
    """Pixels of a class."""
    predicted_SNK: Counts
    """Pixels that were called a class."""
