"""Finds the column that marks rows as deleted, and reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from crm_adapters.fields import fold
from crm_adapters.sql.values import is_true
from crm_adapters.words import SAYS_NO, SAYS_NOTHING, SAYS_YES, plain_word

_NAMES = frozenset(
    """
    isdeleted deleted deletedat deletedon deleteddate datedeleted deletedtime softdeleted softdeletedat
    isarchived archived archivedat archivedon archiveddate datearchived
    geloscht geloschtam archiviert archiviertam supprime supprimele archivee estsupprime eliminado eliminadoen borrado
    archivado excluido excluidoem arquivado eliminato eliminatoil archiviato verwijderd verwijderdop gearchiveerd
    """.split()
)
_WORDS = SAYS_YES | SAYS_NO | SAYS_NOTHING | {"0", "1", "deleted", "archived", "active"}
_TIME = re.compile(
    r"""
    \d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([t ].*)?                   # a date, perhaps with a time
    |\d{10}(\.\d+)?|\d{13}                                         # seconds or milliseconds since 1970
    """,
    re.VERBOSE | re.IGNORECASE,
)
SAMPLE = 200
"""The number of rows that are looked at before a column is taken for this one."""


def usual_columns(names: Iterable[str]) -> list[str]:
    """Return the columns that are usually called like this."""
    return [name for name in names if fold(name) in _NAMES]


def unclear_value(values: Iterable[str]) -> str:
    """Return the first value that is neither empty, nor a yes or no, nor a time; "" if there is none."""
    texts = (value.strip() for value in values)
    return next((text for text in texts if plain_word(text) not in _WORDS and not _TIME.fullmatch(text)), "")


class DeletedValues(dict[str, bool]):
    """Value -> the row is deleted. Any filled value that does not clearly mean "no" does: nobody is texted by mistake.

    It remembers the answers, because a column has few different values.
    """

    def __missing__(self, value: str) -> bool:
        """Decide about a value that was not seen before."""
        gone = is_true(value.strip())
        if len(self) < 1000:
            self[value] = gone
        return gone
