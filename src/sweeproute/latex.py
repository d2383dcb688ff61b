"""Writes tables in LaTeX, with booktabs and siunitx, and the document that shows all of them.

It needs siunitx 3 or later, of 2021, and graphicx. A table that is wider than the text is made smaller, never cut.
"""

import math
from collections.abc import Mapping, Sequence

from sweeproute.tables import BEST, TIED, Cell, Column, Table, shown

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textquoteleft{}",
    "–": "--",
    "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "∞": r"\ensuremath{\infty}",
    "Δ": r"\ensuremath{\Delta}",
    "\n": " ",
}
# In a typewriter's type a quotation mark is straight, and two hyphens are no dash.
_TYPED = _SPECIAL | {'"': r"\char34{}", "'": r"\textquotesingle{}", "-": "-{}"}
_TIE = r"\textsuperscript{=}"
# Tables, and figures, that stand below each other in a document.
_TABLES, _FIGURES = 6, 4
# Columns hang from one line, whatever is first in them.
_COLUMN = r"\begin{minipage}[t]{17cm}\vspace{0pt}"


def escaped(text: str) -> str:
    r"""A text as LaTeX prints it.

    Example:
        >>> print(escaped("a_b & 5 %"))
        a\_b \& 5 \%
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def typed(text: str) -> str:
    """What one types, in a typewriter's type, broken at its spaces alone."""
    words = ("".join(_TYPED.get(letter, letter) for letter in word) for word in text.split(" "))
    return " ".join(rf"\texttt{{{word}}}" for word in words)


def table(content: Table, command: str) -> str:
    """A table as a float, with its notes below.

    Args:
        content: The table.
        command: The command that makes it again.

    Returns:
        What a document can input; it needs booktabs, siunitx and graphicx.
    """
    columns = " ".join(_format(column, [row[place] for row in content.rows]) for place, column in _places(content))
    lines = [
        f"% Made by `{command}`; what is changed here is lost when it is made again.".replace("\n", " "),
        r"\begin{table}[htbp]",
        r"  \centering",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{4pt}",
        # Bold digits in columns of numbers.
        r"  \sisetup{reset-text-series = false, text-series-to-math = true}",
        rf"  \caption{{{escaped(content.caption)}}}",
        rf"  \label{{{content.label}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"    \toprule",
        "    " + " & ".join(_head(column) for column in content.columns) + r" \\",
        r"    \midrule",
    ]
    begun = dict(content.sections)
    for position, row in enumerate(content.rows):
        if position in begun:
            lines += [r"    \midrule"] if position else []
            if begun[position]:
                title = rf"\emph{{{escaped(begun[position])}}}"
                lines += [rf"    \multicolumn{{{len(content.columns)}}}{{@{{}}l}}{{{title}}} \\"]
        lines.append("    " + " & ".join(_cell(cell, column) for cell, column in _pairs(row, content)) + r" \\")
        below = [_ends(cell, column) for cell, column in _pairs(row, content)]
        if any(below):
            lines.append("    " + " & ".join(below) + r" \\[2pt]")
    notes = " ".join(escaped(note) for note in content.notes)
    return "\n".join(
        [
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"  \par\smallskip",
            r"  \begin{minipage}{\linewidth}",
            r"    \raggedright\scriptsize",
            rf"    \emph{{Notes.}} {notes} Made by {typed(command)}.",
            r"  \end{minipage}",
            r"\end{table}",
            "",
        ]
    )


