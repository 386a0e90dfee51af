from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
import yaml

from shapeft_tune.config import SweepConfig, TrialConfig, load_sweep
from shapeft_tune.report import Run
from shapeft_tune.report.figures.pictures import Picture
from shapeft_tune.report.methods import methods
from shapeft_tune.report.page import as_html
from shapeft_tune.report.page.page import SCRIPT, STYLE, breakable, inline
from shapeft_tune.report.report import Report, report_of
from shapeft_tune.report.tables import as_json
from shapeft_tune.report.write import write_files
from shapeft_tune.tune.ledger.generations import numbered
from tests.report.parsed import Element, parsed, rows_of
from tests.report.reports import simulated
from tests.report.synthetic import synthetic_runs, synthetic_sweep

Make = Callable[..., Run]
SEARCH_SPACES = Path(__file__).parents[2] / "search_spaces"


@pytest.fixture(scope="module")
def report() -> Report:
    return simulated(published=True)


@pytest.fixture(scope="module")
def html(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_files(report, tmp_path_factory.mktemp("report")).html.read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Element:
    return parsed(html)


def test_every_number_of_the_table_of_scores_is_the_jsons(report: Report, page: Element) -> None:
    cells = json.loads(as_json(report))["cells"]
    rows = rows_of(page.by_id("table-results"))
    assert len(rows) == len(cells) == 27
    for row, cell in zip(rows, cells, strict=True):
        assert row["strategy"].text == cell["strategy"]
        numbers = {
            "labels": "label_fraction",
            "dates": "temporal_length",
            "test mIoU": "test_miou_mean",
            "mIoU/20": "test_miou_seed20_mean",
            "macro F1": "test_macro_f1_mean",
            "accuracy": "test_overall_accuracy_mean",
            "val mIoU": "val_miou_best",
            "seeds": "confirmation_trials",
            "trials": "search_trials",
            "pruned": "pruned_trials",
        }
        for heading, name in numbers.items():
            assert float(row[heading].attributes["data-value"]) == cell[name], heading
        for heading in ("test mIoU", "mIoU/20", "macro F1", "accuracy", "val mIoU"):
            assert row[heading].text == f"{cell[numbers[heading]]:.3f}"
        assert row["95 % interval"].text == f"{cell['test_miou_low']:.3f}–{cell['test_miou_high']:.3f}"


def test_every_number_of_the_other_tables_is_the_jsons(report: Report, page: Element) -> None:
    content = json.loads(as_json(report))
    for row, told in zip(rows_of(page.by_id("table-differences")), content["differences"], strict=True):
        assert float(row["difference"].attributes["data-value"]) == told["mean"]
        assert float(row["p"].attributes["data-value"]) == told["p_value"]
        assert row["verdict"].text == told["verdict"]
        assert (
            row["interval"].text.replace("\N{MINUS SIGN}", "-")
            == f"{told['low']:+.3f} to {told['high']:+.3f}"
        )
    for row, cell in zip(rows_of(page.by_id("table-costs")), content["cells"], strict=True):
        assert float(row["device hours"].attributes["data-value"]) == cell["device_hours"]
        assert float(row["parameters trained"].attributes["data-value"]) == cell["trainable_parameters"]
    for row, cell in zip(rows_of(page.by_id("table-classes")), content["cells"], strict=True):
        for name, iou in cell["test_iou"].items():
            assert float(row[name].attributes["data-value"]) == iou["mean"]
            assert row[name].all("small")[0].text == f"{iou['low']:.2f}–{iou['high']:.2f}"
    rows = rows_of(page.by_id("table-recommendations"))
    assert [row["recommended"].text for row in rows] == [each["best"] for each in content["recommendations"]]


def test_the_page_loads_nothing_from_anywhere(html: str, page: Element) -> None:
    for element in page.all():
        for name in ("src", "srcset", "poster", "data", "action"):
            assert element.attributes.get(name, "data:").startswith("data:"), element.tag
        if element.tag != "a":
            assert element.attributes.get("href", "data:,") == "data:,", element.tag
        assert not [name for name in element.attributes if name.startswith("on")]
    for part in ("style", "script"):
        (inside,) = page.all(part)
        assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttp|import\(", inside.text)
    assert len(html) < 5_000_000


def test_its_policy_allows_its_own_style_and_script_alone(page: Element) -> None:
    (policy,) = [each for each in page.all("meta") if "http-equiv" in each.attributes]
    content = policy.attributes["content"]
    assert content.startswith("default-src 'none';")
    assert "unsafe" not in content
    for part in ("style", "script"):
        (inside,) = page.all(part)
        digest = base64.b64encode(hashlib.sha256(inside.text.encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in content


def test_names_in_the_page_are_unique_and_all_that_is_referred_to_is_there(page: Element) -> None:
    ids = [each.attributes["id"] for each in page.all() if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        if link.attributes["href"].startswith("#"):
            assert link.attributes["href"][1:] in ids
    for element in page.all():
        if "aria-labelledby" in element.attributes:
            assert element.attributes["aria-labelledby"] in ids


def test_it_can_be_read_by_ear(page: Element) -> None:
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    levels = [int(each.tag[1]) for each in page.all() if re.fullmatch("h[1-6]", each.tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for table in page.all("table"):
        assert table.all("caption")[0].text
        assert all(cell.attributes.get("scope") == "col" for cell in table.all("thead")[0].all("th"))
        assert all(row.all("th")[0].attributes["scope"] == "row" for row in table.all("tbody")[0].all("tr"))
    assert page.all("img")
    for image in page.all("img"):
        assert image.attributes["alt"]
    for button in page.all("button"):
        assert button.text.strip()


def test_each_picture_is_there_and_is_an_svg(page: Element, report: Report) -> None:
    pictures = page.all("img")
    for picture in pictures:
        kind, content = picture.attributes["src"].split(",", 1)
        assert kind == "data:image/svg+xml;charset=utf-8"
        assert "#" not in content  # of an address, what follows is left out
        assert ElementTree.fromstring(unquote(content)).tag == "{http://www.w3.org/2000/svg}svg"
        assert int(picture.attributes["width"]) > 200
    names = [each.attributes["id"] for each in page.all("figure") if each.attributes["class"] == "picture"]
    assert names[0] == "figure-map"
    assert len(names) == len(pictures)


@pytest.fixture
def hostile(sweep: SweepConfig, run: Make) -> Report:
    """Return a report with markup wherever a user's text or a file's name gets into it."""
    evil = "<script>alert('&')</script><img src=x onerror=alert(1)> *a* `b` [c](#d) \"'"
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    asking = SweepConfig.model_validate(fields | {"question": evil})
    runs = [run(1e-3, best__val_miou=0.5, test__miou=0.4), run(1e-3, 1, test__miou=0.4)]
    made = report_of(asking, runs)
    cells = [
        replace(cell, test_iou=_renamed(evil), best_config={evil: evil}) for cell in made.comparison.cells
    ]
    again = replace(made.reproduction, computed_with={evil: (evil,)})
    comparison = replace(made.comparison, sweep=evil, cells=tuple(cells))
    return replace(made, comparison=comparison, reproduction=again)


def _renamed(name: str) -> dict[str, object]:
    from shapeft_tune.report.comparison import ClassScore

    return {name: ClassScore(0.5, 0.4, 0.6)}


def test_markup_in_a_users_text_is_shown_and_not_run(hostile: Report) -> None:
    picture = Picture("map", "results", hostile.comparison.question, lambda _: None)
    page = parsed(as_html(hostile, {picture: '<svg width="300pt">"><script>alert(1)</script></svg>'}))
    assert len(page.all("script")) == 1
    assert [image.attributes["src"][:5] for image in page.all("img")] == ["data:"]
    assert hostile.comparison.question in page.text
    (asked,) = [each for each in page.all("p") if each.attributes.get("class") == "question"]
    assert asked.text == hostile.comparison.question


def test_a_sweep_without_trials_has_a_page_that_says_so(sweep: SweepConfig) -> None:
    page = parsed(as_html(report_of(sweep, [])))
    assert "Unfinished." in page.text
    assert "no result yet" in page.text
    assert "12 search trials" in page.text
    titles = [each.text for each in page.all("h2")]
    assert titles == ["The answer", "Scores", "What is missing", "Getting these numbers again", "Methods"]
    assert {row["test mIoU"].text for row in rows_of(page.by_id("table-results"))} == {"–"}


def test_an_unfinished_sweep_reports_what_is_there_and_what_is_missing() -> None:
    report = simulated(keep=1 / 3)  # a cell's trials follow each other: nine cells are there as a whole
    page = parsed(as_html(report))
    assert "Unfinished." in page.text
    scores = [row["test mIoU"].text for row in rows_of(page.by_id("table-results"))]
    assert "–" not in scores[:9]
    assert set(scores[9:]) == {"–"}
    missing = rows_of(page.by_id("table-missing"))
    assert {(row["missing trials"].text, row["missing seeds"].text) for row in missing} == {("6", "3")}
    assert len(missing) == 18


@pytest.mark.parametrize("lacking", ["missing_search_trials", "missing_confirmations"])
def test_one_trial_of_either_kind_to_come_makes_a_sweep_unfinished(lacking: str) -> None:
    whole = simulated()
    first, *others = whole.comparison.cells
    cells = (replace(first, **{lacking: 1}), *others)
    page = parsed(as_html(replace(whole, comparison=replace(whole.comparison, cells=cells))))
    assert "Unfinished." in page.text


def test_a_finished_sweep_misses_nothing(page: Element) -> None:
    assert "Unfinished" not in page.text
    assert "missing" not in [each.attributes.get("id") for each in page.all("section")]


def test_a_single_strategy_is_compared_with_nothing() -> None:
    page = parsed(as_html(simulated(strategies=("utae",))))
    sections = [each.attributes["id"] for each in page.all("section")]
    assert "differences" not in sections
    assert {"answer", "results", "classes", "cost", "methods"} <= set(sections)


def test_one_seed_has_no_interval_on_the_page() -> None:
    sweep = synthetic_sweep(("utae", "croma_frozen"), seeds=1)
    page = parsed(as_html(report_of(sweep, synthetic_runs(sweep))))
    assert {row["95 % interval"].text for row in rows_of(page.by_id("table-results"))} == {"–"}
    assert {row["verdict"].text for row in rows_of(page.by_id("table-differences"))} == {"too few seeds"}
    assert {row["p"].text for row in rows_of(page.by_id("table-differences"))} == {"–"}


def test_a_configuration_on_the_page_with_a_repeats_seed_and_folds_is_that_repeat(page: Element) -> None:
    sweep = synthetic_sweep()
    runs = {run.facts.fingerprint: run for run in synthetic_runs(sweep) if run.facts.seed}
    seen = 0
    for recipe in [each for each in page.all("details") if each.attributes.get("class") == "recipe"]:
        (shown,) = [each for each in recipe.all("code") if each.attributes.get("class") == "config"]
        for button in [each for each in recipe.all("button") if "data-recipe" in each.attributes]:
            config = json.loads(shown.text)
            config["seed"] = int(button.attributes["data-seed"])
            config["data"]["folds"] = json.loads(button.attributes["data-folds"])
            assert runs[TrialConfig.model_validate(config).fingerprint()].facts.config == config
            seen += 1
    assert seen == 27 * 3


def test_each_repeat_has_a_file_of_its_own_and_a_command_that_trains_it() -> None:
    several = simulated()
    repeat = several.reproduction.recipes[0].repeats[0]
    moved = replace(repeat, folds={**repeat.folds, "test": [1, 2]})
    rotated = replace(several.reproduction.recipes[0], repeats=(repeat, moved))
    fixed = replace(rotated, repeats=(repeat, replace(repeat, seed=7)))
    name, folds = rotated.name, f"test{repeat.test_folds}"
    for recipe, endings in (
        (fixed, [f"seed{repeat.seed}", "seed7"]),
        (rotated, [f"seed{repeat.seed}-{folds}", f"seed{repeat.seed}-test1+2"]),
    ):
        files = [f"{name}-{ending}.json" for ending in endings]
        html = as_html(replace(several, reproduction=replace(several.reproduction, recipes=(recipe,))))
        buttons = [each.attributes.get("data-recipe") for each in parsed(html).all("button")]
        assert [file for file in buttons if file] == files
        for file in files:
            assert f"shapeft_tune train {file} --data FOLDER --test\n" in html.replace("</code>", "\n")


def test_a_recipe_tells_the_fingerprint_of_each_of_its_repeats() -> None:
    sweep = synthetic_sweep(("utae",), seeds=1, folds="rotate")
    for recipe in report_of(sweep, synthetic_runs(sweep)).reproduction.recipes:
        assert len(recipe.repeats) == 5
        for repeat in recipe.repeats:
            trial = TrialConfig.model_validate(recipe.config_of(repeat))
            assert trial.fingerprint() == repeat.fingerprint


@pytest.mark.parametrize("name", sorted(path.name for path in SEARCH_SPACES.glob("*.yaml")))
def test_the_sweep_file_on_the_page_declares_the_same_sweep(name: str, tmp_path: Path) -> None:
    declared = load_sweep(SEARCH_SPACES / name)
    page = parsed(as_html(report_of(declared, [])))
    (shown,) = [each for each in page.all("pre") if each.text.startswith(f"name: {declared.name}")]
    (tmp_path / "again.yaml").write_text(shown.text)
    assert load_sweep(tmp_path / "again.yaml") == declared


def test_a_generations_file_and_commands_are_those_that_start_it_in_a_fresh_home(tmp_path: Path) -> None:
    declared = load_sweep(SEARCH_SPACES / "quickstart.yaml")
    again = report_of(numbered(declared, 2), []).reproduction
    (tmp_path / "again.yaml").write_text(again.file)
    assert load_sweep(tmp_path / "again.yaml") == declared
    assert again.commands == report_of(declared, []).reproduction.commands
    page = parsed(as_html(report_of(numbered(declared, 2), [])))
    saved = [each.attributes["data-save"] for each in page.all("button") if "data-save" in each.attributes]
    assert saved == ["quickstart.yaml"]


@pytest.mark.parametrize("name", sorted(path.name for path in SEARCH_SPACES.glob("*.yaml")))
def test_the_methods_name_what_the_sweep_declares(name: str) -> None:
    declared = load_sweep(SEARCH_SPACES / name)
    text = " ".join(paragraph.text for paragraph in methods(report_of(declared, [])))
    for strategy in declared.strategies:
        assert strategy in text
    assert f"up to {declared.budget.trials} configuration" in text
    assert ("confusion matrices" in text) is (declared.folds == "rotate")
    assert f"{declared.budget.confirmation_seeds} other seed" in text
    assert "None" not in text
    assert "{" not in text


def test_methods_say_that_the_recommended_strategy_is_chosen_by_its_test_score() -> None:
    text = " ".join(paragraph.text for paragraph in methods(simulated()))
    assert "As that score chose it, its mean is a little too high" in text
    assert "The p values of all these pairs, in all settings, are adjusted together" in text


def test_methods_leave_out_what_a_sweep_searches() -> None:
    searching = SweepConfig.model_validate(
        yaml.safe_load(
            """
            name: one
            base: {data: {dataset: sample}, training: {steps: 500}, validation: {every: 50}}
            settings: {label_fractions: [1.0], temporal_lengths: [6]}
            strategies: {utae: {config: {model: utae}}}
            search: {training.steps: {choice: [500, 900]}, data.labels: {choice: [stratified, random]}}
            budget: {trials: 3, confirmation_seeds: 2, steps: 4000}
            """
        )
    )
    text = " ".join(paragraph.text for paragraph in methods(report_of(searching, [])))
    assert "500 optimiser steps" not in text
    assert "stratified" not in text
    assert "ended early at 4000 optimiser steps" in text
    assert "compared with" not in text


def test_emphasis_code_and_links_are_the_only_markup_of_words() -> None:
    assert inline("*a b* and `c` <i> 2*3*4 [x](#y-z) [x](http://y)") == (
        '<em>a b</em> and <code>c</code> &lt;i&gt; 2*3*4 <a href="#y-z">x</a> [x](http://y)'
    )


def test_a_long_name_can_be_broken_and_loses_nothing() -> None:
    for name in ("croma_frozen", "a" * 64, "__odd--", "<b>&", "x"):
        shown = parsed(f"<p>{breakable(name)}</p>")
        assert shown.text == name
    assert str(breakable("croma_frozen")) == "croma_<wbr>frozen"
    assert str(breakable("a" * 30)).count("<wbr>") == 2


def test_the_assets_are_package_data() -> None:
    """They are read as what an installed package has, and lie in the folder that the wheel takes whole."""
    folder = Path(__file__).parents[2] / "shapeft_tune" / "report" / "page"
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'packages = ["shapeft_tune"]' in project
    for name in (STYLE, SCRIPT, "page.html.j2"):
        assert (folder / name).is_file()


def test_what_trials_were_computed_with_is_told_with_every_value_that_occurs(
    sweep: SweepConfig, run: Make
) -> None:
    told = [
        replace(run(lr, best__val_miou=0.5), environment={"device": device, "version.torch": "2.9"})
        for lr, device in ((1e-3, "cpu"), (2e-3, "NVIDIA H100"), (3e-3, "cpu"))
    ]
    found = report_of(sweep, told).reproduction.computed_with
    assert found["device"] == ("NVIDIA H100", "cpu")
    assert found["version.torch"] == ("2.9",)
    page = parsed(as_html(report_of(sweep, told)))
    assert "NVIDIA H100, cpu" in page.text


def test_every_version_that_is_known_is_shown_in_alphabetical_order(sweep: SweepConfig, run: Make) -> None:
    packages = ("torch", "ray", "mlflow", "optuna", "numpy")
    known = {f"version.{name}": "1.0" for name in packages}
    told = replace(run(1e-3, best__val_miou=0.5), environment=known | {"device": "cpu"})
    page = parsed(as_html(report_of(sweep, [told])))
    names = [each.text for each in page.all("dt") if each.text.startswith("version.")]
    assert names == [f"version.{name}" for name in sorted(packages)]
