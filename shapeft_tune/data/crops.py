"""How the generated sample's crops grow and what they look like from above: calendars and spectra.

Calendars follow common farming practice in France; spectra are rounded typical values of Sentinel-2 surface
reflectance over Western Europe.

Legend: T frames, C bands. Days are days since 1 September 2018: 61 is 1 November, 122 1 January, 212 1 April,
242 1 May, 273 1 June, 303 1 July, 334 1 August, 365 1 September, 395 1 October.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPECTRA: dict[str, Floats] = {
    name: np.array(values, dtype=np.float64)
    for name, values in {
        #              B02   B03   B04   B05   B06   B07   B08   B8A   B11   B12, reflectance x 10000
        "cereal": (330, 570, 330, 820, 3000, 4400, 4700, 4800, 1550, 740),
        "grass": (370, 650, 420, 980, 3000, 4050, 4400, 4450, 1800, 920),
        "broadleaf": (370, 670, 400, 1000, 3150, 4400, 4650, 4750, 1850, 930),
        "vine leaf": (430, 730, 520, 1120, 2700, 3500, 3700, 3800, 2000, 1150),
        "forest": (230, 420, 260, 690, 2050, 2600, 2800, 2900, 1350, 620),
        "straw": (850, 1230, 1650, 2030, 2480, 2750, 2900, 3050, 3350, 2500),
        "soil": (620, 900, 1150, 1430, 1850, 2040, 2150, 2230, 2300, 1750),
        "rapeseed in flower": (450, 1200, 1080, 1700, 3300, 4200, 4500, 4600, 2000, 1050),
        "buildings": (1050, 1250, 1380, 1580, 1900, 2080, 2200, 2300, 2350, 2050),
        "water": (420, 450, 330, 280, 230, 210, 190, 180, 110, 70),
    }.items()
}


@dataclass(frozen=True)
class Flush:
    """A rise and a fall of green cover, each logistic (the usual double-logistic model of phenology)."""

    rise: float
    """Day of half the rise."""
    fall: float
    """Day of half the fall."""
    cover: float
    """Share of the ground that is green in between."""
    rise_width: float = 9.0
    """Days; from a tenth to nine tenths it takes 4.4 times this."""
    fall_width: float = 7.0

    def at(self, days_T: Floats) -> Floats:
        """Return the green cover on these days."""
        return (
            self.cover
            * _risen(days_T, self.rise, self.rise_width)
            * _left(days_T, self.fall, self.fall_width)
        )


@dataclass(frozen=True)
class Growth:
    """One kind of land cover: its PASTIS class, how common it is, and its year."""

    name: str
    label: int
    share: float
    """Share of the parcels."""
    leaf: str
    flushes: tuple[Flush, ...]
    ground: str = "soil"
    """What is seen between the leaves."""
    sown: float | None = None
    """Day before which an arable field bears the previous crop's remains; None where nothing is sown."""
    straw: float = 0.0
    """Share of the ground under dry matter from ripening until the field is worked."""
    flower: tuple[str, float, float] | None = None
    """Spectrum, first and last day of flowers."""
    cuts: tuple[float, ...] = ()
    """Days of mowing."""


def _evergreen(cover: float) -> Flush:
    return Flush(-999, 9999, cover)


