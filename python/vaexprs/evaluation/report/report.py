"""The report: its contents, written as JSON or as one page."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from html import escape

from vaexprs.errors import require
from vaexprs.evaluation.report.contents import Contents
from vaexprs.files import whole_file


@dataclass(frozen=True, repr=False)
class Report(Contents):
    """Scores of generated cells beside those of real cells; see `Contents`."""

    def to_json(
        self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False
    ) -> str:
        """Return `to_dict` as JSON, and write it to a file where a path is given.

        Raises
        ------
        OutputError
            If the file exists and ``overwrite`` is false, or it cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        _save(text + "\n", path, overwrite)
        return text

    def _repr_html_(self) -> str:
        """Return verdict and table of scores; notebooks look for this name."""
        from vaexprs.evaluation.report.words import lines, summary

        items = "".join(f"<li>{escape(text)}</li>" for text in [*self.notes, *summary(self)])
        return f"<ul>{items}</ul><pre>{escape(chr(10).join(lines(self)))}</pre>"

    def to_html(
        self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False
    ) -> str:
        """Return the report as one self-contained page, and write it where a path is given.

        Raises
        ------
        OutputError
            If the file exists and ``overwrite`` is false, or it cannot be written.
        """
        for module in ("jinja2", "matplotlib"):
            require(module, extra="evaluate", purpose="Writing a report")
        from vaexprs.evaluation.report.page import render

        text = render(self)
        _save(text, path, overwrite)
        return text


def _save(text: str, path: str | os.PathLike[str] | None, overwrite: bool) -> None:
    if path is not None:
        with whole_file(path, overwrite=overwrite) as part:
            part.write_text(text, encoding="utf-8")
