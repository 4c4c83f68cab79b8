from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.conditions import holds
from worker.triggers.context import text_context
from worker.triggers.templates import LONGEST_SOURCE, TemplateProblem, compile_template, problems
from worker.triggers.values import scalar, slug, value_text

PROPERTIES: dict[str, Any] = {
    "First Name": " Ann ",
    "status": "Ready",
    "visits": 3.0,
    "price": 19.9,
    "vip": True,
    "member": False,
    "due": "2026-03-01",
    "at": "2026-03-01T09:30:00Z",
    "nickname": "   ",
    "street": "N/A",
    "note": "{{ status }} {% include 'x' %}",
    "tags": ["a", "b"],
    "address": {"city": "Rome"},
}
OLD = {"status": "Ordered"}
CONTACT = {"phone": "+14155552671", "full_name": "Ann Bee", "email": "ann@example.com"}
CONTEXT = text_context(PROPERTIES, OLD, CONTACT, None, lambda: ("Europe/London",))


def render(source: str, context: dict[str, Any] = CONTEXT) -> str:
    return compile_template(source).render(context)


def problem(source: str, context: dict[str, Any] = CONTEXT) -> str:
    with pytest.raises(TemplateProblem) as caught:
        render(source, context)
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hi {{ first_name }}!", "Hi Ann!"),
        ('Hi {{ record["First Name"] }}', "Hi Ann"),
        ("{{ contact.first_name }}, {{ contact.full_name }}, {{ contact.email }}", "Ann, Ann Bee, ann@example.com"),
        ("{{ old.status }} -> {{ status }}", "Ordered -> Ready"),
        ("{{ visits }} visits, {{ price }} each", "3 visits, 19.9 each"),
        ("{{ visits | times: price | round: 2 }}", "59.7"),
        ("{{ vip }} {{ member }}", "true false"),
        ("  \n{{ status }} \n", "Ready"),
        ("{{ due | date: '%-d %B' }} at {{ at | date: '%H:%M' }}", "1 March at 09:30"),
        ("{{ first_name | upcase | append: '!' }}", "ANN!"),
        ("{{ contact.full_name | split: ' ' | last }}", "Bee"),
        ("{% if vip and visits > 2 %}Gold{% else %}Silver{% endif %}", "Gold"),
        ("{% case status %}{% when 'Ready' %}Come{% else %}Wait{% endcase %}", "Come"),
        ("{% assign x = visits | plus: 1 %}{{ x }}", "4"),
        ("{% capture x %}<{{ status }}>{% endcapture %}{{ x }}", "<Ready>"),
        ("{% comment %} not sent {% endcomment %}{% # nor this %}sent", "sent"),
        ("{{ note }}", "{{ status }} {% include 'x' %}"),  # a value is text, never a template
    ],
)
def test_what_a_template_becomes(source: str, text: str) -> None:
    assert render(source) == text


MISSING = [
    "nickname",
    "street",
    "tags",
    "address",
    "nosuch",
    "old.price",
    'record["No Such"]',
    "record.nickname",
    "now",
]


@pytest.mark.parametrize("name", MISSING)
def test_a_hole_is_never_sent(name: str) -> None:
    assert problem(f"Hi {{{{ {name} }}}},").startswith(f"line 1: {name} is empty or missing in this record")
    assert "| default:" in problem(f"Hi {{{{ {name} }}}},")


@pytest.mark.parametrize("name", MISSING)
def test_a_default_fills_the_hole(name: str) -> None:
    assert render(f'Hi {{{{ {name} | default: "you" }}}},') == "Hi you,"
    assert render(f'Hi{{{{ {name} | default: "" }}}}') == "Hi"


@pytest.mark.parametrize("name", MISSING)
def test_a_hole_is_false_in_a_condition(name: str) -> None:
    assert render(f"{{% if {name} %}}yes{{% else %}}no{{% endif %}}") == "no"
    assert render(f"{{% unless {name} == 'x' or {name} contains 'x' or {name} > 5 %}}no{{% endunless %}}") == "no"