# Shares keep the order of PASTIS's: meadow, wheat and corn dominate, the others are rare. Only nine of the
# nineteen classes occur: a small network learns them in a minute, and a small subset of labels lacks some.
GROWTHS = (
    Growth("evergreen wood", 0, 0.05, "forest", (_evergreen(0.95),)),
    Growth("deciduous wood", 0, 0.05, "forest", (_evergreen(0.5), Flush(230, 420, 0.45, 8, 9))),
    Growth("village", 0, 0.04, "grass", (_evergreen(0.15),), ground="buildings"),
    Growth("water", 0, 0.02, "forest", (), ground="water"),
    Growth(
        "meadow",
        1,
        0.28,
        "grass",
        (Flush(-60, 480, 0.72, 20, 20), Flush(203, 430, 0.22, 14, 25)),
        cuts=(268, 322),
    ),
    Growth(
        "soft winter wheat",
        2,
        0.19,
        "cereal",
        (Flush(95, 303, 0.30, 14, 7), Flush(203, 303, 0.62, 11, 7)),
        sown=50,
        straw=0.75,
    ),
    Growth("corn", 3, 0.17, "broadleaf", (Flush(290, 380, 0.92, 7, 8),), sown=235, straw=0.5),
    Growth(
        "winter barley",
        4,
        0.065,
        "cereal",
        (Flush(80, 279, 0.34, 12, 7), Flush(197, 279, 0.58, 10, 7)),
        sown=38,
        straw=0.75,
    ),
    Growth(
        "winter rapeseed",
        5,
        0.05,
        "broadleaf",
        (Flush(32, 290, 0.55, 9, 8), Flush(195, 290, 0.36, 9, 8)),
        sown=5,
        straw=0.6,
        flower=("rapeseed in flower", 224, 250),
    ),
    Growth("sunflower", 7, 0.035, "broadleaf", (Flush(270, 343, 0.90, 7, 7),), sown=222, straw=0.55),
    Growth("grapevine", 8, 0.05, "vine leaf", (_evergreen(0.10), Flush(250, 412, 0.55, 11, 9))),
    Growth("beet", 9, 0.04, "broadleaf", (Flush(276, 430, 0.95, 9, 6),), sown=205),
)
TRACK = Growth("track and hedge", 0, 0.0, "forest", (_evergreen(0.35), Flush(230, 410, 0.25, 10, 12)))


def grown(growth: Growth, days_T: Floats, shift: float, chance: np.random.Generator) -> Floats:
    """Return the reflectance [T, C] of one parcel whose grower is ``shift`` days late.

    Chance decides vigour, soil, what stood there before and after, and when the field is worked.
    """
    late_T = days_T - shift
    vigour = chance.uniform(0.84, 1.07)
    green_T = vigour * sum((flush.at(late_T) for flush in growth.flushes), np.zeros_like(days_T))
    for cut in growth.cuts:
        since_T = days_T - cut - chance.normal(0, 12)
        green_T *= 1 - 0.55 * np.exp(-np.maximum(since_T, 0) / 16) * (since_T >= 0)
    dry_T = np.zeros_like(days_T)
    if growth.sown is not None:
        ripe = growth.flushes[-1].fall
        worked = ripe + 45 + chance.uniform(0, 50)
        dry_T += growth.straw * _risen(late_T, ripe, 7) * _left(late_T, worked, 3)
        green_T += _cover_before(growth.sown, chance).at(late_T)
        green_T += Flush(worked + 25, 600, chance.choice([0.0, 0.0, 0.3, 0.6])).at(late_T)
        dry_T += chance.uniform(0, 0.5) * _left(late_T, min(30.0, growth.sown), 5)  # the last crop's stubble
    return _mixed(growth, np.clip(green_T, 0, 0.98), dry_T, late_T, chance)


def _cover_before(sown: float, chance: np.random.Generator) -> Flush:
    """Return the weeds or the cover crop of the first autumn, ploughed in three weeks before sowing or so."""
    cover = chance.choice([0.0, 0.0, 0.0, 0.25, 0.5])
    return Flush(chance.uniform(10, 60), min(sown - chance.uniform(10, 40), 185), cover, 9, 5)


def _mixed(
    growth: Growth, green_T: Floats, dry_T: Floats, late_T: Floats, chance: np.random.Generator
) -> Floats:
    """Mix leaves, dry matter and ground by their share of the surface; each parcel with its own soil."""
    leaf_TC = np.broadcast_to(SPECTRA[growth.leaf], (len(late_T), len(SPECTRA["soil"])))
    if growth.flower:
        name, first, last = growth.flower
        bloom_T1 = (_risen(late_T, first, 3) * _left(late_T, last, 3))[:, None]
        leaf_TC = (1 - bloom_T1) * leaf_TC + bloom_T1 * SPECTRA[name]
    ground_C = SPECTRA[growth.ground] * chance.uniform(0.7, 1.15)
    dry_T = np.minimum(dry_T, 1 - green_T)
    bare_T = 1 - green_T - dry_T
    own_C = chance.lognormal(0, 0.06) * chance.lognormal(0, 0.04, len(ground_C))
    return own_C * (
        green_T[:, None] * leaf_TC + dry_T[:, None] * SPECTRA["straw"] + bare_T[:, None] * ground_C
    )


def _risen(days_T: Floats, day: float, width: float) -> Floats:
    return 1 / (1 + np.exp(-np.clip((days_T - day) / width, -50, 50)))


def _left(days_T: Floats, day: float, width: float) -> Floats:
    return 1 - _risen(days_T, day, width)
