"""Holds what is understood of a request, and the words behind it that go before."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class RequestError(ValueError):
    """A request that cannot be served; each problem is a sentence on a line of its own."""


@dataclass
class Understood:
    """What a request asks for.

    Attributes:
        behind: The words behind the file, each by its key; they go before what the file says.
        overrides: The words behind `python train.py -m`, without those of `behind`.
        lines: What was understood: of each part its name, what stands there, what it means here.
        deadline: When it has to be done; None where nobody says.
        problems: What cannot be served, a sentence each.
        written: The whole request, as it stands in its file.
    """

    behind: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    deadline: datetime | None = None
    problems: list[str] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)

    def say(self, part: str, written: Any, meaning: str, *overrides: str) -> None:
        """Note what a part means; where all of it was said behind the file, that is what it means."""
        shown = written if isinstance(written, str) else json.dumps(written, default=str)
        keys = [word.partition("=")[0] for word in overrides]
        if keys and all(key in self.behind for key in keys):
            meaning = f"{' '.join(self.behind[key] for key in keys)}, as said behind the request"
        self.lines.append((part, shown, meaning))
        self.overrides += [word for key, word in zip(keys, overrides, strict=True) if key not in self.behind]

    def refuse(self, problem: str, *keys: str) -> None:
        """Note a problem, unless a word behind the file mends it.

        Args:
            problem: A sentence.
            keys: Each of these settles it.
        """
        if not any(key in self.behind for key in keys):
            self.problems.append(problem)

    def said(self, key: str, otherwise: Any = None) -> Any:
        """The value that a key has behind the file; a sweep over several is none."""
        if key not in self.behind or sweeps(self.behind[key]):
            return otherwise
        return _parsed(self.behind[key]).value()


def whole(found: Understood, key: str, otherwise: int) -> int:
    """A whole number that is said behind the file; train.py answers what is none."""
    value = found.said(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def listed(written: Any) -> Sequence[Any]:
    """The parts of a list, or of a text with commas."""
    return written if isinstance(written, list) else [one.strip() for one in str(written).split(",")]


def key_of(word: str) -> str:
    """The key of a word of Hydra's, `model` of `+model=glm`.

    Raises:
        RequestError: It is no such word.
    """
    return str(_parsed(word).key_or_group)


def sweeps(word: str) -> bool:
    """Whether a word of Hydra's stands for several values."""
    return bool(_parsed(word).is_sweep_override())


def allowed(word: Any, names: Iterable[str]) -> str:
    """A part of a sentence: which words there are, nearest first."""
    known = list(dict.fromkeys(names))
    near = difflib.get_close_matches(str(word), known, n=max(len(known), 1), cutoff=0.4)
    return f"allowed, nearest first: {', '.join([*near, *(name for name in known if name not in near)])}"


def override(key: str, value: Any) -> str:
    """A word of Hydra's with any text as its value, or a list of texts; empty where there is no value."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{key}={value}"
    return f"{key}=[{','.join(map(_quoted, value))}]" if isinstance(value, list) else f"{key}={_quoted(value)}"


def _quoted(text: Any) -> str:
    """A text as Hydra reads it: bare where it can be taken for nothing else."""
    from hydra.core.override_parser.types import Quote, QuotedString

    bare = re.fullmatch(r"[A-Za-z_/][\w./-]*", str(text), re.ASCII)
    meant = str(text).lower() in ("null", "true", "false", "inf", "nan")
    # A dollar before a brace would be looked up in the configuration.
    literal = str(text).replace("${", "\\${")
    return literal if bare and not meant else QuotedString(literal, Quote.single).with_quotes()


def _parsed(word: str) -> Any:
    # lazy import: it takes a while, and most requests have no words behind them
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        raise RequestError(f"{word!r} is no word of Hydra's; write KEY=VALUE, as in model=glm.") from None
