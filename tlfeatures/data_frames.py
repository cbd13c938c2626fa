"""Results as pandas data frames. pandas is imported when the first frame is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlfeatures.installed import check_installed

if TYPE_CHECKING:  # `doctor` describes a machine on which NumPy can't be imported, too
    from numpy.typing import NDArray
    from pandas import DataFrame


def data_frame(columns: Mapping[str, NDArray[Any] | Sequence[Any]]) -> DataFrame:
    """Return a data frame with these columns.

    Parameters
    ----------
    columns : mapping of name to ndarray or sequence, all of the same length

    Raises
    ------
    ParameterError
        If pandas is not installed.
    """
    check_installed("pandas", "a data frame", "notebook")
    from pandas import DataFrame, Series

    try:
        return DataFrame(dict(columns))
    except UnicodeEncodeError:  # pandas can't keep names of files that are not UTF-8 as texts
        exact = {
            name: Series(column, dtype=object)
            for name, column in columns.items()
            if _kind(column) == "U"
        }
        return DataFrame({**columns, **exact})


def _kind(column: NDArray[Any] | Sequence[Any]) -> str:
    import numpy as np

    return np.asarray(column).dtype.kind


def frame_of_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, type[str] | type[float]]
) -> DataFrame:
    """Return a data frame with one row for each mapping, also if there are none.

    Parameters
    ----------
    rows : sequence of mapping
    columns : mapping of name to type
        Names of the columns, in this order. Without rows, their types decide the types of the
        columns.

    Raises
    ------
    ParameterError
        If pandas is not installed.
    """
    if not rows:
        import numpy as np

        return data_frame({name: np.empty(0, kind) for name, kind in columns.items()})
    return data_frame({name: [row[name] for row in rows] for name in columns})
