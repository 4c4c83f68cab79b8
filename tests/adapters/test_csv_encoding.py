"""The encodings that exports are written in: what they say is found, and a guess stays the same and is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.fields import FieldMapping
from crm_adapters.csv.adapter import CsvAdapter
from crm_adapters.csv.encoding import Encoding, detect_encoding, guess_encoding, remembered
from crm_adapters.csv.languages import ENCODINGS, LANGUAGES
from crm_adapters.csv.options import CsvOptions
from crm_adapters.services import LocalServices

# (encoding, what is in the cells): read right by letters alone
NAMES = [
    ("cp1252", "Jörg"),
    ("cp1252", "MÜLLER"),
    ("cp1252", "André"),
    ("cp1252", "Zoë"),
    ("cp1252", "Hélène"),
    ("cp1252", "François|Irène|Benoît"),
    ("cp1252", "Société Générale… à vendre"),
    ("cp1252", "João|Simões|Conceição"),
    ("cp1252", "Señor Muñoz|Peña Nº 5|3º"),
    ("cp1252", "Bjørn Åse|Søren"),
    ("cp1252", "Åsa Öberg"),
    ("cp1252", "Niccolò|Cantù|Perché"),
    ("cp1252", "Straße|Weiß|Größe|Ärzte"),
    ("cp1252", "René|Jörg|Müller|François|Zoë|Señor|Muñoz|Søren"),
    ("cp1252", "O’Neil|“Quote”|5 €|Café – bar|Acme™"),
    ("cp1252", "Ýmir Þór Guðmundsson|Sigríður|Ólafur|Björk"),
    ("cp1250", "Győző Szűcs|Erzsébet Őry|Tünde Fűzér|Ákos Kőszegi"),
    ("cp1250", "Jiří Dvořák|Tomáš Novák|Kateřina Černá"),
    ("cp1250", "Łukasz Wójcik|Paweł|Małgorzata"),
    ("cp1250", "Łukasz"),
    ("cp1250", "Ionuţ|Ştefan|Cătălin|Brăila"),
    ("cp1250", "Željko Šarić|Đorđe|Ivančić"),
    ("iso8859-2", "Łukasz Wójcik|Paweł|Małgorzata|Śliwa"),
    ("iso8859-2", "Tomáš Novák|Žaneta|Kateřina Černá"),
    ("cp1254", "Gül İpek|Doğan Yıldız|Büşra Öztürk|Büşra Çiğdem|Hazırlanıyor"),
    ("cp1254", "Doğan Yıldız"),
    ("cp1257", "Jānis Bērziņš|Ķekava"),
    ("cp1257", "Žydrūnas|Rūta Šimkutė"),
    ("cp850", "José|Zoë|Müller"),
    ("cp850", "José"),
    ("cp850", "Straße|Weiß|Größe|Ärzte"),
    ("cp850", "à côté|Hélène|Noël"),
    ("cp437", "José|Zoë|Müller|Peña"),
    ("cp852", "Łukasz Wójcik|Paweł|Małgorzata"),
    ("cp852", "Győző Szűcs|Erzsébet Őry|Tünde Fűzér"),
    ("cp857", "Gül İpek|Doğan Yıldız|Büşra Öztürk|Büşra Çiğdem"),
    ("mac_roman", "José|Zoë|Müller"),
    ("cp1251", "Иван Петров"),
    ("cp1251", "ИВАН"),
    ("cp1251", "Екатерина Александровна Достоевская"),
    ("cp1251", "Олександр Ткаченко|Наталія|Юлія Їжак"),
    ("cp1251", "Ђорђе Петровић"),
    ("koi8-u", "Иван Петров"),
    ("cp866", "Иван Петров"),
    ("cp1253", "Γιώργος Παπαδόπουλος"),
    ("cp1255", "משה כהן"),
    ("cp1256", "محمد علي"),
    ("gb18030", "王伟"),
    ("gb18030", "李娜|张敏"),
    ("big5", "陳大文|王小明"),
    ("cp932", "田中太郎|さくら|佐藤"),
    ("cp949", "김철수|박영희"),
]
# (encoding, whole lines): the letters alone do not say it, the country of the phone numbers or addresses does
SIGNED = [
    ("cp1250", "1,Szűcs,+36201234567"),
    ("cp1250", "1,Szűcs,szucs@example.hu"),
    ("cp1257", "1,Õnne Jõgi,+3725123456"),
    ("cp874", "1,สมชาย,+66812345678"),
    ("cp949", "1,김,+821012345678"),
]


@pytest.mark.parametrize(("encoding", "names"), NAMES)
def test_names_are_read_right(encoding: str, names: str) -> None:
    lines = "".join(f"{number},{name},x\n" for number, name in enumerate(names.split("|"))).encode(encoding)
    guess = detect_encoding(io.BytesIO(b"id,name,note\n1,Ann,y\n" + lines))
    assert lines.decode(guess.name) == lines.decode(encoding)
    assert guess.guess
    assert guess.words


@pytest.mark.parametrize(("encoding", "line"), SIGNED)
def test_the_country_decides_where_letters_do_not(encoding: str, line: str) -> None:
    data = f"{line}\n".encode(encoding)
    assert data.decode(guess_encoding(data, b"").name) == line + "\n"


def test_no_western_name_alone_becomes_chinese_or_another_script() -> None:
    for name in "Jörg Müller André Zoë Hélène José Begoña João Søren Björk Łukasz Noël Chloé Renée Siân Seán".split():
        data = f"1,{name},x\n".encode("cp1250" if name == "Łukasz" else "cp1252")
        assert data.decode(guess_encoding(data, b"").name).isascii() is False
        assert guess_encoding(data, b"").words == (name,), name


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_found(encoding: str) -> None:
    assert detect_encoding(io.BytesIO("id,name\n1,Zoë\n".encode(encoding))) == Encoding(encoding)


def test_every_language_can_be_written_in_an_encoding() -> None:
    assert {language.name for language in LANGUAGES if not language.encodings} == set()
    assert all("x".encode(name) for name in ENCODINGS)


TURKISH = "Gül İpek|Doğan Yıldız|Büşra Öztürk".split("|")


def sample(names: list[str], encoding: str) -> bytes:
    return "".join(f"{number},{name}\n" for number, name in enumerate(names)).encode(encoding)


def high(data: bytes) -> bytes:
    return bytes(sorted({byte for byte in data if byte > 127}))


# (names before, their encoding, names now, their encoding now, what it is read as)
KEPT = [
    pytest.param(TURKISH, "cp1254", ["Jörg", "Þór", "Guðrún"], "cp1252", "cp1254", id="another guess"),
    pytest.param(["Jörg"], "cp1252", ["Jörg", "Łukasz", "Paweł"], "cp1250", "cp1250", id="the old ones read the same"),
    pytest.param(["Jörg"], "cp1252", [*TURKISH, "Jörg"], "cp1254", "cp1254", id="the same for Turkish"),
    pytest.param(["José", "Zoë"], "cp1252", ["José", "Zoë", "Müller"], "cp850", "cp850", id="now saved by DOS"),
    pytest.param(["José", "Zoë"], "cp850", ["José", "Zoë", "Müller"], "cp1252", "cp1252", id="and back"),
]


@pytest.mark.parametrize(("before", "was", "now", "is_now", "read_as"), KEPT)
def test_the_encoding_of_the_export_before_is_kept_while_it_fits(
    before: list[str], was: str, now: list[str], is_now: str, read_as: str
) -> None:
    first = sample(before, was)
    memory = json.loads(json.dumps(remembered(guess_encoding(first, high(first)))))
    second = sample(now, is_now)
    assert guess_encoding(second, high(second), memory).name == read_as


letters = st.text("abcäöüßéèêçñãõøåæłśżőűřčžğışďțбгджиклю ", min_size=1, max_size=12)


@given(st.lists(letters, min_size=1, max_size=8), letters)
def test_a_later_export_never_changes_how_earlier_names_are_read(names: list[str], new: str) -> None:
    def encoded(values: list[str]) -> bytes:
        return "\n".join(values).encode("cp1250", "ignore") + b"\xe9\n"

    first, second = encoded(names), encoded([*names, new])
    one = guess_encoding(first, high(first))
    other = guess_encoding(second, high(second), remembered(one))
    if not other.instead_of:
        assert first.decode(one.name, "replace") == first.decode(other.name, "replace")


def adapter(path: Path, services: LocalServices, **options: str) -> CsvAdapter:
    return CsvAdapter(CsvOptions(path=str(path), settle_seconds=0, **options), FieldMapping(), services=services)


def test_a_guess_is_shown_until_the_encoding_is_named(tmp_path: Path) -> None:
    path, services = tmp_path / "contacts.csv", LocalServices()
    path.write_bytes("Id,Name,Phone\n1,Jörg,111\n".encode("cp1252"))
    expected = (
        "contacts.csv does not say how it is encoded; cp1252 (Windows, Western Europe) is a guess (it reads "
        '"Jörg"). If names look wrong, set the option encoding; if they are right, set '
        'encoding = "cp1252"'
    )
    assert expected in adapter(path, services).check().summary
    list(adapter(path, services).pull(None))
    assert services.memory["notes"] == [expected]
    list(adapter(path, services, encoding="cp1252").pull(None))
    assert services.memory["notes"] == []
    path.write_text("Id,Name,Phone\n1,Jörg,111\n")
    assert "guess" not in adapter(path, LocalServices()).check().summary


def test_a_guess_is_remembered_from_run_to_run_and_for_each_export(tmp_path: Path) -> None:
    services = LocalServices()

    def write(name: str, names: list[str], encoding: str) -> None:
        rows = "".join(f"{name}{number},{value},111\n" for number, value in enumerate(names, 1))
        (tmp_path / name).write_bytes(f"Id,Name,Phone\n{rows}".encode(encoding))

    def names() -> list[str]:
        pages = list(adapter(tmp_path, services).pull(None))
        services.memory = json.loads(json.dumps(services.memory))  # as the store keeps it
        return [str(record.properties["Name"]) for page in pages for record in page.changes]  # type: ignore[union-attr]

    write("contacts-1.csv", TURKISH, "cp1254")
    write("north.csv", ["Þór", "Guðrún"], "cp1252")
    assert names() == [*TURKISH, "Þór", "Guðrún"]
    write("contacts-2.csv", ["Jörg", "Ðorir", "Guðrún"], "cp1252")
    found = names()
    assert found[:1] == ["Jörg"]
    assert found[-2:] == ["Þór", "Guðrún"]
    assert {key: kept["encoding"] for key, kept in services.memory["sources"].items()} == {
        "contacts": "cp1254",
        "north": "cp1252",
    }
    assert "It looks like cp1252 (Windows, Western Europe) now, but" in " ".join(services.memory["notes"])