@pytest.mark.parametrize(
    "source",
    [
        "{{ nosuch | upcase }}",
        "{{ nosuch | date: '%d' }}",
        "{{ nosuch | plus: 1 }}",
        "{{ visits | plus: nosuch }}",
        "{{ status | append: nosuch }}",
        "{{ nosuch | size }}",
        "{{ nosuch | default: nickname }}",
        "{% assign x = nosuch %}{{ x }}",
        "{% capture x %}{{ nosuch }}{% endcapture %}Hi",
        '{{ record[nosuch] | default: "" }}Hi',
    ],
)
def test_no_filter_and_no_tag_hides_a_hole(source: str) -> None:
    assert "is empty or missing" in problem(source)


@pytest.mark.parametrize(
    "source",
    [
        "Hi {{ first_name | split: 'A' | first }},",
        "Hi {{ first_name | remove: 'Ann' }},",
        "Hi {{ first_name | truncate: 0, '' }},",
        "{% capture x %} {% endcapture %}Hi {{ x }},",
        "Hi {{ '' }},",
        "Hi {{ nil }},",
    ],
)
def test_what_comes_out_empty_is_a_hole_too(source: str) -> None:
    assert "comes out empty" in problem(source)


def test_a_text_that_is_empty_for_this_record_is_not_sent() -> None:
    assert problem("{% if nosuch %}Hi{% endif %}") == "the text is empty for this record"


@pytest.mark.parametrize(
    "source", ["{{ record }}", "{{ contact }}", "{{ record | append: 'x' }}", "{{ 'x' | append: contact }}"]
)
def test_a_whole_record_never_shows(source: str) -> None:
    shown = problem(source)
    assert "this is the whole record; name one of its fields" in shown
    assert "ann@example.com" not in shown


def test_a_list_is_no_text() -> None:
    assert problem("{{ first_name | split: '' }}") == "line 1: this is a list; take its first or last item"


def test_a_date_that_can_mean_two_days_is_not_guessed() -> None:
    ambiguous = text_context({"due": "03/04/2026"}, None, CONTACT)
    assert problem("{{ due | date: '%d %B' }}", ambiguous) == (
        'line 1: "03/04/2026" may be two dates; a date is written like 2026-03-01'
    )


def test_text_is_at_most_1600_characters() -> None:
    assert len(render("{{ x }}", {"x": "a" * 1600})) == 1600
    assert problem("{{ x }}", {"x": "a" * 1601}).startswith("the text is longer than 1,600 characters")
    assert "longer than 1,600 characters" in problem("{{ x }}", {"x": "a" * 100_000})
    assert len(render("{{ x | truncate: 50 }}", {"x": "a" * 50_000})) == 50
    assert len(render("{{ x }}", {"x": "漢" * 1600})) == 1600


