"""Read a design table: one row for each kind of cells, as pandas, R and spreadsheets write it."""

from __future__ import annotations

import csv
import io
import os
import stat
import sys
from pathlib import Path

from vaexprs.errors import ConditionError

#: Bytes of a table; a row for each of the 100,000 combinations that an artifact may have fits.
_MAX_BYTES = 2**24
#: Names that pandas and R give the column of row names.
_INDEX_NAMES = ("", "Unnamed: 0")


def read_design(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of conditions and numbers of cells.

    Parameters
    ----------
    path
        Table with a header, separated by commas, semicolons or tabs, in UTF-8 or UTF-16;
        ``-`` is standard input. A column of row names is left out.

    Raises
    ------
    ConditionError
        If there is no such table, or it cannot be read; the message names the line.
    """
    what = f"the design table {str(path)!r}"
    text = _text(path, what)
    header = text.lstrip("\n").partition("\n")[0]
    separator = max("\t;,", key=header.count)
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise ConditionError(f"{what} is no CSV: {error}.") from None
    numbered = [
        (number, [field.strip() for field in fields])
        for number, fields in enumerate(lines, start=1)
        if any(field.strip() for field in fields)
    ]
    if not numbered:
        raise ConditionError(f"{what} is empty: expected a header line.")
    (_, columns), *rows = numbered
    if not rows:
        raise ConditionError(f"{what} has a header and no row below it, so it asks for no cells.")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConditionError(f"{what} has two columns named {twice[0]!r}.")
    for number, fields in rows:
        if len(fields) != len(columns):
            raise ConditionError(
                f"line {number} of {what} has {len(fields)} fields, and its header {len(columns)}."
            )
    named = [place for place, name in enumerate(columns) if name not in _INDEX_NAMES]
    return [{columns[place]: fields[place] for place in named} for _, fields in rows]


def _text(path: Path, what: str) -> str:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        elif stat.S_ISDIR(mode := os.stat(path).st_mode):
            raise ConditionError(f"{what} is a folder: name a file in it.")
        elif not stat.S_ISREG(mode):
            raise ConditionError(f"{what} is no regular file: use - to read standard input.")
        else:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConditionError(f"there is no design table {str(path)!r}.") from None
    except ConditionError:
        raise
    except (OSError, ValueError) as error:
        raise ConditionError(f"{what} cannot be read: {error}.") from None
    if len(data) > _MAX_BYTES:
        raise ConditionError(f"{what} has more than {_MAX_BYTES:,} bytes.")
    if data.startswith((b"PK", b"\xd0\xcf")):
        raise ConditionError(f"{what} is a spreadsheet: save it as CSV first.")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ConditionError(f"{what} is not UTF-8 ({error.reason}): save it as UTF-8.") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
