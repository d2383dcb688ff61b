"""Tests of tables in LaTeX, and of documents that are really typeset."""

import re
import shutil
import string
import subprocess
from pathlib import Path

import pytest

from sweeproute import latex
from sweeproute.tables import BEST, TIED, Cell, Column, Table
from typeset import typeset

ODD = "a_b & 5% #1 $x$ {y} ~z^2 \\n <k> |m| \"q\" 'r' `s` – 95 ± 3 × ≤ ≥ Δ"
COLUMNS = (
    Column("model", "Model_name & co"),
    Column("auc", "AUC", 3),
    Column("roi", "ROI (%)", 1, percent=True),
    Column("p", "p", 3, least=0.001),
)


def table(*rows: tuple[Cell, ...], columns=COLUMNS, name="odd", notes=("A note of 5 %.",), sections=()) -> Table:
    return Table(name, f"Caption {ODD}", f"tab:{name}", columns, rows, sections, notes)


ROWS = (
    (Cell(ODD, mark="a"), Cell(0.71234, 0.69, 0.74, standing=BEST), Cell(None), Cell(0.00001)),
    (Cell("GLM"), Cell(0.7, standing=TIED), Cell(-0.1251, error=0.002), Cell("")),
    (Cell("Market"), Cell(0.65), Cell(float("-inf")), Cell(1.0)),
)


def test_every_special_character_is_written_as_itself():
    for letter in string.punctuation:
        written = latex.escaped(letter)
        if letter in "&%$#_{}":
            assert written == f"\\{letter}"
        elif letter in '\\~^<>|"`':
            assert written not in (letter, f"\\{letter}")
        else:
            assert written == letter
    assert latex.typed("--metric a_b") == r"\texttt{-{}-{}metric} \texttt{a\_b}"


def test_numbers_bold_ties_and_what_is_missing():
    text = latex.table(table(*ROWS), "sweeproute report s")
    lines = [line.strip() for line in text.splitlines()]
    first, ends, second, errors, market = (
        next(line for line in lines if line.startswith(start))
        for start in (r"a\_b", r"& {\scriptsize [", "GLM", r"&  & {\scriptsize (", "Market")
    )
    assert r"\textsuperscript{a} & \bfseries 0.712 & {--} & {\textless{}0.001} \\" in first
    assert ends == r"& {\scriptsize [\num{0.690}, \num{0.740}]} &  &  \\[2pt]"
    assert second == r"GLM & 0.700\textsuperscript{=} & -12.5 &  \\"
    assert errors == r"&  & {\scriptsize (\num{0.2})} &  \\[2pt]"
    assert market == r"Market & 0.650 & {\ensuremath{-}\ensuremath{\infty}} & 1.000 \\"
    (format,) = re.findall(r"\\begin{tabular}{(.*)}$", text, re.MULTILINE)
    assert re.findall(r"table-format=([-\d.]+)", format) == ["1.3", "-2.1", "1.3"]


def test_only_packages_of_the_two_collections_are_used():
    text = latex.document("Title", ["odd"], {"figures/roc.pdf": "ROC"})
    packages = re.findall(r"\\usepackage(?:\[.*?\])?{(\w+)}", text)
    assert set(packages) == {"inputenc", "graphicx", "booktabs", "siunitx"}


def test_a_table_of_odd_names_is_typeset_and_nothing_juts_out(tmp_path: Path):
    wide = tuple(Column(f"s{season}", str(season), 3) for season in range(2000, 2025))
    tables = {
        "odd": table(*ROWS, sections=((2, f"Baselines {ODD}"),)),
        "wide": table((Cell("m"), *(Cell(0.5) for _ in wide)), columns=(COLUMNS[0], *wide), name="wide"),
        "long": table(*(ROWS * 12), name="long", notes=(f"{ODD} " * 12,)),
    }
    for name, one in tables.items():
        (tmp_path / f"{name}.tex").write_text(latex.table(one, "sweeproute report s --where 'a b=\"c\"'"))
    document = tmp_path / "report.tex"
    document.write_text(latex.document(f"Sweep {ODD}", list(tables), {}))
    pdf, complaints = typeset(document, tmp_path / "out")
    assert complaints == []
    assert "(1 page, " in pdf.with_suffix(".log").read_text(errors="replace")
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout
        # LaTeX draws an underscore as a line.
        assert "a b & 5% #1 $x$ {y}" in text
        assert "<0.001" in text


def test_a_table_without_a_complaint_can_complain(tmp_path: Path):
    """The check of the log is one that can fail."""
    document = tmp_path / "bad.tex"
    document.write_text(
        "\\documentclass{article}\\begin{document}\\noindent\\rule{2\\linewidth}{1pt}\\ref{x}\\end{document}\n"
    )
    _, complaints = typeset(document, tmp_path / "out")
    assert any(line.startswith("Overfull") for line in complaints)
    assert any("x" in line for line in complaints if line.startswith("LaTeX Warning"))


@pytest.mark.parametrize("figures", [{"figures/roc_a&b.pdf": "ROC & 5 %"}, {}])
def test_every_figure_is_shown(figures):
    text = latex.document("T", ["one", "two"], figures)
    assert text.count(r"\input{") == 2
    assert text.count(r"\includegraphics") == len(figures)
    assert (r"\caption{ROC \& 5 \%}" in text) == bool(figures)
