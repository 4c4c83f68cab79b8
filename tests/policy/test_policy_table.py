# ruff: noqa: E501 - a case is a line
"""The policy's answers, case by case: to the minute, in each zone, rule before rule.

The hours stand here a second time on purpose: a change of the data file must be made, with its source, in both places.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from config.policy import Policy
from worker.core.states import MessageKind
from worker.policy.countries import country_problem
from worker.policy.decide import (
    RELEASED_BY,
    Expire,
    FullCap,
    Go,
    Hold,
    OptedOut,
    PolicyDecision,
    PolicyFacts,
    QuietHours,
    Suppress,
    decide,
)
from worker.policy.locations import RecordPlace, locations_of
from worker.policy.quiet_hours import rules_for

# The widest hours that can be configured: what is left is the law's.
THE_LAW = Policy(text_from=time(0), text_until=time(23, 59), sunday_from=time(0), release_jitter=timedelta(0))
DEFAULTS = Policy(release_jitter=timedelta(0))

# name, number, what else is known (the account's zone; the CRM's zone, state, zip), now, decision, source
# fmt: off
HOURS: Sequence[tuple[str, str, str, str, str, str]] = (
    ("California, a minute early", "+14155550100", "", "Wed 2026-06-03 07:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 08:00", "47 CFR 64.1200(c)(1)"),
    ("California, opening", "+14155550100", "", "Wed 2026-06-03 08:00 America/Los_Angeles", "go", "47 CFR 64.1200(c)(1)"),
    ("California, the last minute", "+14155550100", "", "Wed 2026-06-03 20:59 America/Los_Angeles", "go", "47 CFR 64.1200(c)(1)"),
    ("California, closing", "+14155550100", "", "Wed 2026-06-03 21:00 America/Los_Angeles", "quiet_hours until Thu 2026-06-04 08:00", "47 CFR 64.1200(c)(1)"),
    ("New York, a minute early", "+12125550100", "", "Wed 2026-06-03 07:59 America/New_York", "quiet_hours until Wed 2026-06-03 08:00", "47 CFR 64.1200(c)(1)"),
    ("New York, opening", "+12125550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "47 CFR 64.1200(c)(1)"),
    ("New York, the last minute", "+12125550100", "", "Wed 2026-06-03 20:59 America/New_York", "go", "47 CFR 64.1200(c)(1)"),
    ("New York, closing", "+12125550100", "", "Wed 2026-06-03 21:00 America/New_York", "quiet_hours until Thu 2026-06-04 08:00", "47 CFR 64.1200(c)(1)"),
    ("Alabama, a minute early", "+12055550100", "", "Wed 2026-06-03 07:59 America/Chicago", "quiet_hours until Wed 2026-06-03 08:00", "Ala. Code 8-19A"),
    ("Alabama, opening", "+12055550100", "", "Wed 2026-06-03 08:00 America/Chicago", "go", "Ala. Code 8-19A"),
    ("Alabama, the last minute", "+12055550100", "", "Wed 2026-06-03 19:59 America/Chicago", "go", "Ala. Code 8-19A"),
    ("Alabama, closing", "+12055550100", "", "Wed 2026-06-03 20:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "Ala. Code 8-19A"),
    ("Connecticut, a minute early", "+12035550100", "", "Wed 2026-06-03 08:59 America/New_York", "quiet_hours until Wed 2026-06-03 09:00", "Conn. Gen. Stat. 42-288a, Public Act 23-98"),
    ("Connecticut, opening", "+12035550100", "", "Wed 2026-06-03 09:00 America/New_York", "go", "Conn. Gen. Stat. 42-288a, Public Act 23-98"),
    ("Connecticut, the last minute", "+12035550100", "", "Wed 2026-06-03 19:59 America/New_York", "go", "Conn. Gen. Stat. 42-288a, Public Act 23-98"),
    ("Connecticut, closing", "+12035550100", "", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 09:00", "Conn. Gen. Stat. 42-288a, Public Act 23-98"),
    ("Florida, a minute early", "+13055550100", "", "Wed 2026-06-03 07:59 America/New_York", "quiet_hours until Wed 2026-06-03 08:00", "Fla. Stat. 501.616(6)(a)"),
    ("Florida, opening", "+13055550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "Fla. Stat. 501.616(6)(a)"),
    ("Florida, the last minute", "+13055550100", "", "Wed 2026-06-03 19:59 America/New_York", "go", "Fla. Stat. 501.616(6)(a)"),
    ("Florida, closing", "+13055550100", "", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 08:00", "Fla. Stat. 501.616(6)(a)"),
    ("Kentucky, a minute early", "+15025550100", "", "Wed 2026-06-03 09:59 America/New_York", "quiet_hours until Wed 2026-06-03 10:00", "Ky. Rev. Stat. 367.46955"),
    ("Kentucky, opening", "+15025550100", "", "Wed 2026-06-03 10:00 America/New_York", "go", "Ky. Rev. Stat. 367.46955"),
    ("Kentucky, the last minute", "+15025550100", "", "Wed 2026-06-03 20:59 America/New_York", "go", "Ky. Rev. Stat. 367.46955"),
    ("Kentucky, closing", "+15025550100", "", "Wed 2026-06-03 21:00 America/New_York", "quiet_hours until Thu 2026-06-04 10:00", "Ky. Rev. Stat. 367.46955"),
    ("Louisiana, a minute early", "+15045550100", "", "Wed 2026-06-03 07:59 America/Chicago", "quiet_hours until Wed 2026-06-03 08:00", "La. PSC General Order R-29617"),
    ("Louisiana, opening", "+15045550100", "", "Wed 2026-06-03 08:00 America/Chicago", "go", "La. PSC General Order R-29617"),
    ("Louisiana, the last minute", "+15045550100", "", "Wed 2026-06-03 19:59 America/Chicago", "go", "La. PSC General Order R-29617"),
    ("Louisiana, closing", "+15045550100", "", "Wed 2026-06-03 20:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "La. PSC General Order R-29617"),
    ("Maryland, a minute early", "+14105550100", "", "Wed 2026-06-03 07:59 America/New_York", "quiet_hours until Wed 2026-06-03 08:00", "Md. Code, Com. Law, title 14, subtitle 45"),
    ("Maryland, opening", "+14105550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "Md. Code, Com. Law, title 14, subtitle 45"),
    ("Maryland, the last minute", "+14105550100", "", "Wed 2026-06-03 19:59 America/New_York", "go", "Md. Code, Com. Law, title 14, subtitle 45"),
    ("Maryland, closing", "+14105550100", "", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 08:00", "Md. Code, Com. Law, title 14, subtitle 45"),
    ("Massachusetts, a minute early", "+16175550100", "", "Wed 2026-06-03 07:59 America/New_York", "quiet_hours until Wed 2026-06-03 08:00", "Mass. Gen. Laws ch. 159C, 3"),
    ("Massachusetts, opening", "+16175550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "Mass. Gen. Laws ch. 159C, 3"),
    ("Massachusetts, the last minute", "+16175550100", "", "Wed 2026-06-03 19:59 America/New_York", "go", "Mass. Gen. Laws ch. 159C, 3"),
    ("Massachusetts, closing", "+16175550100", "", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 08:00", "Mass. Gen. Laws ch. 159C, 3"),
    ("Michigan, a minute early", "+13135550100", "", "Wed 2026-06-03 08:59 America/New_York", "quiet_hours until Wed 2026-06-03 09:00", "Mich. Comp. Laws 445.111"),
    ("Michigan, opening", "+13135550100", "", "Wed 2026-06-03 09:00 America/New_York", "go", "Mich. Comp. Laws 445.111"),
    ("Michigan, the last minute", "+13135550100", "", "Wed 2026-06-03 20:59 America/New_York", "go", "Mich. Comp. Laws 445.111"),
    ("Michigan, closing", "+13135550100", "", "Wed 2026-06-03 21:00 America/New_York", "quiet_hours until Thu 2026-06-04 09:00", "Mich. Comp. Laws 445.111"),
    ("Minnesota, a minute early", "+16125550100", "", "Wed 2026-06-03 08:59 America/Chicago", "quiet_hours until Wed 2026-06-03 09:00", "Minn. Stat. 325E.30"),
    ("Minnesota, opening", "+16125550100", "", "Wed 2026-06-03 09:00 America/Chicago", "go", "Minn. Stat. 325E.30"),
    ("Minnesota, the last minute", "+16125550100", "", "Wed 2026-06-03 20:59 America/Chicago", "go", "Minn. Stat. 325E.30"),
    ("Minnesota, closing", "+16125550100", "", "Wed 2026-06-03 21:00 America/Chicago", "quiet_hours until Thu 2026-06-04 09:00", "Minn. Stat. 325E.30"),
    ("Mississippi, a minute early", "+16015550100", "", "Wed 2026-06-03 07:59 America/Chicago", "quiet_hours until Wed 2026-06-03 08:00", "Miss. Code 77-3-701"),
    ("Mississippi, opening", "+16015550100", "", "Wed 2026-06-03 08:00 America/Chicago", "go", "Miss. Code 77-3-701"),
    ("Mississippi, the last minute", "+16015550100", "", "Wed 2026-06-03 19:59 America/Chicago", "go", "Miss. Code 77-3-701"),
    ("Mississippi, closing", "+16015550100", "", "Wed 2026-06-03 20:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "Miss. Code 77-3-701"),
    ("New Jersey, a minute early", "+12015550100", "", "Wed 2026-06-03 07:59 America/New_York", "quiet_hours until Wed 2026-06-03 08:00", "N.J. Stat. 56:8-128(d), kept narrower"),
    ("New Jersey, opening", "+12015550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "N.J. Stat. 56:8-128(d), kept narrower"),
    ("New Jersey, the last minute", "+12015550100", "", "Wed 2026-06-03 19:59 America/New_York", "go", "N.J. Stat. 56:8-128(d), kept narrower"),
    ("New Jersey, closing", "+12015550100", "", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 08:00", "N.J. Stat. 56:8-128(d), kept narrower"),
    ("New Mexico, a minute early", "+15055550100", "", "Wed 2026-06-03 08:59 America/Denver", "quiet_hours until Wed 2026-06-03 09:00", "N.M. Stat. 57-12-22"),
    ("New Mexico, opening", "+15055550100", "", "Wed 2026-06-03 09:00 America/Denver", "go", "N.M. Stat. 57-12-22"),
    ("New Mexico, the last minute", "+15055550100", "", "Wed 2026-06-03 20:59 America/Denver", "go", "N.M. Stat. 57-12-22"),
    ("New Mexico, closing", "+15055550100", "", "Wed 2026-06-03 21:00 America/Denver", "quiet_hours until Thu 2026-06-04 09:00", "N.M. Stat. 57-12-22"),
    ("Nevada, a minute early", "+17025550100", "", "Wed 2026-06-03 08:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 09:00", "Nev. Rev. Stat. 599B"),
    ("Nevada, opening", "+17025550100", "", "Wed 2026-06-03 09:00 America/Los_Angeles", "go", "Nev. Rev. Stat. 599B"),
    ("Nevada, the last minute", "+17025550100", "", "Wed 2026-06-03 19:59 America/Los_Angeles", "go", "Nev. Rev. Stat. 599B"),
    ("Nevada, closing", "+17025550100", "", "Wed 2026-06-03 20:00 America/Los_Angeles", "quiet_hours until Thu 2026-06-04 09:00", "Nev. Rev. Stat. 599B"),
    ("Oklahoma, a minute early", "+14055550100", "", "Wed 2026-06-03 07:59 America/Chicago", "quiet_hours until Wed 2026-06-03 08:00", "Okla. Stat. tit. 15, 775C.4"),
    ("Oklahoma, opening", "+14055550100", "", "Wed 2026-06-03 08:00 America/Chicago", "go", "Okla. Stat. tit. 15, 775C.4"),
    ("Oklahoma, the last minute", "+14055550100", "", "Wed 2026-06-03 19:59 America/Chicago", "go", "Okla. Stat. tit. 15, 775C.4"),
    ("Oklahoma, closing", "+14055550100", "", "Wed 2026-06-03 20:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "Okla. Stat. tit. 15, 775C.4"),
    ("Rhode Island, a minute early", "+14015550100", "", "Wed 2026-06-03 08:59 America/New_York", "quiet_hours until Wed 2026-06-03 09:00", "R.I. Gen. Laws 5-61-2(2)"),
    ("Rhode Island, opening", "+14015550100", "", "Wed 2026-06-03 09:00 America/New_York", "go", "R.I. Gen. Laws 5-61-2(2)"),
    ("Rhode Island, the last minute", "+14015550100", "", "Wed 2026-06-03 17:59 America/New_York", "go", "R.I. Gen. Laws 5-61-2(2)"),
    ("Rhode Island, closing", "+14015550100", "", "Wed 2026-06-03 18:00 America/New_York", "quiet_hours until Thu 2026-06-04 09:00", "R.I. Gen. Laws 5-61-2(2)"),
    ("Texas, a minute early", "+15125550100", "", "Wed 2026-06-03 08:59 America/Chicago", "quiet_hours until Wed 2026-06-03 09:00", "Tex. Bus. & Com. Code 301.051"),
    ("Texas, opening", "+15125550100", "", "Wed 2026-06-03 09:00 America/Chicago", "go", "Tex. Bus. & Com. Code 301.051"),
    ("Texas, the last minute", "+15125550100", "", "Wed 2026-06-03 20:59 America/Chicago", "go", "Tex. Bus. & Com. Code 301.051"),
    ("Texas, closing", "+15125550100", "", "Wed 2026-06-03 21:00 America/Chicago", "quiet_hours until Thu 2026-06-04 09:00", "Tex. Bus. & Com. Code 301.051"),
    ("Utah, a minute early", "+18015550100", "", "Wed 2026-06-03 07:59 America/Denver", "quiet_hours until Wed 2026-06-03 08:00", "Utah Code 13-25a-103(3)(a)"),
    ("Utah, opening", "+18015550100", "", "Wed 2026-06-03 08:00 America/Denver", "go", "Utah Code 13-25a-103(3)(a)"),
    ("Utah, the last minute", "+18015550100", "", "Wed 2026-06-03 20:59 America/Denver", "go", "Utah Code 13-25a-103(3)(a)"),
    ("Utah, closing", "+18015550100", "", "Wed 2026-06-03 21:00 America/Denver", "quiet_hours until Thu 2026-06-04 08:00", "Utah Code 13-25a-103(3)(a)"),
    ("Washington, a minute early", "+12065550100", "", "Wed 2026-06-03 07:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 08:00", "Wash. Rev. Code 19.158.040(2)"),
    ("Washington, opening", "+12065550100", "", "Wed 2026-06-03 08:00 America/Los_Angeles", "go", "Wash. Rev. Code 19.158.040(2)"),
    ("Washington, the last minute", "+12065550100", "", "Wed 2026-06-03 19:59 America/Los_Angeles", "go", "Wash. Rev. Code 19.158.040(2)"),
    ("Washington, closing", "+12065550100", "", "Wed 2026-06-03 20:00 America/Los_Angeles", "quiet_hours until Thu 2026-06-04 08:00", "Wash. Rev. Code 19.158.040(2)"),
    ("Wyoming, a minute early", "+13075550100", "", "Wed 2026-06-03 07:59 America/Denver", "quiet_hours until Wed 2026-06-03 08:00", "Wyo. Stat. 40-12-302"),
    ("Wyoming, opening", "+13075550100", "", "Wed 2026-06-03 08:00 America/Denver", "go", "Wyo. Stat. 40-12-302"),
    ("Wyoming, the last minute", "+13075550100", "", "Wed 2026-06-03 19:59 America/Denver", "go", "Wyo. Stat. 40-12-302"),
    ("Wyoming, closing", "+13075550100", "", "Wed 2026-06-03 20:00 America/Denver", "quiet_hours until Thu 2026-06-04 08:00", "Wyo. Stat. 40-12-302"),
    ("Alabama, a Sunday", "+12055550100", "", "Sun 2026-06-07 13:00 America/Chicago", "quiet_hours until Mon 2026-06-08 08:00", "Ala. Code 8-19A"),
    ("Louisiana, a Sunday", "+15045550100", "", "Sun 2026-06-07 13:00 America/Chicago", "quiet_hours until Mon 2026-06-08 08:00", "La. PSC General Order R-29617"),
    ("Mississippi, a Sunday", "+16015550100", "", "Sun 2026-06-07 13:00 America/Chicago", "quiet_hours until Mon 2026-06-08 08:00", "Miss. Code 77-3-701"),
    ("Rhode Island, a Sunday", "+14015550100", "", "Sun 2026-06-07 13:00 America/New_York", "quiet_hours until Mon 2026-06-08 09:00", "R.I. Gen. Laws 5-61-2(2)"),
    ("Utah, a Sunday", "+18015550100", "", "Sun 2026-06-07 13:00 America/Denver", "quiet_hours until Mon 2026-06-08 08:00", "Utah Code 13-25a-103(3)(b)"),
    ("South Dakota, a Sunday, in both its zones", "+16055550100", "", "Sun 2026-06-07 13:00 America/Chicago", "quiet_hours until Mon 2026-06-08 10:00", "S.D. Codified Laws 37-30-28"),
    ("Rhode Island, a Saturday, a minute early", "+14015550100", "", "Sat 2026-06-06 09:59 America/New_York", "quiet_hours until Sat 2026-06-06 10:00", "R.I. Gen. Laws 5-61-2(2)"),
    ("Rhode Island, a Saturday, the last minute", "+14015550100", "", "Sat 2026-06-06 16:59 America/New_York", "go", "R.I. Gen. Laws 5-61-2(2)"),
    ("Rhode Island, a Saturday, closing: not before Monday", "+14015550100", "", "Sat 2026-06-06 17:00 America/New_York", "quiet_hours until Mon 2026-06-08 09:00", "R.I. Gen. Laws 5-61-2(2)"),
    ("Texas, a Saturday is like a weekday", "+15125550100", "", "Sat 2026-06-06 09:00 America/Chicago", "go", "Tex. Bus. & Com. Code 301.051"),
    ("Texas, a Sunday, a minute early", "+15125550100", "", "Sun 2026-06-07 11:59 America/Chicago", "quiet_hours until Sun 2026-06-07 12:00", "Tex. Bus. & Com. Code 301.051"),
    ("Texas, a Sunday, noon", "+15125550100", "", "Sun 2026-06-07 12:00 America/Chicago", "go", "Tex. Bus. & Com. Code 301.051"),
    ("Florida, a Sunday is like a weekday", "+13055550100", "", "Sun 2026-06-07 08:00 America/New_York", "go", "Fla. Stat. 501.616(6)(a)"),
    ("Texas, Saturday night waits for Sunday noon", "+15125550100", "", "Sat 2026-06-06 21:00 America/Chicago", "quiet_hours until Sun 2026-06-07 12:00", "Tex. Bus. & Com. Code 301.051"),
    ("One clock: New York is awake, Los Angeles is not", "+12135550100", "", "Wed 2026-06-03 10:59 America/New_York", "quiet_hours until Wed 2026-06-03 11:00", "47 CFR 64.1200(c)(1): the called party's location"),
    ("Hawaii keeps no summer time", "+18085550100", "", "Wed 2026-06-03 07:59 Pacific/Honolulu", "quiet_hours until Wed 2026-06-03 08:00", "IANA tzdata, Pacific/Honolulu"),
    ("Hawaii, opening, as New York has it", "+18085550100", "", "Wed 2026-06-03 14:00 America/New_York", "go", "IANA tzdata, Pacific/Honolulu"),
    ("Alaska opens when Adak does, too", "+19075550100", "", "Wed 2026-06-03 08:59 America/Anchorage", "quiet_hours until Wed 2026-06-03 09:00", "IANA tzdata, America/Adak"),
    ("Alaska closes when Anchorage does", "+19075550100", "", "Wed 2026-06-03 21:00 America/Anchorage", "quiet_hours until Thu 2026-06-04 09:00", "IANA tzdata, America/Adak"),
    ("Phoenix keeps no summer time", "+16025550100", "", "Wed 2026-06-03 08:00 America/Phoenix", "go", "IANA tzdata, America/Phoenix"),
    ("Phoenix is an hour behind Denver in summer", "+16025550100", "", "Wed 2026-06-03 08:59 America/Denver", "quiet_hours until Wed 2026-06-03 09:00", "IANA tzdata, America/Phoenix"),
    ("Phoenix is with Denver in winter", "+16025550100", "", "Wed 2026-01-07 08:00 America/Denver", "go", "IANA tzdata, America/Phoenix"),
    ("Northern Arizona may keep summer time: Navajo Nation", "+19285550100", "", "Wed 2026-06-03 20:00 America/Phoenix", "quiet_hours until Thu 2026-06-04 08:00", "IANA tzdata, America/Phoenix and America/Denver"),
    ("Northwest Indiana may be an hour behind Indianapolis", "+12195550100", "", "Wed 2026-06-03 08:59 America/New_York", "quiet_hours until Wed 2026-06-03 09:00", "49 CFR 71.5, 71.6"),
    ("Indianapolis is Eastern", "+13175550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "49 CFR 71.5"),
    ("Evansville's area code is split: closing is Eastern", "+18125550100", "", "Wed 2026-06-03 20:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "49 CFR 71.5, 71.6"),
    ("Chattanooga's area code is split: opening is Central", "+14235550100", "", "Wed 2026-06-03 08:59 America/New_York", "quiet_hours until Wed 2026-06-03 09:00", "49 CFR 71.5, 71.6"),
    ("Nashville is Central", "+16155550100", "", "Wed 2026-06-03 08:00 America/Chicago", "go", "49 CFR 71.6"),
    ("Knoxville is Eastern", "+18655550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "49 CFR 71.5"),
    ("Western Kentucky: 10:00 in both zones", "+12705550100", "", "Wed 2026-06-03 10:59 America/New_York", "quiet_hours until Wed 2026-06-03 11:00", "Ky. Rev. Stat. 367.46955; 49 CFR 71.5, 71.6"),
    ("Florida's panhandle: 20:00 in the eastern zone", "+18505550100", "", "Wed 2026-06-03 19:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "Fla. Stat. 501.616(6)(a); 49 CFR 71.5"),
    ("Orlando's second area code is Eastern, whatever the library says", "+16895550100", "", "Wed 2026-06-03 08:00 America/New_York", "go", "49 CFR 71.5; NANPA planning letters"),
    ("El Paso is Mountain", "+19155550100", "", "Wed 2026-06-03 09:00 America/Denver", "go", "49 CFR 71.7, 71.8"),
    ("El Paso, a minute early", "+19155550100", "", "Wed 2026-06-03 08:59 America/Denver", "quiet_hours until Wed 2026-06-03 09:00", "49 CFR 71.7, 71.8"),
    ("Puerto Rico", "+17875550100", "", "Wed 2026-06-03 07:59 America/Puerto_Rico", "quiet_hours until Wed 2026-06-03 08:00", "IANA tzdata, America/Puerto_Rico"),
    ("Guam's morning is yesterday in New York", "+16715550100", "", "Tue 2026-06-02 18:00 America/New_York", "go", "IANA tzdata, Pacific/Guam"),
    ("Toronto", "+14165550100", "", "Wed 2026-06-03 09:00 America/Toronto", "go", "CRTC Unsolicited Telecommunications Rules, part III, 23"),
    ("Toronto, a minute early", "+14165550100", "", "Wed 2026-06-03 08:59 America/Toronto", "quiet_hours until Wed 2026-06-03 09:00", "CRTC Unsolicited Telecommunications Rules, part III, 23"),
    ("Toronto on a Saturday evening", "+14165550100", "", "Sat 2026-06-06 18:00 America/Toronto", "quiet_hours until Sun 2026-06-07 10:00", "CRTC Unsolicited Telecommunications Rules, part III, 23"),
    ("A New Yorker who lives somewhere in Ontario, on a Saturday", "+12125550100", "state=Ontario", "Sat 2026-06-06 10:30 America/Toronto", "quiet_hours until Sat 2026-06-06 11:00", "CRTC Unsolicited Telecommunications Rules, part III, 23"),
    ("Vancouver is known by its postal code", "+14165550100", "zip=V6B 1A1", "Wed 2026-06-03 09:00 America/Toronto", "quiet_hours until Wed 2026-06-03 12:00", "Canada Post, forward sortation areas"),
    ("Kingston at 22:30, the account in Los Angeles", "+18765550100", "account=America/Los_Angeles", "Wed 2026-06-03 21:30 America/Jamaica", "quiet_hours until Thu 2026-06-04 08:00", "NANPA: 876 is Jamaica's"),
    ("Kingston, the new code", "+16585550100", "account=America/Los_Angeles", "Wed 2026-06-03 21:30 America/Jamaica", "quiet_hours until Thu 2026-06-04 08:00", "NANPA: 658 is Jamaica's"),
    ("Port of Spain", "+18685550100", "account=America/Los_Angeles", "Wed 2026-06-03 22:30 America/Port_of_Spain", "quiet_hours until Thu 2026-06-04 08:00", "NANPA: 868 is Trinidad's"),
    ("Bermuda", "+14415550100", "account=America/Los_Angeles", "Wed 2026-06-03 23:30 Atlantic/Bermuda", "quiet_hours until Thu 2026-06-04 08:00", "NANPA: 441 is Bermuda's"),
    ("Nassau", "+12425550100", "account=America/Los_Angeles", "Wed 2026-06-03 22:30 America/Nassau", "quiet_hours until Thu 2026-06-04 08:00", "NANPA: 242 is the Bahamas'"),
    ("Guam is a day ahead", "+16715550100", "account=America/Los_Angeles", "Thu 2026-06-04 07:30 Pacific/Guam", "quiet_hours until Thu 2026-06-04 08:00", "NANPA: 671 is Guam's"),
    ("The east of British Columbia has Alberta's time", "+12505550100", "", "Wed 2026-06-03 20:30 America/Vancouver", "quiet_hours until Thu 2026-06-04 09:00", "IANA tzdata, America/Edmonton"),
    ("An area code that nobody has assigned", "+12225550100", "account=America/Los_Angeles", "Wed 2026-06-03 12:00 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 15:00", "NANPA: 222 is not assigned"),
    ("Newfoundland is half an hour off, Labrador is not", "+17095550100", "", "Wed 2026-06-03 09:29 America/St_Johns", "quiet_hours until Wed 2026-06-03 09:30", "IANA tzdata, America/St_Johns and America/Halifax"),
    ("Saskatchewan keeps no summer time, but Lloydminster does, by Alberta's", "+13065550100", "", "Wed 2026-01-07 09:00 America/Regina", "quiet_hours until Wed 2026-01-07 10:00", "IANA tzdata, America/Regina and America/Edmonton"),
    ("A British mobile", "+447911123456", "", "Wed 2026-06-03 08:00 Europe/London", "go", "IANA tzdata, Europe/London"),
    ("A British mobile, a minute early", "+447911123456", "", "Wed 2026-06-03 07:59 Europe/London", "quiet_hours until Wed 2026-06-03 08:00", "IANA tzdata, Europe/London"),
    ("A British mobile, closing", "+447911123456", "", "Wed 2026-06-03 21:00 Europe/London", "quiet_hours until Thu 2026-06-04 08:00", "IANA tzdata, Europe/London"),
    ("An Australian mobile may be in Sydney, in Perth or on the Cocos Islands", "+61412345678", "", "Wed 2026-06-03 09:29 Australia/Sydney", "quiet_hours until Wed 2026-06-03 11:30", "IANA tzdata, Indian/Cocos"),
    ("Tokyo", "+819012345678", "", "Wed 2026-06-03 20:59 Asia/Tokyo", "go", "IANA tzdata, Asia/Tokyo"),
    ("Toll-free alone: when it is day from Guam to Newfoundland", "+18005550100", "", "Wed 2026-06-03 12:00 America/New_York", "quiet_hours until Wed 2026-06-03 18:00", "NANPA: 800 numbers belong to no place"),
    ("Toll-free, and the account is in Chicago", "+18005550100", "account=America/Chicago", "Wed 2026-06-03 08:00 America/Chicago", "go", "the account's time_zone"),
    ("Toll-free, and it is early at the account's", "+18005550100", "account=America/Chicago", "Wed 2026-06-03 07:59 America/Chicago", "quiet_hours until Wed 2026-06-03 08:00", "the account's time_zone"),
    ("A number of nowhere", "+882161234567", "", "Wed 2026-06-03 12:00 America/New_York", "time_zone", "ITU-T E.164, shared code 882"),
    ("A number of nowhere, and the account is somewhere", "+882161234567", "account=Europe/Berlin", "Wed 2026-06-03 12:00 Europe/Berlin", "go", "the account's time_zone"),
    ("The account's zone does not say in which half of its area code somebody is", "+18505550100", "account=America/Chicago", "Wed 2026-06-03 19:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "Fla. Stat. 501.616(6)(a)"),
    ("The account's zone is none of the number's: it does not count", "+14155550100", "account=America/New_York", "Wed 2026-06-03 10:59 America/New_York", "quiet_hours until Wed 2026-06-03 11:00", "47 CFR 64.1200(c)(1)"),
    ("The CRM's zone is better than the number's", "+12125550100", "zone=America/Los_Angeles", "Wed 2026-06-03 07:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 08:00", "47 CFR 64.1200(c)(1): the called party's location"),
    ("The CRM's zone as people write it", "+12125550100", "zone=Pacific Time (US & Canada)", "Wed 2026-06-03 07:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 08:00", "CLDR time zone names"),
    ("EST written in summer is New York's clock", "+14155550100", "zone=EST", "Wed 2026-06-03 08:00 America/New_York", "go", "CLDR time zone names"),
    ("UTC is what systems put where nobody chose", "+14155550100", "zone=UTC", "Wed 2026-06-03 07:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 08:00", "CLDR time zone names"),
    ("Central European Time is not Central Time", "+14155550100", "zone=Central European Time", "Wed 2026-06-03 07:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 08:00", "CLDR time zone names"),
    ("The CRM's state is better than the number's zone", "+12125550100", "state=CA", "Wed 2026-06-03 07:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 08:00", "47 CFR 64.1200(c)(1): the called party's location"),
    ("A Florida number in California: Florida's hours by California's clock", "+13055550100", "state=California", "Wed 2026-06-03 20:00 America/Los_Angeles", "quiet_hours until Thu 2026-06-04 08:00", "Fla. Stat. 501.059(8)(d): the area code's presumption"),
    ("A California number in Oklahoma: Oklahoma's hours", "+14155550100", "state=OK", "Wed 2026-06-03 20:00 America/Chicago", "quiet_hours until Thu 2026-06-04 08:00", "Okla. Stat. tit. 15, 775C.4"),
    ("A Texas number in Connecticut: both states' hours", "+15125550100", "state=CT", "Sun 2026-06-07 11:59 America/New_York", "quiet_hours until Sun 2026-06-07 12:00", "Tex. Bus. & Com. Code 301.051; Conn. Gen. Stat. 42-288a"),
    ("A state with two zones: both count", "+14155550100", "state=TN", "Wed 2026-06-03 08:59 America/New_York", "quiet_hours until Wed 2026-06-03 09:00", "49 CFR 71.5, 71.6"),
    ("A state with two zones, and the CRM's zone says which", "+14155550100", "state=TN; zone=America/New_York", "Wed 2026-06-03 08:00 America/New_York", "go", "49 CFR 71.5"),
    ("The CRM's state and zone contradict: both count", "+14155550100", "state=NY; zone=America/Los_Angeles", "Wed 2026-06-03 10:59 America/New_York", "quiet_hours until Wed 2026-06-03 11:00", "47 CFR 64.1200(c)(1)"),
    ("A ZIP code in Miami: Florida's hours, in both of its zones", "+14155550100", "zip=33101", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 09:00", "USPS Publication 65; Fla. Stat. 501.616(6)(a)"),
    ("ZIP+4", "+14155550100", "zip=33101-1234", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 09:00", "USPS Publication 65"),
    ("A ZIP code without its zero, from a spreadsheet: Boston", "+14155550100", "zip=2108", "Wed 2026-06-03 20:00 America/New_York", "quiet_hours until Thu 2026-06-04 08:00", "USPS Publication 65; Mass. Gen. Laws ch. 159C, 3"),
    ("State and ZIP code contradict: both count", "+14155550100", "state=NY; zip=90001", "Wed 2026-06-03 10:59 America/New_York", "quiet_hours until Wed 2026-06-03 11:00", "47 CFR 64.1200(c)(1)"),
    ("No ZIP code at all: the number counts", "+14155550100", "zip=SW1A 1AA", "Wed 2026-06-03 08:00 America/Los_Angeles", "go", "47 CFR 64.1200(c)(1)"),
    ("Five digits in Germany are no ZIP code", "+4915112345678", "zip=33101", "Wed 2026-06-03 20:59 Europe/Berlin", "go", "IANA tzdata, Europe/Berlin"),
    ("Spring: the night of the skipped hour", "+12125550100", "", "Sat 2026-03-07 21:00 America/New_York", "quiet_hours until Sun 2026-03-08 08:00", "15 U.S.C. 260a: 2:00 on the second Sunday of March"),
    ("Spring: a minute early on the short day", "+12125550100", "", "Sun 2026-03-08 07:59 America/New_York", "quiet_hours until Sun 2026-03-08 08:00", "15 U.S.C. 260a"),
    ("Spring: opening on the short day", "+12125550100", "", "Sun 2026-03-08 08:00 America/New_York", "go", "15 U.S.C. 260a"),
    ("Spring: Phoenix does not change", "+16025550100", "", "Sun 2026-03-08 07:59 America/Phoenix", "quiet_hours until Sun 2026-03-08 08:00", "IANA tzdata, America/Phoenix"),
    ("Autumn: the night of the repeated hour", "+12125550100", "", "Sat 2026-10-31 21:00 America/New_York", "quiet_hours until Sun 2026-11-01 08:00", "15 U.S.C. 260a: 2:00 on the first Sunday of November"),
    ("Autumn: a minute early on the long day", "+12125550100", "", "Sun 2026-11-01 07:59 America/New_York", "quiet_hours until Sun 2026-11-01 08:00", "15 U.S.C. 260a"),
    ("Autumn: opening on the long day", "+12125550100", "", "Sun 2026-11-01 08:00 America/New_York", "go", "15 U.S.C. 260a"),
    ("Autumn: closing on the long day", "+12125550100", "", "Sun 2026-11-01 21:00 America/New_York", "quiet_hours until Mon 2026-11-02 08:00", "15 U.S.C. 260a"),
    ("Autumn in Adak ends later than in Anchorage", "+19075550100", "", "Sun 2026-11-01 08:59 America/Anchorage", "quiet_hours until Sun 2026-11-01 09:00", "IANA tzdata, America/Adak"),
    ("London changes on another Sunday", "+447911123456", "", "Sun 2026-03-29 07:59 Europe/London", "quiet_hours until Sun 2026-03-29 08:00", "IANA tzdata, Europe/London"),
    ("The repeated hour itself is night", "+12125550100", "", "Sun 2026-11-01 01:30 America/New_York", "quiet_hours until Sun 2026-11-01 08:00", "15 U.S.C. 260a"),
)
# fmt: on

# The same with the hours as they are configured by default: 9 to 20, Sundays from 12.
# fmt: off
DEFAULT_HOURS: Sequence[tuple[str, str, str, str, str, str]] = (
    ("A minute early", "+14155550100", "", "Wed 2026-06-03 08:59 America/Los_Angeles", "quiet_hours until Wed 2026-06-03 09:00", "policy.text_from"),
    ("Opening", "+14155550100", "", "Wed 2026-06-03 09:00 America/Los_Angeles", "go", "policy.text_from"),
    ("The last minute", "+14155550100", "", "Wed 2026-06-03 19:59 America/Los_Angeles", "go", "policy.text_until"),
    ("Closing", "+14155550100", "", "Wed 2026-06-03 20:00 America/Los_Angeles", "quiet_hours until Thu 2026-06-04 09:00", "policy.text_until"),
    ("Sunday, a minute early", "+14155550100", "", "Sun 2026-06-07 11:59 America/Los_Angeles", "quiet_hours until Sun 2026-06-07 12:00", "policy.sunday_from"),
    ("Sunday noon", "+14155550100", "", "Sun 2026-06-07 12:00 America/Los_Angeles", "go", "policy.sunday_from"),
    ("Saturday is a weekday", "+14155550100", "", "Sat 2026-06-06 09:00 America/Los_Angeles", "go", "policy.text_from"),
    ("Saturday night waits for Sunday noon", "+14155550100", "", "Sat 2026-06-06 20:00 America/Los_Angeles", "quiet_hours until Sun 2026-06-07 12:00", "policy.sunday_from"),
    ("It is still Sunday evening in Honolulu", "+18085550100", "", "Mon 2026-06-08 01:00 America/New_York", "go", "policy.sunday_from"),
    ("It is Sunday morning in Honolulu, afternoon in New York", "+18085550100", "", "Sun 2026-06-07 15:00 America/New_York", "quiet_hours until Sun 2026-06-07 18:00", "policy.sunday_from"),
    ("Toll-free alone: no hour suits Guam and Newfoundland", "+18005550100", "", "Wed 2026-06-03 12:00 America/New_York", "time_zone", "NANPA: 800 numbers belong to no place"),
    ("Kentucky's ten o'clock is later than the configured nine", "+15025550100", "", "Wed 2026-06-03 09:59 America/New_York", "quiet_hours until Wed 2026-06-03 10:00", "Ky. Rev. Stat. 367.46955"),
    ("Rhode Island closes before the configured eight", "+14015550100", "", "Wed 2026-06-03 18:00 America/New_York", "quiet_hours until Thu 2026-06-04 09:00", "R.I. Gen. Laws 5-61-2(2)"),
    ("The state cannot widen what is configured", "+15125550100", "", "Wed 2026-06-03 20:00 America/Chicago", "quiet_hours until Thu 2026-06-04 09:00", "policy.text_until"),
)
# fmt: on

# Wednesday noon in California, when everything is open; and that evening.
NOON = datetime(2026, 6, 3, 19, tzinfo=UTC)
NIGHT = datetime(2026, 6, 4, 6, tzinfo=UTC)
MORNING = "Thu 2026-06-04 09:00"
LATER, AGO = NOON + timedelta(minutes=30), NOON - timedelta(minutes=30)
CALIFORNIA = locations_of("+14155550100")


def _quiet(policy: Policy = DEFAULTS) -> QuietHours:
    rules = rules_for(policy, CALIFORNIA)
    assert rules is not None
    return QuietHours(rules, CALIFORNIA, policy.release_jitter)


OPTED_OUT = {"opted_out": OptedOut(AGO, "relay")}
DO_NOT_TEXT = {"do_not_text": 'the field "dnc" of the CRM record crm 7'}
ABROAD = {"country": country_problem("+525512345678", "+14155550100", Policy())}
NONE_ON_RECORD = {"consent_missing": "no consent of +1415•••2671 is on record"}
NO_CONSENT = {"no_consent": 'the field "sms_consent" of the CRM record crm 7'}
LATE = {"expires_at": AGO}
GONE = {"contact_deleted": True}
MOVED_NUMBER = {"phone_changed": True}
UNWANTED = {"unwanted": ("moved", "the date was moved")}
DUPLICATE = {"duplicate_of": "0123"}
OPEN_RUN = {"batch_verdict": "open"}
TOO_MANY = {"batch_verdict": "over_limit"}
PAUSED = {"paused": "its trigger was paused since 2026-06-01 09:00 UTC by ana"}
BREAKER = {"breaker": "its trigger made 300 texts in 24 hours"}
REVIEW = {"review_since": AGO}
NOT_KNOWN = {"permission_unknown": "the source has no field"}
DUE_LATER = {"due_at": LATER}
AT_NIGHT = {"now": NIGHT}
BEHIND = {"behind": LATER}
CAPPED = {"full_caps": (FullCap("+1415•••0100", "max_per_contact", 10, LATER),)}
URGENT = {"urgent": True}
APPROVED = {"approved": True}
RECORD = {"kind": MessageKind.RECORD}
TCPA = "47 U.S.C. 227; 47 CFR 64.1200(a)(10) on revoked consent"
CTIA = "CTIA Messaging Principles and Best Practices, 5.1"

# name, what is so, decision, source
# fmt: off
RULES: Sequence[tuple[str, Sequence[dict[str, Any]], str, str]] = (
    # One rule each.
    ("nothing speaks against it", [], "go", "policy rule 1"),
    ("a record texts nobody", [RECORD, OPTED_OUT, LATE, AT_NIGHT], "go", "policy rule 1"),
    ("opted out", [OPTED_OUT], "suppress opted_out", TCPA),
    ("the CRM says do not text", [DO_NOT_TEXT], "suppress do_not_text", CTIA),
    ("the CRM does not say yes", [NO_CONSENT], "suppress no_consent", CTIA),
    ("its number is abroad", [ABROAD], "suppress country", "policy rule 4"),
    ("its number is abroad, urgent", [ABROAD, URGENT], "suppress country", "policy rule 4"),
    ("its number is abroad, approved", [ABROAD, APPROVED], "suppress country", "policy rule 4"),
    ("its number is abroad, and it is too late", [ABROAD, LATE], "suppress country", "policy rule 4"),
    ("a record of a text abroad", [RECORD, ABROAD], "go", "policy rule 1"),
    ("too late", [LATE], "expire", "policy rule 5"),
    ("too late to the second", [{"expires_at": NOON}], "expire", "policy rule 5"),
    ("just in time", [{"expires_at": NOON + timedelta(seconds=1)}], "go", "policy rule 5"),
    ("without an end", [{"expires_at": None}], "go", "policy rule 5"),
    ("its record is gone", [GONE], "suppress record_deleted", "policy rule 6"),
    ("its person has another number", [MOVED_NUMBER], "suppress phone_changed", "47 CFR 64.1200(m): reassigned numbers"),
    ("its date was moved", [UNWANTED], "suppress moved", "policy rule 6"),
    ("said already", [DUPLICATE], "suppress duplicate", "policy rule 7"),
    ("said already, and a person approved its batch", [DUPLICATE, APPROVED], "suppress duplicate", "policy rule 7"),
    ("said already, urgent", [DUPLICATE, URGENT], "suppress duplicate", "policy rule 7"),
    ("its run is open", [OPEN_RUN], "hold run", "policy rule 8"),
    ("its run is open, and a person approved: the count is not known yet", [OPEN_RUN, APPROVED], "hold run", "policy rule 8"),
    ("its run texts too many", [TOO_MANY], "hold approval", "policy rule 8"),
    ("its run texts too many, approved", [TOO_MANY, APPROVED], "go", "policy rule 8"),
    ("its trigger is paused", [PAUSED], "hold paused", "policy rule 8"),
    ("its trigger is paused, and a person had approved it", [PAUSED, APPROVED], "hold paused", "policy rule 8"),
    ("its trigger is paused: being urgent does not settle that", [PAUSED, URGENT], "hold paused", "policy rule 8"),
    ("its trigger runs wild", [BREAKER], "hold breaker", "policy rule 9"),
    ("its trigger runs wild, approved", [BREAKER, APPROVED], "go", "policy rule 9"),
    ("its person wrote something", [REVIEW], "hold review", TCPA),
    ("its person wrote something: approving a batch does not settle that", [REVIEW, APPROVED], "hold review", TCPA),
    ("its person wrote something: being urgent does not settle that", [REVIEW, URGENT], "hold review", TCPA),
    ("due later", [DUE_LATER], "hold scheduled until Wed 2026-06-03 12:30", "policy rule 12"),
    ("due now", [{"due_at": NOON}], "go", "policy rule 12"),
    ("at night", [AT_NIGHT], f"hold quiet_hours until {MORNING}", "47 CFR 64.1200(c)(1)"),
    ("at night, urgent", [AT_NIGHT, URGENT], "go", "47 CFR 64.1200(f)(15): what the person asked for"),
    ("at night, approved: a person at a desk does not know the hour there", [AT_NIGHT, APPROVED], f"hold quiet_hours until {MORNING}", "47 CFR 64.1200(c)(1)"),
    ("at night, quiet hours are off", [AT_NIGHT, {"quiet_hours": None}], "go", "policy.quiet_hours"),
    ("behind an earlier one", [BEHIND], "hold order until Wed 2026-06-03 12:30", "policy rule 13"),
    ("behind an earlier one, urgent", [BEHIND, URGENT], "go", "policy rule 13"),
    ("behind an earlier one, but it would expire", [BEHIND, {"expires_at": LATER}], "go", "policy rule 13"),
    ("behind one that is due now", [{"behind": NOON}], "go", "policy rule 13"),
    ("capped", [CAPPED], "hold cap until Wed 2026-06-03 12:30", "policy.max_per_contact"),
    ("capped, urgent", [CAPPED, URGENT], "hold cap until Wed 2026-06-03 12:30", "Fla. Stat. 501.616(6)(b)"),
    ("capped, approved", [CAPPED, APPROVED], "hold cap until Wed 2026-06-03 12:30", "Fla. Stat. 501.616(6)(b)"),
    ("two caps: the longer one", [{"full_caps": (FullCap("a", "max_per_contact", 1, LATER), FullCap("b", "max_per_account", 1, LATER + timedelta(hours=1)))}], "hold cap until Wed 2026-06-03 13:30", "policy.max_per_account"),
    ("quiet hours end after it expires: it waits, and says so", [AT_NIGHT, {"expires_at": NIGHT + timedelta(hours=2)}], f"hold quiet_hours until {MORNING}", "policy rule 13"),
    # Pairs: the earlier rule decides.
    ("opted out before do not text", [OPTED_OUT, DO_NOT_TEXT], "suppress opted_out", TCPA),
    ("opted out before late", [OPTED_OUT, LATE], "suppress opted_out", TCPA),
    ("opted out before an open run", [OPTED_OUT, OPEN_RUN], "suppress opted_out", TCPA),
    ("opted out before urgent", [OPTED_OUT, URGENT], "suppress opted_out", TCPA),
    ("opted out before approved", [OPTED_OUT, APPROVED], "suppress opted_out", TCPA),
    ("opted out before review", [OPTED_OUT, REVIEW], "suppress opted_out", TCPA),
    ("opted out before night", [OPTED_OUT, AT_NIGHT], "suppress opted_out", TCPA),
    ("do not text before no consent", [DO_NOT_TEXT, NO_CONSENT], "suppress do_not_text", CTIA),
    ("do not text before late", [DO_NOT_TEXT, LATE], "suppress do_not_text", CTIA),
    ("do not text before urgent and approved", [DO_NOT_TEXT, URGENT, APPROVED], "suppress do_not_text", CTIA),
    ("no consent is on record", [NONE_ON_RECORD], "suppress no_consent", "47 CFR 64.1200(f)(9)"),
    ("none on record before late", [NONE_ON_RECORD, LATE], "suppress no_consent", "47 CFR 64.1200(f)(9)"),
    ("none on record, urgent and approved", [NONE_ON_RECORD, URGENT, APPROVED], "suppress no_consent", CTIA),
    ("opted out before none on record", [NONE_ON_RECORD, OPTED_OUT], "suppress opted_out", CTIA),
    ("no consent before late", [NO_CONSENT, LATE], "suppress no_consent", CTIA),
    ("no consent before urgent and approved", [NO_CONSENT, URGENT, APPROVED], "suppress no_consent", CTIA),
    ("late before its record is gone", [LATE, GONE], "expire", "policy rule 5"),
    ("late before too many", [LATE, TOO_MANY], "expire", "policy rule 5"),
    ("late before review", [LATE, REVIEW], "expire", "policy rule 5"),
    ("late although approved and urgent", [LATE, APPROVED, URGENT], "expire", "policy rule 5"),
    ("gone before another number", [GONE, MOVED_NUMBER], "suppress record_deleted", "policy rule 6"),
    ("another number before moved", [MOVED_NUMBER, UNWANTED], "suppress phone_changed", "policy rule 6"),
    ("moved before a duplicate", [UNWANTED, DUPLICATE], "suppress moved", "policy rule 6"),
    ("gone although approved", [GONE, APPROVED], "suppress record_deleted", "policy rule 6"),
    ("a duplicate before an open run", [DUPLICATE, OPEN_RUN], "suppress duplicate", "policy rule 7"),
    ("late before a pause", [LATE, PAUSED], "expire", "policy rule 5"),
    ("opted out before a pause", [OPTED_OUT, PAUSED], "suppress opted_out", CTIA),
    ("a pause before an open run", [PAUSED, OPEN_RUN], "hold paused", "policy rule 8"),
    ("a pause before review, whose end would release it", [PAUSED, REVIEW], "hold paused", "policy rule 8"),
    ("a pause before quiet hours", [PAUSED, AT_NIGHT], "hold paused", "policy rule 8"),
    ("an open run before the breaker", [OPEN_RUN, BREAKER], "hold run", "policy rule 8"),
    ("too many before the breaker", [TOO_MANY, BREAKER], "hold approval", "policy rule 8"),
    ("the breaker before review", [BREAKER, REVIEW], "hold breaker", "policy rule 9"),
    ("what the CRM says is not known", [NOT_KNOWN], "hold permission_unknown", CTIA),
    ("what the CRM says is not known: being urgent does not settle that", [NOT_KNOWN, URGENT], "hold permission_unknown", CTIA),
    ("what the CRM says is not known: approving does not settle that", [NOT_KNOWN, APPROVED], "hold permission_unknown", CTIA),
    ("a known no before what is not known", [DO_NOT_TEXT, NOT_KNOWN], "suppress do_not_text", CTIA),
    ("no consent before what is not known", [NO_CONSENT, NOT_KNOWN], "suppress no_consent", CTIA),
    ("late before what is not known", [LATE, NOT_KNOWN], "expire", "policy rule 5"),
    ("its run before what is not known", [OPEN_RUN, NOT_KNOWN], "hold run", "policy rule 8"),
    ("review before what is not known", [REVIEW, NOT_KNOWN], "hold review", "policy rule 10"),
    ("what is not known before a later time", [NOT_KNOWN, DUE_LATER], "hold permission_unknown", "policy rule 11"),
    ("what is not known before night", [NOT_KNOWN, AT_NIGHT], "hold permission_unknown", "policy rule 11"),
    ("review before a later time", [REVIEW, DUE_LATER], "hold review", "policy rule 10"),
    ("review before night", [REVIEW, AT_NIGHT], "hold review", "policy rule 10"),
    ("a later time before night", [{"due_at": NIGHT + timedelta(hours=1)}, AT_NIGHT], "hold scheduled until Thu 2026-06-04 00:00", "policy rule 12"),
    ("a later time before urgent", [DUE_LATER, URGENT], "hold scheduled until Wed 2026-06-03 12:30", "policy rule 12"),
    ("night before a cap", [AT_NIGHT, {"full_caps": (FullCap("a", "max_per_contact", 1, NIGHT + timedelta(hours=1)),)}], f"hold quiet_hours until {MORNING}", "policy rule 13"),
    ("night before the order", [AT_NIGHT, {"behind": NIGHT + timedelta(hours=12)}], f"hold quiet_hours until {MORNING}", "policy rule 13"),
    ("the order before a cap", [BEHIND, {"full_caps": (FullCap("a", "max_per_contact", 1, LATER + timedelta(hours=1)),)}], "hold order until Wed 2026-06-03 12:30", "policy rule 13"),
)
# fmt: on


@pytest.mark.parametrize(("name", "number", "known", "now", "expected", "source"), HOURS, ids=[row[0] for row in HOURS])
def test_hours_of_the_law(name: str, number: str, known: str, now: str, expected: str, source: str) -> None:
    assert _asked(THE_LAW, number, known, now) == expected, (name, source)


@pytest.mark.parametrize(
    ("name", "number", "known", "now", "expected", "source"), DEFAULT_HOURS, ids=[row[0] for row in DEFAULT_HOURS]
)
def test_hours_by_default(name: str, number: str, known: str, now: str, expected: str, source: str) -> None:
    assert _asked(DEFAULTS, number, known, now) == expected, (name, source)


@pytest.mark.parametrize(("name", "facts", "expected", "source"), RULES, ids=[row[0] for row in RULES])
def test_rules_and_which_comes_first(name: str, facts: Sequence[dict[str, Any]], expected: str, source: str) -> None:
    said: dict[str, Any] = {}
    for fact in facts:
        said |= fact
    now = said.pop("now", NOON)
    plain = PolicyFacts(
        MessageKind.SEND, now + timedelta(hours=24), None, to_number="+14155550100", quiet_hours=_quiet()
    )
    decision = decide(replace(plain, **said), now)
    assert _words(decision, "America/Los_Angeles") == expected, (name, source)


def test_there_is_a_case_for_every_code() -> None:
    codes = {code for _, _, expected, _ in RULES for code in expected.split()[1:2]} | {"time_zone"}
    assert set(RELEASED_BY) <= codes
    assert len(HOURS) + len(DEFAULT_HOURS) + len(RULES) >= 150


def test_every_case_names_its_source() -> None:
    assert all(row[-1].strip() for row in (*HOURS, *DEFAULT_HOURS, *RULES))


def _asked(policy: Policy, number: str, known: str, now: str) -> str:
    """What the policy says of a text without anything special; ``now`` is a day, a time and a zone."""
    facts = dict(re.findall(r"(\w+)=([^;]+)", known))
    record = RecordPlace(facts.get("zone", ""), facts.get("state", ""), facts.get("zip", ""))
    locations = locations_of(number, [record], facts.get("account"))
    rules = rules_for(policy, locations)
    assert rules is not None
    moment, zone = _moment(now)
    quiet = QuietHours(rules, locations, policy.release_jitter)
    view = PolicyFacts(MessageKind.SEND, moment + timedelta(days=7), None, to_number=number, quiet_hours=quiet)
    return _words(decide(view, moment), zone).removeprefix("hold ")


def _moment(text: str) -> tuple[datetime, str]:
    day, date, clock, zone = text.split()
    moment = datetime.fromisoformat(f"{date} {clock}").replace(tzinfo=ZoneInfo(zone))
    assert f"{moment:%a}" == day, f"{text}: that is a {moment:%A}"
    return moment, zone


def _words(decision: PolicyDecision, zone: str) -> str:
    match decision:
        case Go():
            return "go"
        case Expire():
            return "expire"
        case Suppress():
            return f"suppress {decision.code}"
        case Hold(until=None):
            return f"hold {decision.code}"
        case Hold():
            assert decision.until is not None
            return f"hold {decision.code} until {decision.until.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"
