"""What replies ask for. The words are those of the CTIA messaging principles and of the FCC's revocation rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.inbox.keywords import HELP, START, STOP, keyword

REVIEW = [
    "please stop", "Stop please", "STOP IT", "stop texting me", "please stop texting me!!", "Stop sending me messages",
    "stop with the texts", "Don't text me", "dont text me again", "Do not contact me", "do not message this number",
    "never text me again", "quit texting me", "Take me off your list", "take my number off", "remove me from your list",
    "Please remove my number", "unsubscribe me please", "I want to unsubscribe", "opt me out", "I'd like to opt out",
    "no more texts", "No more of these messages please", "leave me alone", "lose my number", "Wrong number",
    "wrong person sorry", "cancel all messages", "cancel my subscription", "I revoke my consent", "not interested",
    "ok stop", "stop now", "stop spamming", "cease texting", "Stop, thanks", "delete my number", "stop the texts",
    "STOP STOP", "stop stop stop!!", "STOP\n\nSent from my iPhone", "Stop. I told you already", "Who is this? Stop!",
    "Unsubscribe.\nThanks", "no more", "no more please", "No más mensajes", "go away", "Fuck off",
]  # fmt: skip
ORDINARY = [
    "", "ok", "Thanks!", "see you at the bus stop", "I'll stop by tomorrow", "can I stop in at 5?",
    "don't stop believing",    "I can't stop laughing", "non-stop flight?",
    "When does it end?", "how do I cancel my appointment?", "the end",
    "I need help with my order", "What info do you need?", "yes please", "Yes", "start time?", "when do we start",
    "Don't forget to text me", "text me when ready", "please remove the dent", "stopped by, nobody there",
    "I quit my job lol", "we need to cancel tomorrow", "Is this the right number?", "do not send it to the old address",
    "don't text the driver", "👍", "STOPLIGHT", "end of the month works",
    "Cancel? No, I want to keep it", "Two more left. End of story", "no more parking there", "the light went away",
    "Remove, then sand", "take the exit, then the second stop",
]  # fmt: skip


@pytest.mark.parametrize("word", sorted(STOP))
@pytest.mark.parametrize("form", ["{}", "  {} ", "{}.", "{}!!!", '"{}"'])
def test_opt_out_words(word: str, form: str) -> None:
    assert keyword(form.format(word.upper())) == "stop"


@pytest.mark.parametrize(
    "text", ["OPT-OUT", "Opt_Out", "stop-all", "S.T.O.P", "Arrêt", "ＳＴＯＰ", "STOP\n", "stop 🛑"]
)
def test_opt_out_words_in_other_clothes(text: str) -> None:
    assert keyword(text) == "stop"


@pytest.mark.parametrize(("words", "meaning"), [(START, "start"), (HELP, "help"), ({"yes", "YES!"}, "yes")])
def test_other_words(words: set[str], meaning: str) -> None:
    assert {keyword(word) for word in words} == {meaning}


@pytest.mark.parametrize("text", REVIEW)
def test_what_may_mean_stop_goes_to_a_person(text: str) -> None:
    assert keyword(text) == "review"


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_texts_stop_nothing(text: str) -> None:
    assert keyword(text) in ("", "yes")


@given(st.text(max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    assert keyword(text) in ("stop", "start", "yes", "help", "review", "")