GROWTH = {
    "doubling": "{% assign x = 'aaaaaaaa' %}" + "{% assign x = x | append: x %}" * 100 + "{{ x }}",
    "replace": "{{ 'aaaaaaaaaa'" + " | replace: 'a', 'aaaaaaaaaa'" * 150 + " }}",
    "replace nothing": "{% assign x = 'aaaaaaaaaaaaaaaaaaaa' %}"
    + "{% assign x = x | replace: '', x %}" * 100
    + "{{ x }}",
    "escapes": "{{ '%%%%%%%%'" + " | url_encode | append: '%%%%%%%%'" * 100 + " | prepend: big }}",
    "capture": "{% assign x = 'a' %}" + "{% capture x %}{{ x }}{{ x }}{% endcapture %}" * 100 + "{{ x }}",
    "squares": "{% assign x = 10 %}" + "{% assign x = x | times: x %}" * 100 + "{{ x }}",
    "floats": "{% assign x = 10.5 %}" + "{% assign x = x | times: x %}" * 100 + "{{ x }}",
    "many lists": "{% assign x = big | split: '' %}" + "{% assign y = big | split: '' %}{% assign z = x %}{{ status }}",
    "a long list": "{% assign x = big | split: '' %}{{ status }}",
    "a list just too long": "{{ big | slice: 0, 1001 | split: '' | size }}",
    "lists of lists": "{% assign x = big | slice: 0, 900 | split: '' %}"
    + "{% assign x = x | split: ',' %}" * 100
    + "{{ status }}",
    "a list as text": "{% assign x = big | slice: 0, 900 | split: '' %}" + "{% assign x = x | append: x %}" * 100,
    "digits": "{{ 1.5 | round: 999999999 }}",
    "date width": "{{ due | date: '%999999999Y' }}",
    "product": "{{ 1000000000000000000000 | times: 1000000000000000000000 }}",
    "infinity": "{{ price | plus: '1e400' }}",
    "not a number": "{{ price | times: 'nan' }}",
    "by zero": "{{ visits | divided_by: 0 }}",
    "long chain": "{% if " + " and ".join(["vip"] * 600) + " %}" + "{{ nosuch }}" + "{% endif %}",
    "nested path": "{{ a" + "[a" * 1000 + "]" * 1000 + " }}",
    "nested blocks": "{% if vip %}" * 200 + "x" + "{% endif %}" * 200,
    "nested ranges": "{% for i in (1..9999999) %}{% for j in (1..9999999) %}x{% endfor %}{% endfor %}",
    "range filter": "{{ (1..999999999999) | first }}",
    "range search": "{% if (1..999999999999) contains 'x' %}x{% endif %}",
    "range assigned": "{% assign r = (1..999999999999) %}{% if r contains 'x' %}x{% endif %}",
    "range in a condition": "{% if vip and (1..999999999999) == 'x' %}x{% endif %}x",
    "include": "{% include 'x' %}",
    "render": "{% render 'x' %}",
    "table": "{% tablerow i in (1..9999999) %}x{% endtablerow %}",
    "long": "x" * (LONGEST_SOURCE + 1),
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ big | slice: 0, 1000 | split: '' | size }}", "1000"),
        ("{{ status | split: 'a' | first }}", "Re"),
        ("{{ 'a;b;c' | split: ';' | last }}", "c"),
    ],
)
def test_lists_of_an_ordinary_length_can_be_used(source: str, text: str) -> None:
    assert render(source, CONTEXT | {"big": "a" * 100_000}) == text


@pytest.mark.parametrize("source", GROWTH.values(), ids=GROWTH.keys())
def test_hostile_templates_end_with_a_problem(source: str) -> None:
    assert problem(source, CONTEXT | {"big": "a" * 100_000})


@pytest.mark.parametrize("length", [10, 50, 100, 200, 300, 400, 500])
def test_deep_nesting_is_read_or_refused_and_nothing_else(length: int) -> None:
    source = "{% if " + " and ".join(["vip"] * length) + " %}Gold{% endif %}"
    assert problems(source) in ([], ["the template is nested too deeply to be read; make it simpler"])
    if not problems(source):
        assert render(source) == "Gold"


