"""The one promise every network keeps, so that no other code ever asks a model for its name.

Shape suffixes: B batch, T dates, C bands or channels, H W pixels, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from shapeft_tune.config.bands import BandStatistics


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr_ratio: float
    """Learning rate = this x the optimiser's."""


class Segmenter(nn.Module, ABC):
    """A network from a series of images to one class map."""

    pieces: int = 1
    """In how many pieces a batch is encoded, one after another; 1 for all at once."""

    @abstractmethod
    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W] of each patch; under autocast they may be in half precision.

        ``images_BTCHW``: float32, normalised, the bands of the settings' sensors (``config.bands.bands_of``).
        ``days_BT``: int64, days since a 1 September. ``valid_BT``: bool, False where a date is padding.
        Padded dates change nothing, whatever they hold; every patch has at least one valid date. The order
        of the dates does not matter.
        """

    def set_progress(self, share: float) -> None:
        """Tell how much of the budget is done, from 0 to 1, before a step of training."""

    def most_pieces(self, patches: int, dates: int) -> int:
        """Return in how many pieces a batch can be encoded now; by default there is nothing to cut.

        For a network whose memory is taken by what sees single dates or patches: see ``models/pieces.py``.
        """
        return 1

    def set_pieces(self, count: int) -> None:
        """Encode each batch in this many pieces from now on, or in fewer where it has fewer parts.

        The result stays the same within rounding; memory falls, time rises.
        """
        self.pieces = count

    @property
    def pretraining_statistics(self) -> BandStatistics | None:
        """Statistics of the bands in the network's pretraining; None where there was none."""
        return None

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return every trainable parameter exactly once; by default in one group."""
        return [ParameterGroup("model", trainable(self.parameters()), lr_ratio=1.0)]

    @property
    def trainable_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for group in self.parameter_groups() for parameter in group.parameters)


def trainable(parameters: Iterable[nn.Parameter]) -> tuple[nn.Parameter, ...]:
    """Return those that ask for a gradient."""
    return tuple(parameter for parameter in parameters if parameter.requires_grad)
