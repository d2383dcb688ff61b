"""Gives the figures of a comparison the look of a page that LaTeX set."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweeproute import plot_style
from sweeproute.plot_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.legend import Legend
    from matplotlib.text import Text

# Neighbours differ in brightness too, so that the first few are apart on grey paper by colour alone.
_COLOURS = (BLUE, ORANGE, BLACK, GREEN, PURPLE, "#56B4E9", RED, "#8C6D31")
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (1.2, 1.2)))
# One a curve: with these twelve lines are apart in grey, where colours and dashes are not enough.
_MARKERS = "os^DvPX<>ph*"
# Computer Modern comes with matplotlib; what it lacks is set in STIX, whose letters are those of most journals.
_ROMAN = ["cmr10", "STIXGeneral", "DejaVu Serif"]
_OTHER = ["STIXGeneral", "DejaVu Serif", "DejaVu Sans"]
_LOOK: dict[str, Any] = {
    "font.family": _ROMAN,
    "mathtext.fontset": "cm",
    # Computer Modern has no minus sign of its own; its mathematics has.
    "axes.formatter.use_mathtext": True,
    "axes.formatter.useoffset": False,
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    # TrueType, which printers and archives take; the other kind that matplotlib knows is refused by some.
    "pdf.fonttype": 42,
}
# The codes of the font are TeX's: what stands at these is another sign, so they are set as mathematics.
_SIGNS = {
    "_": r"$\_$",
    "<": r"$\!<\!$",
    ">": r"$\!>\!$",
    "{": r"$\lbrace$",
    "}": r"$\rbrace$",
    "|": "${|}$",
    "$": r"\$",
}
_SIGNS["\\"] = r"${\backslash}$"
_PLAIN = re.compile(r"[A-Za-z0-9 !#%&'()*+,\-./:;=?@\[\]_<>{}|$\\]*")
# Where a line of a label may end.
_BREAK = re.compile(r"(?<=[ _/,;:=+-])")
# Letters of a label that stand side by side in a legend.
_WRAP = 30


@contextmanager
def look() -> Iterator[None]:
    """Draw and save as all figures of a comparison are, whatever the settings of the process are.

    A figure takes part of its look when it is made, and part when it is saved: do both in here.
    """
    # The dates inside of the font are from another age, which its reader says at each embedding.
    said = logging.getLogger("fontTools")
    level = said.level
    said.setLevel(logging.ERROR)
    try:
        with style.context(["default", _LOOK]):
            yield
    finally:
        said.setLevel(level)


def figure(width: float, height: float) -> Figure:
    """An empty figure whose parts make room for each other, panels of a fixed shape included; inches."""
    drawn = Figure(figsize=(width, height), layout="compressed")
    FigureCanvasAgg(drawn)
    return drawn


def save(drawn: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PDF and as PNG, the same bytes each time."""
    plot_style.save(drawn, folder, name)
    return [folder / f"{name}.{kind}" for kind in ("pdf", "png")]


@dataclass(frozen=True)
class Line:
    """How a curve is drawn, the same in all figures."""

    color: str
    linestyle: Any
    marker: str

    @property
    def drawn(self) -> dict[str, Any]:
        """As `Axes.plot` takes it; white round a marker keeps it apart from the lines below."""
        return {
            "color": self.color,
            "linestyle": self.linestyle,
            "marker": self.marker,
            "markeredgecolor": "white",
            "markeredgewidth": 0.4,
        }


def line(position: int) -> Line:
    """How the curve at a position, from 0, is drawn."""
    around = position // len(_COLOURS)
    return Line(
        _COLOURS[position % len(_COLOURS)],
        _LINES[(position + around) % len(_LINES)],
        _MARKERS[position % len(_MARKERS)],
    )


def wrapped(text: str, width: int = _WRAP) -> str:
    """A label in lines of at most so many letters; nothing of it is left out, but for what cannot be printed."""
    kept = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    lines = [""]
    for piece in _BREAK.split(kept):
        while len(lines[-1]) + len(piece.rstrip()) > width:
            # A piece that is longer than a line is cut.
            cut = 0 if lines[-1] else width
            lines[-1], piece = lines[-1] + piece[:cut], piece[cut:]
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines) or " "


def lettered(drawn: "Text", text: str) -> None:
    """Let a text say exactly this, though its font has other signs in some places, and though it may hold a dollar."""
    if all(_PLAIN.fullmatch(part) for part in text.split("\n")):
        drawn.set_text("".join(_SIGNS.get(letter, letter) for letter in text))
    else:
        drawn.set_fontfamily(_OTHER)
        # Its lines are as far apart as its tallest signs ask for.
        drawn.set_linespacing(1.0)
        drawn.set_parse_math(False)
        drawn.set_text(text)


def legend(
    drawn: Figure,
    entries: Sequence[tuple["Artist", str]],
    *,
    beside: bool = False,
    title: str | None = None,
) -> tuple[float, float]:
    """A legend outside of the axes, in as many columns as fit below them.

    Args:
        drawn: The figure; its height grows by that of a legend below.
        entries: What stands for a line, and its text.
        beside: Whether it stands to the right of the axes, in one column.
        title: Its first line.

    Returns:
        Its width and height in inches.
    """
    columns = 1
    one, size = _legend(drawn, entries, columns, beside, title)
    if not beside:
        columns = max(1, min(len(entries), int(drawn.get_figwidth() / (size[0] + 0.1))))
        # Columns of nearly the same length.
        columns = -(-len(entries) // -(-len(entries) // columns))
    if columns > 1:
        one.remove()
        one, size = _legend(drawn, entries, columns, beside, title)
    if not beside:
        drawn.set_figheight(drawn.get_figheight() + size[1])
    return size


def _legend(
    drawn: Figure, entries: Sequence[tuple["Artist", str]], columns: int, beside: bool, title: str | None
) -> tuple["Legend", tuple[float, float]]:
    # What they say is set afterwards, in the font that has its letters.
    made = drawn.legend(
        [handle for handle, _ in entries],
        ["."] * len(entries),
        loc="outside right upper" if beside else "outside lower center",
        ncols=columns,
        title=title,
        alignment="left",
        borderaxespad=0.3,
    )
    for text, (_, said) in zip(made.get_texts(), entries, strict=True):
        lettered(text, said)
    box = made.get_window_extent(drawn.canvas.get_renderer())  # type: ignore[attr-defined]
    return made, (box.width / drawn.dpi, box.height / drawn.dpi)