def test_hostile_templates_need_little_memory_and_time() -> None:
    """In a process of its own that the system ends when it needs more than 2 GB or 60 seconds of work."""
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "from tests.triggers.test_templates import CONTEXT, GROWTH, problem\n"
        "print(sum(bool(problem(source, CONTEXT | {'big': 'a' * 100_000})) for source in GROWTH.values()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == str(len(GROWTH)), done.stderr


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("Hi {{ first_name }}", []),
        ("\n\nHi {{ first_name }", ["line 3: expected '}}', found end of file"]),
        ("Hi\n{{ }}", ["line 2: expected a primitive expression, found the end"]),
        ("Hi\n{% if vip %}\nx", ["line 3: expected tag endif, found the end"]),
        ("Hi\n{% if %}x{% endif %}", ["line 2: missing expression"]),
        (
            "a\n{% for x in y %}{% endfor %}",
            ["line 2: unexpected tag 'for'; a text can use: if, unless, case, assign, capture, comment"],
        ),
        ("x\n{{ (1..9) | first }}", ["line 2: ranges such as (1..9) cannot be used in a text"]),
        (
            "{% if name == blank %}x{% endif %}",
            ["line 1: an empty field is simply false; write {% if field %} or {% unless field %}"],
        ),
        (
            "{{ FirstName }}\n{{ old.First }}",
            [
                "line 1: FirstName never has a value; fields are named in small letters: firstname",
                "line 2: old.First never has a value; fields are named in small letters: old.first",
            ],
        ),
        ("{{ contact.name }}", ["line 1: contact has no name; it has phone, full_name, first_name, email"]),
        ("{{ a.b }}", ['line 1: a.b never has a value; a field is one plain value, write a or record["..."]']),
        (
            "Hi\n{{ at | date: '%H:%M', 'Denver' }}",
            ['line 2: there is no time zone "Denver"; write it like America/Denver'],
        ),
        ("{{ at | local_time: nil, 'America/Denver' }} {{ price | money: 'EUR' }}", []),
        ("{{ price | plus: 1 | money: 'gold' }}", ['line 1: "gold" is no currency; write its code, such as USD']),
        (
            "Hi {first_name}",
            ['line 1: "{first_name}" would be sent as it stands; a field is written {{ first_name }}'],
        ),
        ("Hi\nfirst_name }}", ['line 2: "}}" would be sent as it stands; a field is written {{ first_name }}']),
        ("", ["the text is empty for this record"]),
        (
            "{{ 'x' | date: '%d' }}",
            ['line 1: "x" is not a date that can be read without doubt; a date is written like 2026-03-01'],
        ),
    ],
)
def test_what_is_wrong_is_known_before_anything_is_sent(source: str, found: list[str]) -> None:
    assert problems(source) == found


def test_every_unknown_filter_is_named_with_its_line() -> None:
    first, second = problems("{{ a | shout }}\n{{ b | whisper }}")
    assert first.startswith('line 1: there is no filter "shout"; there are: abs, append,')
    assert second.startswith('line 2: there is no filter "whisper"')


def test_compiling_refuses_what_the_check_reports() -> None:
    with pytest.raises(TemplateProblem) as caught:
        compile_template("{{ A }} {{ B }}")
    assert list(caught.value.problems) == problems("{{ A }} {{ B }}")
    assert len(caught.value.problems) == 2


def test_a_template_knows_the_fields_it_uses() -> None:
    source = '{% if vip %}{{ first_name }} {{ old.status }} {{ record["Due Date"] | default: due }}{% endif %}{{ vip }}'
    assert compile_template(source).fields == ("vip", "first_name", "old.status", "record['Due Date']", "due")


def test_compiling_is_done_once() -> None:
    assert compile_template("Hi {{ first_name }}") is compile_template("Hi {{ first_name }}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("First Name", "first_name"),
        ("first_name", "first_name"),
        ("  E-Mail (work) ", "e_mail_work"),
        ("Order_Status__c", "order_status_c"),
        ("Prénom", "prénom"),
        ("2nd Phone", "_2nd_phone"),
        ("---", ""),
    ],
)
def test_field_names(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text())
def test_a_field_name_is_stable(name: str) -> None:
    assert slug(slug(name)) == slug(name)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ("", None),
        (" \t", None),
        ("n/a", None),
        ("#N/A", None),
        ("NULL", None),
        ("-", None),
        (float("nan"), None),
        (["a"], None),
        ({"a": 1}, None),
        (" x ", "x"),
        ('="Ready"', "Ready"),
        ('=""', None),
        ("=A1", "=A1"),
        ("∞", None),
        ("a\x00b\r\nc\td", "ab\nc d"),
        (0, 0),
        (False, False),
        (3.0, 3),
        (2.5, 2.5),
        ("Nancy", "Nancy"),
    ],
)
def test_values_that_a_template_gets(value: object, shown: object) -> None:
    assert scalar(value) == shown
    assert type(scalar(value)) is type(shown)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (3.0, "3"), (19.9, "19.9"), (1e-7, "0.0000001"), (1e22, "1" + "0" * 22), (100, "100")],
)
def test_values_as_text(value: object, text: str) -> None:
    assert value_text(value) == text


