"""Publications that the methods of a report rest on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A publication."""

    text: str
    """Authors, year, title, where it appeared."""
    address: str
    """Of a page about it."""


PASTIS = Source(
    "V. Sainte Fare Garnot and L. Landrieu (2021). Panoptic segmentation of satellite image time series with "
    "convolutional temporal attention networks. ICCV. (PASTIS, U-TAE)",
    "https://doi.org/10.1109/ICCV48922.2021.00483",
)
OPTUNA = Source(
    "T. Akiba, S. Sano, T. Yanase, T. Ohta and M. Koyama (2019). Optuna: a next-generation hyperparameter "
    "optimization framework. KDD.",
    "https://doi.org/10.1145/3292500.3330701",
)
TPE = Source(
    "J. Bergstra, R. Bardenet, Y. Bengio and B. Kégl (2011). Algorithms for hyper-parameter optimization. "
    "NeurIPS 24.",
    "https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization",
)
CMA_ES = Source(
    "N. Hansen (2016). The CMA evolution strategy: a tutorial. arXiv:1604.00772.",
    "https://arxiv.org/abs/1604.00772",
)
MEDIAN = Source(
    "D. Golovin, B. Solnik, S. Moitra, G. Kochanski, J. Karro and D. Sculley (2017). Google Vizier: a "
    "service for black-box optimization. KDD. (median stopping)",
    "https://doi.org/10.1145/3097983.3098043",
)
ASHA = Source(
    "L. Li, K. Jamieson, A. Rostamizadeh, E. Gonina, J. Ben-Tzur, M. Hardt, B. Recht and A. Talwalkar "
    "(2020). A system for massively parallel hyperparameter tuning. MLSys.",
    "https://arxiv.org/abs/1810.05934",
)
HYPERBAND = Source(
    "L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh and A. Talwalkar (2018). Hyperband: a novel "
    "bandit-based approach to hyperparameter optimization. JMLR 18(185).",
    "https://jmlr.org/papers/v18/16-558.html",
)
BOOTSTRAP = Source(
    "B. Efron and R. J. Tibshirani (1993). An introduction to the bootstrap. Chapman & Hall.",
    "https://doi.org/10.1201/9780429246593",
)
CROSSED = Source(
    "A. B. Owen (2007). The pigeonhole bootstrap. Annals of Applied Statistics 1(2), 386-411.",
    "https://doi.org/10.1214/07-AOAS122",
)
TWO_VARIANCES = Source(
    "G. K. Robinson (1976). Properties of Student's t and of the Behrens-Fisher solution to the two means "
    "problem. Annals of Statistics 4(5), 963-971.",
    "https://doi.org/10.1214/aos/1176343594",
)
FEW = Source(
    "T. C. Hesterberg (2015). What teachers should know about the bootstrap. The American Statistician "
    "69(4), 371-386.",
    "https://doi.org/10.1080/00031305.2015.1089789",
)
HOLM = Source(
    "S. Holm (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
    "Statistics 6(2), 65-70.",
    "https://www.jstor.org/stable/4615733",
)
KENDALL = Source(
    "M. G. Kendall and B. Babington Smith (1939). The problem of m rankings. Annals of Mathematical "
    "Statistics 10(3), 275-287.",
    "https://doi.org/10.1214/aoms/1177732186",
)
FANOVA = Source(
    "F. Hutter, H. Hoos and K. Leyton-Brown (2014). An efficient approach for assessing hyperparameter "
    "importance. ICML.",
    "https://proceedings.mlr.press/v32/hutter14.html",
)
