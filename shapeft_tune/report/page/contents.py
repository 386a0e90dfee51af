"""What a report says, section by section, in the order in which a reader wants it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.figures.pictures import Picture
from shapeft_tune.report.findings import findings, setting_findings, summary
from shapeft_tune.report.hyperparameters.words import findings_on_search
from shapeft_tune.report.methods import methods, sources_of
from shapeft_tune.report.page.parts import (
    Bullets,
    Code,
    Heading,
    Named,
    Part,
    Pictured,
    Recipes,
    Section,
    Sources,
    Tabled,
    Told,
    Words,
)
from shapeft_tune.report.published import NONE_KNOWN, published_for
from shapeft_tune.report.report import Report
from shapeft_tune.report.tables.compared import differences_table, ranks_table, recommendations_table
from shapeft_tune.report.tables.costs import costs_table, fronts_table, missing_table
from shapeft_tune.report.tables.layout import Table
from shapeft_tune.report.tables.literature import published_table
from shapeft_tune.report.tables.results import best_map, classes_table, results_table
from shapeft_tune.report.tables.searches import (
    best_values_table,
    importances_table,
    searched_table,
    searches_table,
)
from shapeft_tune.report.words.gaps import on_their_way

MAP = "map"
"""The picture that answers at a glance."""
DIFFERENCES = "differences"
"""The picture that comes before the table of scores; others of results come after it."""
MIOU = (
    "*mIoU* is the mean of the classes' IoU over those that occur among targets or predictions of the test "
    "folds. Void pixels are left out, and void is never predicted. A class that occurs in neither is left "
    "out of the mean.",
    "*mIoU/20* is the convention of the original study: the sum of the same IoUs over the number of classes "
    "plus one, with void, and any class that does not occur, counted as 0. On PASTIS that is a mean over 20, "
    "at most 0.95. It is always the lower of the two.",
    "Numbers of the two must not be compared with each other, nor with published ones of another protocol.",
)


def contents(report: Report, pictures: Sequence[Picture]) -> tuple[Section, ...]:
    """Return the sections of a report; one about what there is nothing of (yet) is left out.

    Args:
        report: what is told.
        pictures: those that were drawn.
    """
    sections = (
        Section("answer", "The answer", tuple(_answer(report, pictures))),
        Section("results", "Scores", tuple(_results(report, pictures))),
        Section("differences", "Differences between strategies", tuple(_differences(report, pictures))),
        Section("classes", "Classes", tuple(_classes(report, pictures))),
        Section("cost", "Cost", tuple(_cost(report, pictures))),
        Section("hyperparameters", "Hyperparameters", tuple(_hyperparameters(report, pictures))),
        Section("missing", "What is missing", tuple(_missing(report.comparison))),
        Section("reproduce", "Getting these numbers again", tuple(_reproduce(report))),
        Section("methods", "Methods", tuple(_methods(report))),
    )
    return tuple(section for section in sections if section.parts)


def _answer(report: Report, pictures: Sequence[Picture]) -> Iterator[Part]:
    comparison = report.comparison
    of_many = len(comparison.settings) > 1 and any(cell.is_tested for cell in comparison.cells)
    first, *others = summary(comparison) if of_many else findings(comparison)
    yield Words(first, lead=True)
    yield from (Pictured(picture) for picture in pictures if picture.name == MAP)
    yield from _tables(best_map(comparison))
    others += [on_their_way(report.driver)] if report.driver else []
    yield from [Bullets(tuple(others))] if others else []
    told = [each for each in setting_findings(comparison) if each.details]
    if told and len(comparison.settings) > 1:
        yield Heading("Setting by setting", "setting-by-setting")
        yield from _tables(recommendations_table(comparison))
        yield from (Told(each.where, each.headline, each.details) for each in told)


def _results(report: Report, pictures: Sequence[Picture]) -> Iterator[Part]:
    shown = [picture for picture in pictures if picture.section == "results"]
    yield from (Pictured(picture) for picture in shown if picture.name == DIFFERENCES)
    yield Tabled(results_table(report.comparison))
    yield from (Pictured(picture) for picture in shown if picture.name not in (MAP, DIFFERENCES))
    if report.published:
        yield from _published(report)


def _published(report: Report) -> Iterator[Part]:
    found = published_for(report.sweep)
    yield Heading("Published numbers", "published")
    if found:
        yield Tabled(published_table(found))
    else:
        yield Words(NONE_KNOWN)


def _differences(report: Report, pictures: Sequence[Picture]) -> Iterator[Part]:
    comparison = report.comparison
    yield from _pictured(pictures, "differences")
    yield from _tables(differences_table(comparison))
    if ranks := ranks_table(comparison):
        yield Heading("Does the order hold over seeds?", "stability")
        yield Tabled(ranks)


def _classes(report: Report, pictures: Sequence[Picture]) -> Iterator[Part]:
    yield from _pictured(pictures, "classes")
    yield from _tables(classes_table(report.comparison))


def _cost(report: Report, pictures: Sequence[Picture]) -> Iterator[Part]:
    yield from _pictured(pictures, "cost")
    yield from _tables(costs_table(report.comparison), fronts_table(report.comparison))


def _hyperparameters(report: Report, pictures: Sequence[Picture]) -> Iterator[Part]:
    tables = (
        best_values_table(report.comparison),
        importances_table(report.searches),
        searches_table(report.searches),
    )
    if not any(tables):
        return
    if sentences := findings_on_search(report.searches):
        yield Bullets(tuple(sentences))
    yield from _pictured(pictures, "hyperparameters")
    yield from _tables(*tables, searched_table(report.sweep))


def _missing(comparison: Comparison) -> Iterator[Part]:
    if table := missing_table(comparison):
        yield Tabled(table)
        if comparison.is_unfinished:
            yield Words("The same `sweep` command goes on with what is missing.")


def _reproduce(report: Report) -> Iterator[Part]:
    again = report.reproduction
    yield Heading("The whole sweep", "sweep-again")
    yield Words("Save the sweep file, then run, in a home that holds no sweep of this name:")
    yield Code("\n".join(again.commands))
    if again.file:
        yield Code(again.file, f"{again.sweep}.yaml", "The sweep file")
    if again.recipes:
        yield Heading("One number", "one-number")
        yield Words(
            "Each test score is that of one training, which one command repeats. Save the configuration of "
            "its seed from the cell below and train it; a configuration saved from here has the fingerprint "
            "beside it. In the sweep's home the same file is "
            f"`{report.sweep.name}/trials/STRATEGY/FINGERPRINT/config.json`."
        )
        yield Recipes(again.recipes)
    if again.computed_with:
        yield Heading("Computed with", "computed-with")
        yield Named(tuple((name, ", ".join(values)) for name, values in again.computed_with.items()))


def _methods(report: Report) -> Iterator[Part]:
    paragraphs = methods(report)
    found = sources_of(paragraphs)
    for paragraph in paragraphs:
        numbers = ", ".join(str(1 + found.index(source)) for source in paragraph.sources)
        yield Words(f"{paragraph.text} [{numbers}]" if numbers else paragraph.text)
    yield Heading("What the scores mean", "what-the-scores-mean")
    yield Bullets(MIOU)
    yield Heading("Sources", "sources")
    yield Sources(found)


def _pictured(pictures: Sequence[Picture], section: str) -> Iterator[Part]:
    yield from (Pictured(picture) for picture in pictures if picture.section == section)


def _tables(*tables: Table | None) -> Iterator[Part]:
    yield from (Tabled(table) for table in tables if table is not None)
