"""Typesets a LaTeX document, and finds in its log what does not fit."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_WRONG = re.compile(r"^(?:Overfull|Underfull|LaTeX Warning|Package \w+ Warning|LaTeX Font Warning).*", re.MULTILINE)


def missing() -> str | None:
    """Why no document can be typeset here; None where it can."""
    if shutil.which("pdflatex") is None:
        return "there is no pdflatex (texlive-latex-recommended)"
    for style in ("booktabs", "siunitx"):
        found = subprocess.run(["kpsewhich", f"{style}.sty"], capture_output=True, check=False)
        if found.returncode:
            return f"LaTeX has no {style} (texlive-science)"
    return None


def typeset(document: Path, into: Path) -> tuple[Path, list[str]]:
    """Typeset a document twice, so that references settle; where LaTeX is absent, the test says so and skips.

    Args:
        document: The document; what it names lies beside it.
        into: The folder that gets the PDF.

    Returns:
        The PDF, and what its log complains of.
    """
    why = missing()
    if why and os.environ.get("SWEEPROUTE_EXPECT_LATEX") == "1":
        pytest.fail(f"SWEEPROUTE_EXPECT_LATEX=1, and {why}")
    if why:
        pytest.skip(why)
    into.mkdir(exist_ok=True)
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", f"-output-directory={into}", document.name],
            cwd=document.parent,
            # Its log breaks long lines otherwise.
            env={**os.environ, "max_print_line": "1000"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout[-3000:]
    log = (into / document.with_suffix(".log").name).read_text(errors="replace")
    return into / document.with_suffix(".pdf").name, _WRONG.findall(log)