def test_of_two_fields_with_one_name_the_first_counts_and_both_can_be_reached() -> None:
    context = text_context({"First Name": "", "first_name": "Bob", "record": "mine"}, None, CONTACT)
    assert "first_name" not in context
    assert context["record"] == {"first_name": "Bob", "record": "mine"}
    assert render('{{ record["first_name"] }} {{ record.record }}', context) == "Bob mine"


@pytest.mark.parametrize(
    ("full_name", "first_name"),
    [("Ann Bee", "Ann"), (" Ann ", "Ann"), ("Bee, Ann", "Ann"), ("", None), ("+1 415 555 2671", None), ("N/A", None)],
)
def test_the_first_name_of_a_contact(full_name: str, first_name: str | None) -> None:
    contact = text_context({}, None, CONTACT | {"full_name": full_name})["contact"]
    assert contact.get("first_name") == first_name


@pytest.mark.parametrize(
    "name", ["unknown", "UNKNOWN", "(none)", "tbd", "n.a.", "not provided", "N/A N/A", "?", "x", "-"]
)
def test_a_placeholder_is_no_name(name: str) -> None:
    context = text_context(
        {"First Name": name, "Vorname": name, "status": "unknown"}, {"name": name}, {"full_name": name}
    )
    shown = {key: context[key] for key in context if key.isidentifier()}
    assert shown == {"record": {"status": "unknown"}, "status": "unknown", "old": {}, "contact": {}}
    for field in (
        "first_name",
        "vorname",
        'record["First Name"]',
        "contact.first_name",
        "contact.full_name",
        "old.name",
    ):
        assert problem(f"Hi {{{{ {field} }}}}", context).startswith(f"line 1: {field} is empty or missing")
        assert render(f"Hi {{{{ {field} | default: 'there' }}}}", context) == "Hi there"
        assert render(f"{{% if {field} %}}Hi you{{% else %}}Hi{{% endif %}}", context) == "Hi"


@pytest.mark.parametrize(
    ("full_name", "first_name"),
    [("Unknown Smith", None), ("N/A Smith", None), ("Null Smith", "Null"), ("Na Li", "Na"), ("Ann Unknown", "Ann")],
)
def test_the_first_name_may_be_a_placeholder_while_the_name_is_none(full_name: str, first_name: str | None) -> None:
    contact = text_context({}, None, {"full_name": full_name})["contact"]
    assert (contact["full_name"], contact.get("first_name")) == (full_name, first_name)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("first_name == 'unknown'", True),
        ("first_name != 'unknown'", False),
        ("contact.full_name == 'unknown'", True),
        ("status == 'tbd'", True),
        ("vip", True),
        ("note", False),
        ("note == nil", True),
    ],
)
def test_conditions_see_placeholders_as_they_are(condition: str, expected: bool) -> None:
    record = {"First Name": "unknown", "status": "tbd", "vip": "x", "note": "n/a"}
    assert holds(condition, record, {"full_name": "unknown"}) is expected


def test_a_new_record_has_no_old_values() -> None:
    assert text_context(PROPERTIES, None, CONTACT)["old"] == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x, max_size=3)
)


@given(st.dictionaries(st.sampled_from(["first_name", "First Name", "x", "record", "contact"]), JSON), JSON)
def test_any_record_gives_a_whole_text_or_a_problem(properties: dict[str, Any], old: Any) -> None:
    context = text_context(properties, {"x": old}, CONTACT)
    try:
        text = render("Hi {{ first_name }}, {{ old.x }}.", context)
    except TemplateProblem:
        assert "first_name" not in context or "x" not in context["old"] or len(str(properties)) > 1500
    else:
        assert text == f"Hi {value_text(context['first_name'])}, {value_text(context['old']['x'])}."
        assert "Hi ," not in text
