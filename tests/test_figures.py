"""Tests of the door to the figures: which files there are, what their bytes hold, and what is refused."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from predicted_games import predictions, without_odds
from sweeproute import figure_bankroll, figure_reliability, figure_roc
from sweeproute.figures import DRAWN as FOLDER
from sweeproute.figures import MOST_CURVES, NAMES, Curve, FigureError, draw_figures, keep

# Says the bytes' hashes of what it draws of two models.
DRAWN = """
import hashlib, pathlib, sys
from predicted_games import predictions
from sweeproute.figures import Curve, draw_figures
curves = [Curve("random_forest", predictions(noise=0.3)), Curve("Müller", predictions(noise=0.9, seed=1))]
for path in draw_figures(curves, pathlib.Path(sys.argv[1])):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def models(count: int) -> list[Curve]:
    return [Curve(f"model {number}", predictions(noise=0.2 + 0.1 * number, seed=number)) for number in range(count)]


def test_each_figure_is_there_in_both_forms_and_nothing_else(tmp_path):
    folder = tmp_path / "new" / "figures"
    made = draw_figures(models(2), folder)
    assert [path.name for path in made] == [f"{name}.{kind}" for name in NAMES for kind in ("pdf", "png")]
    assert sorted(made) == sorted(folder.iterdir())
    for path in made:
        assert path.read_bytes().startswith(b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")


def test_two_processes_draw_the_same_bytes_whatever_their_settings_are(tmp_path):
    (tmp_path / "matplotlibrc").write_text(
        "lines.linewidth: 9\naxes.edgecolor: red\nxtick.direction: in\nsavefig.dpi: 30\n"
    )
    said = []
    for number, more in enumerate(({}, {"MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "1"})):
        done = subprocess.run(
            [sys.executable, "-c", DRAWN, str(tmp_path / str(number))],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        said.append(done.stdout)
    assert said[0] == said[1]
    assert said[0].count("\n") == 2 * len(NAMES)


def test_they_are_as_wide_as_was_asked_for_and_their_letters_are_truetype(tmp_path):
    made = draw_figures(models(1), tmp_path, width=5.0)
    for path in made:
        if path.suffix == ".png":
            assert Image.open(path).width == 5 * 160
        else:
            text = path.read_bytes()
            assert b"/MediaBox [ 0 0 360 " in text
            assert b"/Type3" not in text
            assert b"/CIDFontType2" in text
            assert b"/FontFile2" in text
            assert b"Date" not in text


def test_as_many_models_as_may_be_are_drawn_whatever_their_labels(tmp_path):
    labels = ["_hidden", "100 % & more $x$", "a_b^c~{d}\\e|<f>", "Wörter, 日本", "w" * 90, "long " * 20, "\x07\n\t-"]
    curves = [
        Curve(labels[number] if number < len(labels) else one.label, one.predictions)
        for number, one in enumerate(models(MOST_CURVES))
    ]
    assert len(draw_figures(curves, tmp_path)) == 2 * len(NAMES)


def test_one_season_one_game_and_no_odds_are_drawn(tmp_path):
    whole = predictions()
    for frame in (whole[whole["season"] == 2019], whole[:1], without_odds(whole), whole.assign(week=None)):
        assert len(draw_figures([Curve("a", frame)], tmp_path)) == 2 * len(NAMES)


def test_a_model_that_gives_stakes_is_drawn_by_its_bets_alone(tmp_path):
    bettor = Curve("bets", predictions().assign(probability=np.nan))
    assert not bettor.forecasts
    for curves in ([bettor], [Curve("a", predictions()), bettor]):
        assert len(draw_figures(curves, tmp_path)) == 2 * len(NAMES)
    both, alone = (figure_roc.roc(curves, 6.0) for curves in ([Curve("a", predictions()), bettor], [bettor]))
    assert [len(one.axes[0].lines) for one in (both, alone)] == [2, 1]
    assert [text.get_text() for text in alone.axes[0].texts] == ["no model gives probabilities"]
    panels = figure_reliability.reliability([bettor, Curve("a", predictions())], 6.0).axes
    assert len(panels) == 2
    flat, kelly = figure_bankroll.bankrolls([bettor], 6.0).axes
    assert len(flat.lines) > 0
    assert "no model placed a bet" in [text.get_text() for text in kelly.texts]


def test_what_was_there_stays_when_drawing_fails(tmp_path):
    draw_figures(models(1), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = predictions().assign(kickoff="when it is dark")
    with pytest.raises(ValueError, match="dark"):
        draw_figures([Curve("a", broken)], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_settings_of_the_process_are_left_as_they_were(tmp_path):
    import matplotlib as mpl

    with mpl.rc_context({"lines.linewidth": 7.5, "pdf.fonttype": 3}):
        draw_figures(models(1), tmp_path)
        assert (mpl.rcParams["lines.linewidth"], mpl.rcParams["pdf.fonttype"]) == (7.5, 3)


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        ([], "no model to draw"),
        ([Curve("a", predictions())] * 2, "Two models are called 'a'"),
        ([Curve(" ", predictions())], "no label"),
        (
            [Curve(str(number), predictions()) for number in range(MOST_CURVES + 1)],
            "13 models cannot be told apart in a figure; choose at most 12",
        ),
        ([Curve("a", predictions().drop(columns=["bet", "stake"]))], "of 'a' have no bet, stake"),
        ([Curve("a", predictions()[:0])], "hold no game"),
        (
            [Curve("a", predictions().assign(probability=[np.nan] + [0.5] * (len(predictions()) - 1)))],
            "gave nan as a probability",
        ),
        ([Curve("a", predictions().assign(probability=1.5))], "gave 1.5 as a probability"),
        ([Curve("a", predictions().assign(outcome=2))], "outcome of 'a' is 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(tmp_path, curves, said):
    with pytest.raises(FigureError, match=said):
        draw_figures(curves, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("setting", [{"width": 1.0}, {"level": 1.0}, {"kelly_fraction": 0.0}])
def test_a_setting_that_cannot_be_is_refused(tmp_path, setting):
    with pytest.raises(FigureError, match=r"; (use|make it) "):
        draw_figures(models(1), tmp_path / "none", **setting)
    assert not (tmp_path / "none").exists()


def test_nothing_that_draws_is_imported_before_something_is_drawn():
    code = "import sys, sweeproute.figures; print(*{'matplotlib', 'scipy', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_process_of_its_own_draws_the_same_bytes_and_says_what_it_cannot_draw(tmp_path):
    curves = models(2)
    here = draw_figures(curves, tmp_path / "here", level=0.9, kelly_fraction=0.5)
    keep(curves, tmp_path / "kept", level=0.9, kelly_fraction=0.5)
    words = [sys.executable, "-m", "sweeproute.figures"]
    subprocess.run([*words, str(tmp_path / "kept")], check=True, timeout=120)
    for path in here:
        assert (tmp_path / "kept" / FOLDER / path.name).read_bytes() == path.read_bytes(), path.name
    keep(curves, tmp_path / "wrong", level=2.0, kelly_fraction=0.5)
    done = subprocess.run([*words, str(tmp_path / "wrong")], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("level=2.0 is no share of intervals")
