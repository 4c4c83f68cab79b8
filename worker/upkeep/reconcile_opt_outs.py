"""Compares our opt-outs with those of VirtualText, the carriers and the CRM records, as far as each can be asked.

VirtualText's API documents no way to ask. Its contact list has been seen with a flag; where it has none, an opt-out
that only VirtualText knows shows when a text is refused (451). Of the carriers, only some have a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.carriers.provider import CarrierUnavailable
from worker.carriers.registry import CARRIERS
from worker.contacts.remote_list import Listing, list_state, read_list
from worker.core.phones import Phone, parse_phone
from worker.core.progress import Progress, untold
from worker.core.text import counted
from worker.deliveries.opt_out_records import RecordsReport, compare_records
from worker.inbox.carrier_opt_out_lists import read_carrier_opt_outs
from worker.messages.opt_out_lists import ComparedOptOuts, take_over
from worker.messages.opt_outs import NewOptOut, all_opt_outs, count_opt_outs
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.virtualtext.outcomes import RemoteContact

SHOWN = 5


@dataclass(frozen=True, slots=True)
class ReconciledSystem:
    """The result for one system, as a sentence. ``asked``: it could be asked. ``failed``: it should have answered.

    ``differences``: opt-outs that we did not have, or records that did not show one.
    """

    system: str
    result: str
    asked: bool = True
    failed: bool = False
    differences: int = 0


def reconcile_opt_outs(
    runtime: Runtime, *, actor: str, dry_run: bool, progress: Progress = untold
) -> Iterator[ReconciledSystem]:
    """Ask each system. Add the opt-outs that we do not have; write those again that a CRM record does not show.

    The records come last, so that they learn of the new opt-outs, too. ``dry_run``: change nothing. ``progress`` counts
    the entries of one list, then those of the next.
    """
    for account in runtime.settings.accounts:
        yield _with_virtualtext(runtime, account, actor, dry_run, progress)
    for name in runtime.settings.carriers:
        yield _with_carrier(runtime, name, actor, dry_run, progress)
    yield from _with_records(runtime, dry_run, progress)


def _with_virtualtext(
    runtime: Runtime, account: str, actor: str, dry_run: bool, progress: Progress
) -> ReconciledSystem:
    system = f"VirtualText, account {account}"
    listed: list[RemoteContact] = []
    if read_list(runtime, account, listed.extend, progress) is not Listing.READ:
        with reading(runtime.engine) as connection:
            why = list_state(connection, account).error
        text = f"the contact list, which may show opt-outs, could not be read{f' ({why})' if why else ''}"
        return ReconciledSystem(system, text, asked=False, failed=True)
    if all(one.opted_out is None for one in listed):
        text = (
            "the contact list does not show who has opted out, and VirtualText cannot be asked otherwise. An opt-out"
            " that only VirtualText has shows when it refuses a text (451)"
        )
        return ReconciledSystem(system, text, asked=False)
    phones = (parse_phone(one.phone, None) for one in listed if one.opted_out)
    detail = f"VirtualText's contact list of the account {account} shows it"
    found = {phone.e164: NewOptOut(detail, account) for phone in phones if isinstance(phone, Phone)}
    compared = take_over(
        *(runtime.engine, found),
        source="virtualtext_list",
        actor=actor,
        dry_run=dry_run,
        account=account,
        may_be_old=True,
        progress=progress,
    )
    return _taken_over(system, compared, 0, dry_run)


def _with_carrier(runtime: Runtime, name: str, actor: str, dry_run: bool, progress: Progress) -> ReconciledSystem:
    config = runtime.settings.carriers[name]
    system, list_opt_outs = f"carrier {name} ({config.carrier})", CARRIERS[config.carrier].list_opt_outs
    if list_opt_outs is None:
        text = (
            "the carrier has no list of opt-outs to ask for; its events report them, or `vtsync opt-outs import` reads"
            " an export"
        )
        return ReconciledSystem(system, text, asked=False)
    if config.auth_token is None:
        text = f"the carrier has a list of opt-outs; set carriers.{name}.auth_token to ask for it"
        return ReconciledSystem(system, text, asked=False)
    try:
        found = read_carrier_opt_outs(name, config, list_opt_outs, utcnow())
    except CarrierUnavailable as error:
        return ReconciledSystem(system, f"{error}; nothing was compared", asked=False, failed=True)
    compared = take_over(
        runtime.engine, found.opt_outs, source="carrier", actor=actor, dry_run=dry_run, progress=progress
    )
    return _taken_over(system, compared, found.unreadable, dry_run)


def _taken_over(system: str, compared: ComparedOptOuts, unreadable: int, dry_run: bool) -> ReconciledSystem:
    new = len(compared.new)
    listed = new + len(compared.known) + len(compared.lifted)
    parts = [f"{counted(listed, 'opt-out')} listed, {len(compared.known):,} known"]
    if new:
        parts.append(f"{new:,} {'would be added' if dry_run else 'added'}{_examples(compared.new)}")
    if compared.lifted:
        lifted = counted(len(compared.lifted), "person", "people")
        parts.append(f"{lifted} opted in here later, which counts{_examples(compared.lifted)}")
    if unreadable:
        parts.append(f"{counted(unreadable, 'entry', 'entries')} without a phone number")
    return ReconciledSystem(system, "; ".join(parts), differences=new)


def _with_records(runtime: Runtime, dry_run: bool, progress: Progress) -> Iterator[ReconciledSystem]:
    report, compared = RecordsReport(), 0
    with reading(runtime.engine) as connection:
        total = count_opt_outs(connection)
    for portion in all_opt_outs(runtime.engine):
        compare_records(runtime, portion, report, write=not dry_run)
        compared += len(portion)
        progress(compared, total)
    for name, one in report.told.items():
        agree, waiting, missing = one.agree, one.on_the_way, len(one.missing)
        parts = [f"{agree:,} {'shows' if agree == 1 else 'show'} it"]
        if waiting:
            parts.append(f"{waiting:,} {'is' if waiting == 1 else 'are'} written now, or after the last sync")
        if missing:
            what = "would be written again" if dry_run else f"{'is' if missing == 1 else 'are'} written again"
            parts.append(f"{missing:,} {'does' if missing == 1 else 'do'} not and {what}{_examples(one.missing)}")
        people = f"{counted(agree + waiting + missing, 'record')} of opted-out people"
        yield ReconciledSystem(f"connection {name}", f"{people}: {', '.join(parts)}", differences=missing)
    for name, count in sorted(report.not_told.items()):
        text = f"{counted(count, 'record')} of opted-out people; the CRM is not told, because report_opt_outs is off"
        yield ReconciledSystem(f"connection {name}", text, asked=False)


def _examples(found: Mapping[str, object] | Sequence[str]) -> str:
    shown = sorted(found)[:SHOWN]
    return f" ({', '.join(shown)}{' ...' if len(found) > SHOWN else ''})"
