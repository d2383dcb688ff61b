"""Tests of the look of the figures of a comparison."""

import itertools
import logging

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sweeproute import figure_style
from sweeproute.figure_curves import MOST_CURVES


def grey(colour: str) -> float:
    """How bright a colour is on grey paper, from 0 to 1."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_no_two_curves_look_alike_in_colour_or_without():
    lines = [figure_style.line(position) for position in range(MOST_CURVES)]
    assert len({(one.color, str(one.linestyle)) for one in lines}) == MOST_CURVES
    assert len({one.marker for one in lines}) == MOST_CURVES
    # The first few are apart by their dashes, neighbours by their brightness too.
    assert len({str(one.linestyle) for one in lines[:4]}) == 4
    assert all(abs(grey(one.color) - grey(other.color)) > 0.1 for one, other in itertools.pairwise(lines[:4]))


def letters(text: str) -> list[tuple[str, int]]:
    """The fonts and the letters that a text is drawn with, each as the PDF names it."""
    from matplotlib.mathtext import MathTextParser

    with figure_style.look():
        drawn = figure_style.figure(5, 1)
        put = drawn.text(0.1, 0.5, "")
        figure_style.lettered(put, text)
        told, is_math = put._preprocess_math(put.get_text())
        if is_math:
            parsed = MathTextParser("path").parse(told, 72, put.get_fontproperties())
            return [
                (glyph[0].family_name, glyph[0].get_glyph_name(glyph[0].get_char_index(glyph[2])))
                for glyph in parsed.glyphs
            ]
        return [(str(put.get_fontfamily()[0]), letter) for letter in told]


def test_a_letter_that_the_font_has_another_sign_for_is_drawn_as_itself():
    found = letters("a_b<c>{d}|e\\f$g")
    names = [name for _, name in found]
    assert "dotaccent" not in names
    assert "exclamdown" not in names
    assert "emdash" not in names
    assert names[:2] == ["a", "underscore"]
    assert {"less", "greater", "braceleft", "braceright", "backslash", "dollar"} <= set(names)
    assert found[0] == ("cmr10", "a")


def test_letters_that_are_not_latin_are_set_in_a_font_that_has_them_and_mean_no_mathematics():
    assert letters("Ä $x_1$") == [("STIXGeneral", letter) for letter in "Ä $x_1$"]
    assert letters("plain, 95%") == [("cmr10", letter) for letter in "plain, 95%"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("random_forest with many trees", ["random_", "forest", "with many", "trees"]),
        ("x" * 25, ["x" * 10, "x" * 10, "x" * 5]),
        ("ab " + "x" * 12, ["ab", "x" * 10, "xx"]),
        ("tab\tand\nline", ["tab and", "line"]),
        ("a\x07b", ["ab"]),
        ("\x07", [" "]),
    ],
)
def test_a_label_is_wrapped_whole(text, lines):
    assert figure_style.wrapped(text, 10).split("\n") == lines


def test_a_legend_says_every_label_and_makes_room_for_itself():
    from matplotlib.lines import Line2D

    labels = ["_hidden", "b", "c" * 20, "d"]
    with figure_style.look():
        drawn = figure_style.figure(5.0, 3.0)
        drawn.subplots()
        wide, high = figure_style.legend(drawn, [(Line2D([], []), label) for label in labels])
        FigureCanvasAgg(drawn).draw()
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == [r"$\_$hidden", "b", "c" * 20, "d"]
    assert drawn.get_figheight() == pytest.approx(3.0 + high)
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.bbox.width
    assert box.y1 <= drawn.axes[0].get_tightbbox().y0
    assert wide <= 5.0


def test_what_the_reader_of_fonts_says_is_heard_again_afterwards():
    before = logging.getLogger("fontTools").level
    with figure_style.look():
        assert logging.getLogger("fontTools").level == logging.ERROR
    assert logging.getLogger("fontTools").level == before