def document(title: str, tables: Sequence[str], figures: Mapping[str, str]) -> str:
    """A document of one page that shows tables and figures side by side; the page is as large as they are together.

    Args:
        title: Its title.
        tables: Names of the tables' files, beside it.
        figures: Their captions, by the paths of their files relative to it.

    Returns:
        The document.
    """
    shown = [rf"\input{{{name}}}" for name in tables]
    columns = [shown[first : first + _TABLES] for first in range(0, len(shown), _TABLES)]
    drawn = [_figure(path, caption) for path, caption in figures.items()]
    columns += [drawn[first : first + _FIGURES] for first in range(0, len(drawn), _FIGURES)]
    lines = [
        r"\documentclass{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage{graphicx}",
        r"\usepackage{booktabs}",
        r"\usepackage{siunitx}",
        "% What floats in a chapter stands here where it is named.",
        r"\makeatletter",
        r"\newcommand{\standing}[1]{\par\def\@captype{#1}\minipage{\linewidth}}",
        r"\renewenvironment{table}[1][]{\standing{table}}{\endminipage\par\vspace{2\bigskipamount}}",
        r"\renewenvironment{figure}[1][]{\standing{figure}}{\endminipage\par\vspace{2\bigskipamount}}",
        r"\makeatother",
        r"\newsavebox{\everything}",
        r"\begin{document}",
        r"\begin{lrbox}{\everything}%",
        _COLUMN,
        rf"\section*{{{escaped(title)}}}",
    ]
    for place, column in enumerate(columns):
        lines += [r"\end{minipage}\hspace{1cm}%", _COLUMN] if place else []
        lines += column
    return "\n".join(
        [
            *lines,
            r"\end{minipage}%",
            r"\end{lrbox}",
            # LuaTeX has these under other names.
            r"\ifdefined\pdfpagewidth\else\let\pdfpagewidth\pagewidth\let\pdfpageheight\pageheight\fi",
            r"\pdfpagewidth=\dimexpr\wd\everything+4cm\relax",
            r"\pdfpageheight=\dimexpr\ht\everything+\dp\everything+4cm\relax",
            r"\hoffset=\dimexpr2cm-1in\relax",
            r"\voffset=\dimexpr2cm-1in\relax",
            r"\shipout\box\everything",
            r"\end{document}",
            "",
        ]
    )


def _figure(path: str, caption: str) -> str:
    return "\n".join(
        [
            r"\begin{figure}",
            r"  \centering",
            rf"  \includegraphics[width=\linewidth,height=20cm,keepaspectratio]{{\detokenize{{{path}}}}}",
            rf"  \caption{{{escaped(caption)}}}",
            r"\end{figure}",
        ]
    )


def _places(content: Table) -> list[tuple[int, Column]]:
    return list(enumerate(content.columns))


def _pairs(row: Sequence[Cell], content: Table) -> list[tuple[Cell, Column]]:
    return list(zip(row, content.columns, strict=True))


def _format(column: Column, cells: Sequence[Cell]) -> str:
    """The column's letter, for numbers with the digits that they have on either side of the point."""
    if column.decimals is None:
        return "l"
    numbers = [text for cell in cells if (text := shown(cell, column)) is not None and _is_plain(text)]
    whole = max((len(text.lstrip("-").partition(".")[0]) for text in numbers), default=1)
    sign = "-" if any(text.startswith("-") for text in numbers) else ""
    places = f"table-format={sign}{whole}.{column.decimals}"
    behind = f", table-space-text-post={{{_TIE}}}" if any(cell.standing == TIED for cell in cells) else ""
    return f"S[{places}{behind}, table-align-text-post=false]"


def _is_plain(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _head(column: Column) -> str:
    return escaped(column.title) if column.decimals is None else f"{{{escaped(column.title)}}}"


def _cell(cell: Cell, column: Column) -> str:
    text = shown(cell, column)
    mark = rf"\textsuperscript{{{escaped(cell.mark)}}}" if cell.mark else ""
    if column.decimals is None:
        return escaped(text or "") + mark
    if text is None:
        return "" if cell.value == "" else "{--}"
    if not _is_plain(text):
        return f"{{{escaped(text)}{mark}}}"
    bold = r"\bfseries " if cell.standing == BEST else ""
    return f"{bold}{text}{_TIE if cell.standing == TIED else ''}{mark}"


def _ends(cell: Cell, column: Column) -> str:
    """What stands below a number: its interval, or its standard error."""
    if cell.value is None or column.decimals is None:
        return ""
    low, high, error = (shown(cell, column, part) for part in ("low", "high", "error"))
    if low is not None and high is not None:
        told = ", ".join(rf"\num{{{end}}}" if _is_plain(end) else escaped(end) for end in (low, high))
        return rf"{{\scriptsize [{told}]}}"
    if error is not None and _is_plain(error) and not math.isnan(float(error)):
        return rf"{{\scriptsize (\num{{{error}}})}}"
    return ""
