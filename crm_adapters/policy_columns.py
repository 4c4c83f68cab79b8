"""Recognises fields that say who may be texted, or who is deleted, by their usual names. Pure.

`vtsync check` names those that the configuration does not use: a column "SMS Opt Out" that is not read protects nobody.
The names are those of common CRMs and plain databases, in English, German, French, Spanish, Portuguese, Italian and
Dutch. Fields about email, fax or letters alone are not meant.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from crm_adapters.base import CrmField
from crm_adapters.fields import fold


class PolicyColumn(StrEnum):
    """What a field seems to say."""

    DO_NOT_TEXT = "do_not_text"
    CONSENT = "consent"
    DELETED = "deleted"


# Long enough to be found anywhere in a name, even where it is written in one word: HASOPTEDOUTOFSMS.
_OPT_OUT = re.compile(
    "|".join(
        """
        optout optedout unsubscri donottext donotcall donotcontact donotsms donotmessage donotphone donotdisturb
        donttext dontcall dontcontact
        nichtkontaktieren nichtanrufen nichttexten keinesms keinewerbung werbesperre kontaktsperre werbewiderspruch
        abgemeldet sperrvermerk
        nepascontacter nepasappeler pasdesms refussms desabonne desinscri bloctel
        nollamar nocontactar noenviarsms desuscri dadodebaja listarobinson
        naoligar naocontatar naocontactar naoenviarsms descadastr naoperturbe
        nonchiamare noncontattare noninviaresms disiscri registroopposizioni
        nietbellen nietsmsen nietcontacteren geensms afgemeld uitgeschreven belmeniet
        """.split()
    )
)
_CONSENT = re.compile(
    "|".join(
        """
        optedin smsconsent textconsent smspermission smsallowed acceptssms acceptsmarketing acceptmarketing oktotext
        oktosms cantext maytext permissiontotext agreestotext agreedtotext textingconsent smssubscribe
        einwilligung zustimmung smserlaubt werbungerlaubt
        consentement accordsms acceptesms autorisationsms
        consentimiento aceptasms autorizasms autorizacionsms
        consentimento aceitasms autorizacaosms
        consensosms consensomarketing accettasms
        toestemming smstoegestaan akkoordsms
        """.split()
    )
)
# Short: only as words of their own, or with one of these words written before or after them.
_WORDS = {
    PolicyColumn.DO_NOT_TEXT: """
        dnc dnt nosms notext notexts nocall nocalls nocontact stopsms smsstop blacklist blacklisted blocklist
        blocklisted suppressed deceased robinson
    """.split(),
    PolicyColumn.CONSENT: "optin consent subscribed tcpa gdpr dsgvo rgpd lgpd consenso smsok textok".split(),
    PolicyColumn.DELETED: """
        deleted isdeleted deletedat deletedon deleteddate datedeleted deletedtime deletedflag delflag deleteflag
        deletionflag isremoved archived isarchived archivedat
        deletiondate deletetime timedeleted deletionmark softdeleted softdelete removed removedat removedon
        archivedon archiveddate datearchived trashed istrashed trashedat discarded discardedat
        voided isvoided voidedat purged purgedat archiviert archiviertam geloescht geloeschtam archivado
        geloscht istgeloscht geloschtam loschkennzeichen supprime estsupprime datesuppression
        eliminado borrado excluido eliminato cancellato verwijderd isverwijderd
    """.split(),
}
_BESIDE = """
    sms text texts texting mms mobile cell phone call calls marketing whatsapp promo promotional is has customer contact
    person client lead user crm flag status yn list registry c
""".split()
_GLUED = {
    kind: re.compile(f"(?:{'|'.join(_BESIDE)})*(?:{'|'.join(words)})(?:{'|'.join(_BESIDE)})*")
    for kind, words in _WORDS.items()
}

_OTHER_MATTERS = re.compile(
    "email|mail|newsletter|fax|letter|postal|print|cookie|terms|treatment|photo|parental|guardian"
)
_TEXTS = re.compile("sms|text|mms|mobile|phone|call|whatsapp")
_ABOUT_IT = frozenset(
    """
    url urls link links token id ip source reason by method wording language page version form count rate html template
    message number total via user
    """.split()
)
_TIMES = frozenset("date time timestamp at on datum datetime expires expiry until fecha".split())
_LONGEST_GLUED = 60
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def policy_column(field: CrmField) -> PolicyColumn | None:
    """Return what a field seems to say about texts to its person, by its name or else by its label."""
    is_time = field.type in ("date", "datetime")
    return _kind(field.name, is_time) or (_kind(field.label, is_time) if field.label else None)


def is_about_texts(field: CrmField) -> bool:
    """Return True if a field names texts (or calls), not just contact in general."""
    return bool(_TEXTS.search(fold(field.name)) or _TEXTS.search(fold(field.label)))


@lru_cache(maxsize=4096)
def _kind(name: str, is_time: bool) -> PolicyColumn | None:
    folded = fold(name)
    words = [word.lower() for word in _WORD.findall(_without_accents(name))]
    if _OTHER_MATTERS.search(folded) and not _TEXTS.search(folded):
        return None
    if words and (words[-1] in _ABOUT_IT or words[0] in ("number", "num", "count", "total")):
        return None
    if _OPT_OUT.search(folded) or _has_words(PolicyColumn.DO_NOT_TEXT, folded, words):
        return PolicyColumn.DO_NOT_TEXT
    if _CONSENT.search(folded) or _has_words(PolicyColumn.CONSENT, folded, words):
        # A time of consent has no value that means yes.
        return None if is_time or (words and words[-1] in _TIMES) else PolicyColumn.CONSENT
    return PolicyColumn.DELETED if folded in _WORDS[PolicyColumn.DELETED] else None


def _has_words(kind: PolicyColumn, folded: str, words: list[str]) -> bool:
    """Return True if one or two words in a row of a name are among the short words."""
    pairs = [first + second for first, second in pairwise(words)]
    glued = len(folded) <= _LONGEST_GLUED and _GLUED[kind].fullmatch(folded) is not None
    return glued or any(one in _WORDS[kind] for one in (*words, *pairs))


def _without_accents(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(character for character in decomposed if not unicodedata.combining(character))
