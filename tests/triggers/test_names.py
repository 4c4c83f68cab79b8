"""How people are greeted, and how names are written. To add a title of another language, add a row here."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_adapters.placeholders import says_nothing
from worker.triggers.context import text_context
from worker.triggers.names import first_name_of, written_name
from worker.triggers.templates import TemplateProblem, compile_template

FIRST_NAMES = [
    ("Ana", "Ana"),
    ("Ana Ruiz", "Ana"),
    ("  Ana   Ruiz ", "Ana"),
    ("李娜", "李娜"),
    # titles
    ("DR. ANA", "Ana"),
    ("Dr Ana Ruiz", "Ana"),
    ("Mr. John Smith", "John"),
    ("MR JOHN SMITH", "John"),
    ("Mrs. Mary Ann Smith", "Mary"),
    ("Ms Jo Lee", "Jo"),
    ("Miss Ana Lee", "Ana"),
    ("Mx. Sam Doe", "Sam"),
    ("Rev. John Paul", "John"),
    ("Capt. Ada Low", "Ada"),
    ("Prof. Dr. med. Hans Meier", "Hans"),
    ("Dr. phil. Eva Braun", "Eva"),
    ("Frau Dr. Anna Müller", "Anna"),
    ("Herr Dipl.-Ing. Karl May", "Karl"),
    ("M. Jean Dupont", "Jean"),
    ("Mme Curie Anne", "Curie"),
    ("Mlle Anne Roux", "Anne"),
    ("Sr. Juan Pérez", "Juan"),
    ("Sra. Ana Ruiz", "Ana"),
    ("DOÑA ANA PÉREZ", "Ana"),
    ("Lic. Ana Paz", "Ana"),
    ("Sig.ra Anna Rossi", "Anna"),
    ("Dott.ssa Anna Bianchi", "Anna"),
    ("Dhr. Jan Jansen", "Jan"),
    ("Dra. María Gil", "María"),
    ("Senhor Paulo Reis", "Paulo"),
    ("Mr. and Mrs. John Smith", "John"),
    ("Dr.Ana Ruiz", "Ana"),
    ("Mr.John Smith", "John"),
    ("Pastor John", "John"),
    ("Atty. Maria Cruz", "Maria"),
    ("Smt. Sita Devi", "Sita"),
    # a title and a family name say no first name
    ("Mr.Smith", ""),
    ("Familie Müller", ""),
    ("Fam. Müller", ""),
    ("Mr. Smith", ""),
    ("Mr. & Mrs. Smith", ""),
    ("Herr Müller", ""),
    ("Frau Dr. Müller", ""),
    ("Herr und Frau Müller", ""),
    ("Mme. Curie", ""),
    ("Señora Ruiz", ""),
    ("Sig. Rossi", ""),
    ("Dr.", ""),
    ("Mr.", ""),
    # words that are titles only if they are written so
    ("Phil Collins", "Phil"),
    ("Nat King Cole", "Nat"),
    ("Sig Hansen", "Sig"),
    ("Gen Sato", "Gen"),
    ("Don Draper", "Don"),
    ("Pan Wei", "Pan"),
    # the family name first, and what follows a name
    ("Smith, John", "John"),
    ("SMITH, JOHN", "John"),
    ("Smith, Dr. John", "John"),
    ("Smith, John, Jr.", "John"),
    ("Smith Jr., John", "John"),
    ("García Márquez, Gabriel", "Gabriel"),
    ("DE LA CRUZ, MARIA", "Maria"),
    ("John Smith, PhD", "John"),
    ("John Smith PhD", "John"),
    ("Ana Ruiz, M.D.", "Ana"),
    ("Smith,", "Smith"),
    # initials, and asides
    ("J. Edgar Hoover", "Edgar"),
    ("M Night Shyamalan", "Night"),
    ("J. Smith", "J."),
    ("(VIP) John Smith", "John"),
    ("John [old] Smith", "John"),
    ('Robert "Bob" Smith', "Robert"),
    ('"Bob" Smith', "Bob"),
    ("Mary & John Smith", "Mary"),
    # capitals
    ("MARY ANN O'BRIEN", "Mary"),
    ("ana maria", "Ana"),
    ("MARY-ANN SMITH", "Mary-Ann"),
    ("O'BRIEN", "O'Brien"),
    ("McKenzie Brown", "McKenzie"),
    ("DeShawn King", "DeShawn"),
    ("AJ Smith", "AJ"),
    ("TJ MILLER", "TJ"),
    ("İBRAHİM YILMAZ", "İbrahim"),
    # marks, and what nobody sees
    ("Ana*", "Ana"),
    ("*Ana", "Ana"),
    ("Ana!", "Ana"),
    ("\u2605Ana\u2605", "Ana"),
    ("\U0001f600 Ana Ruiz", "Ana"),
    ("An\u200ba\ufeff", "Ana"),
    # no name of a person
    ("The Smith Family", ""),
    ("Smith Household", ""),
    ("Estate of John Smith", ""),
    ("Bob's Burgers", ""),
    ("Acme Services", ""),
    ("Wireless Caller", ""),
    ("[First Name]", ""),
    ("{{ first_name }}", ""),
    ("Acme, Inc.", ""),
    ("Acme GmbH", ""),
    ("unknown", ""),
    ("(none)", ""),
    ("Unknown Smith", ""),
    ("tbd", ""),
    ("ana@example.com", ""),
    ("+1 415 555 0101", ""),
    ("---", ""),
    ("", ""),
]
WRITTEN = [
    ("MARY ANN O'BRIEN", "Mary Ann O'Brien"),
    ("mary ann o'brien", "Mary Ann O'Brien"),
    ("O\u2019NEILL", "O\u2019Neill"),
    ("D'ANGELO RUSSELL", "D'Angelo Russell"),
    ("RONALD MCDONALD", "Ronald McDonald"),
    ("JEAN-LUC PICARD", "Jean-Luc Picard"),
    ("JAN VAN DER BERG", "Jan van der Berg"),
    ("VAN DER BERG", "Van der Berg"),
    ("MARIA DE LA CRUZ", "Maria de la Cruz"),
    ("JOÃO DOS SANTOS", "João dos Santos"),
    ("ludwig van beethoven", "Ludwig van Beethoven"),
    ("ANH LE", "Anh Le"),
    ("JOHN SMITH III", "John Smith III"),
    ("JOHN SMITH JR.", "John Smith Jr."),
    ("DR. JOHN SMITH, PHD", "Dr. John Smith, PhD"),
    ("J.R. SMITH", "J.R. Smith"),
    ("TJ MILLER", "TJ Miller"),
    ("ST. JOHN'S", "St. John's"),
    ("ÉMILE ZOLA", "Émile Zola"),
    ("İBRAHİM", "İbrahim"),
    ("ОЛЬГА ИВАНОВА", "Ольга Иванова"),
    ("strauß", "Strauß"),
    # what somebody wrote with care stays
    ("Mary Ann O'Brien", "Mary Ann O'Brien"),
    ("DeShawn McDonald", "DeShawn McDonald"),
    ("Jan van Dijk", "Jan van Dijk"),
    ("AJ Smith", "AJ Smith"),
    ("Mary ANN O'BRIEN", "Mary Ann O'Brien"),
    ("李娜", "李娜"),
    ("", ""),
]


@pytest.mark.parametrize(("full_name", "first_name"), FIRST_NAMES)
def test_how_a_person_is_greeted(full_name: str, first_name: str) -> None:
    assert first_name_of(full_name) == first_name
    assert text_context({}, None, {"full_name": full_name})["contact"].get("first_name", "") == first_name
    if not says_nothing(full_name):
        assert rendered("{{ x | first_name | default: '' }}.", full_name) == f"{first_name}."


@pytest.mark.parametrize(("name", "written"), WRITTEN)
def test_how_a_name_is_written(name: str, written: str) -> None:
    assert written_name(name) == written
    assert written_name(written) == written, "once is enough"
    if name:
        assert rendered("{{ x | name }}", name) == written


@pytest.mark.parametrize("name", ["unknown", "(none)", "tbd", "not provided"])
def test_a_filter_for_names_never_greets_a_placeholder(name: str) -> None:
    for filter_ in ("name", "first_name"):
        with pytest.raises(TemplateProblem, match=r"comes out empty|is empty or missing"):
            rendered(f"Hi {{{{ x | {filter_} }}}}", name)
        assert rendered(f"Hi {{{{ x | default: '' | {filter_} | default: 'there' }}}}", name) == "Hi there"


def rendered(source: str, value: str) -> str:
    return compile_template(source).render(text_context({"x": value}, None, {}))


WORDS = st.lists(
    st.sampled_from("Dr. Mr. ANA ana O'BRIEN , & Jr. van de Smith, J. unknown @ ( ) \" İ ß".split()), max_size=8
)


@given(st.text() | WORDS.map(" ".join))
@example("0AAA a")
@example("(JOHN) smith")
@example("\u4e2dAAA b")
def test_any_text_has_a_first_name_or_none(text: str) -> None:
    found = first_name_of(text)
    assert not any(map(str.isspace, found))
    assert found.casefold().rstrip(".") not in ("dr", "mr", "unknown")
    assert written_name(written_name(text)) == written_name(text)
