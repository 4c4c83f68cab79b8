"""How software and people write yes, no and nothing, in seven languages: en, de, fr, es, pt, it and nl.

All words are in lower case and without accents. Who may be texted, triggers, and marks of deletion use them; each adds
what only its own kind of field says.
"""

from __future__ import annotations

import unicodedata


def _words(*lists: str) -> frozenset[str]:
    return frozenset(word.strip() for words in lists for word in words.split("|"))


TRUE = _words("true | t | wahr | vrai | verdadero | verdadeiro | vero | waar")
FALSE = _words("false | f | falsch | unwahr | faux | falso | onwaar")
"""Booleans as databases and spreadsheets write them; spreadsheets do it in the language of their user."""

SAYS_YES = TRUE | _words(
    "yes | y | on | x | checked | ticked | \u2713 | \u2714 | \u2611 | \u2705",
    "ja | j | angekreuzt | an | oui | coche | si | s | marcado | sim | selezionato | aangevinkt | aan",
)
SAYS_NO = FALSE | _words(
    "no | n | off | unchecked | unticked | not checked | \u2610",
    "nein | aus | non | decoche | desmarcado | nao | nee | uit",
)
SAYS_NOTHING = _words(
    r"| n/a | #n/a | none | null | nil | nan | undefined | \n | <na> | nat | not set | empty | blank",
    "leer | keine angabe | vide | vacio | vuoto | vazio | leeg",
)


def plain_word(text: str) -> str:
    """Return a word as it is written here: in lower case, without accents and without spaces around it."""
    decomposed = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
