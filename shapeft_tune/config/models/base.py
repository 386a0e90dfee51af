"""What the settings of every network share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from shapeft_tune.config.bands import Sensor
from shapeft_tune.config.base import Frozen, Violation
from shapeft_tune.config.decoding import Decoder, Fusion, LtaeFusion, UperNetDecoder
from shapeft_tune.config.inputs import InputPolicy, Whole
from shapeft_tune.config.tuning import Tuning

Layers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
"""Layers of a transformer, counted from 0, ascending."""


class ModelSettings(Frozen):
    """A network, told apart from others by ``name``."""

    has_pretraining_statistics: ClassVar[bool] = False
    """Whether ``data.normalisation: pretraining`` means something for it."""

    name: Any
    tuning: Tuning
    input: InputPolicy = Whole()

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What a series has to hold for this network; nothing else is read."""
        return ("s2",)

    @property
    def need_of_pretraining_statistics(self) -> str:
        """Why it cannot do without ``data.normalisation: pretraining``; empty where it can."""
        return ""

    @property
    def seen_folds(self) -> tuple[int, ...]:
        """Folds of PASTIS whose labels the pretrained weights were trained on."""
        return ()

    @property
    def size_multiple(self) -> int:
        """The side of what the network sees must be a multiple of this many pixels."""
        return 1

    @property
    def smallest_side(self) -> int:
        """The side of what the network sees must have this many pixels."""
        return self.size_multiple

    def rules(self) -> Iterator[Violation]:
        """A side that is set here fits the network."""
        side = getattr(self.input, "side", None)
        if side and (side % self.size_multiple or side < self.smallest_side):
            expected = f"a multiple of {self.size_multiple} pixels, at least {self.smallest_side}"
            yield Violation("input.side", expected, str(side))


class FoundationSettings(ModelSettings):
    """An encoder on every date, its maps fused over time, and a decoder."""

    temporal: Fusion = LtaeFusion()
    decoder: Decoder = UperNetDecoder()


class LayeredSettings(ModelSettings):
    """An encoder that is a plain stack of layers, of which some are used: their maps have the same size."""

    layers: Layers | None = None
    """Layers, counted from 0, whose outputs the decoder sees; by default four, spread over the depth."""

    @property
    def depth(self) -> int:
        """How many layers the transformer has."""
        raise NotImplementedError

    @property
    def feature_layers(self) -> tuple[int, ...]:
        """The layers whose outputs are used."""
        return self.layers or spread_layers(self.depth)

    def rules(self) -> Iterator[Violation]:
        """Layers exist and ascend."""
        yield from super().rules()
        if self.layers and not ascend_below(self.depth, self.layers):
            yield Violation("layers", f"ascending numbers below {self.depth}", str(list(self.layers)))


class TransformerSettings(LayeredSettings, FoundationSettings):
    """A plain vision transformer as the encoder of single images."""

    @property
    def width(self) -> int:
        """How many channels its maps have."""
        raise NotImplementedError

    def rules(self) -> Iterator[Violation]:
        """The heads of temporal attention share the channels evenly."""
        yield from super().rules()
        if isinstance(self.temporal, LtaeFusion) and self.width % self.temporal.heads:
            yield Violation(
                "temporal.heads",
                f"a divisor of the encoder's channels ({self.width})",
                str(self.temporal.heads),
            )


def chosen_layers(layers: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """Return these layers, or four over the depth; raises ValueError where they do not ascend below it."""
    if layers and not ascend_below(depth, layers):
        raise ValueError(f"layers: expected ascending numbers below {depth}; got {list(layers)}")
    return tuple(layers or spread_layers(depth))


def require_known(value: object, known: Iterable[object], what: str) -> None:
    """Raise ValueError where a setting has none of the known values."""
    if value not in (options := list(known)):
        raise ValueError(f"{what}: expected one of {options}; got {value!r}")


def ascend_below(depth: int, layers: Sequence[int]) -> bool:
    """Return whether layers, counted from 0, exist in a network of this depth and ascend."""
    return list(layers) == sorted(set(layers)) and layers[0] >= 0 and layers[-1] < depth


def spread_layers(depth: int) -> tuple[int, ...]:
    """Return four layers, counted from 0, evenly spread; 12 layers give 2, 5, 8, 11."""
    return tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))
