"""What every adapter for an HTTP API needs. An adapter builds an ``HttpApi`` and keeps only its own recipe.

``HttpApi`` sends requests and raises AdapterErrors. ``auth`` has the credentials, ``paging`` the ways to read a list,
``records`` the shapes of records, ``values`` their values by type, ``kinds`` the ids of persons and deals, ``lookups``
the names of owners and stages, ``changes`` the bounds of an incremental run, ``stages`` several lists in one run,
``webhooks`` the proofs that a webhook comes from the CRM, ``crm`` the adapter of a CRM that has it all.
"""

from crm_adapters.http.api import HttpApi, Judge, TimeLimits, quoted
from crm_adapters.http.auth import Auth, BasicAuth, BearerAuth, HeaderAuth, NoAuth, ParameterAuth, Signature
from crm_adapters.http.changes import ChangeWindow, epoch_milliseconds, iso_time, moment_of
from crm_adapters.http.crm import CrmAdapter
from crm_adapters.http.kinds import DEAL, ids_of, is_number, kind_and_number, numbered_id, without_id
from crm_adapters.http.lookups import Lookups
from crm_adapters.http.paging import (
    Batch,
    cursor_batches,
    items_of,
    keyset_batches,
    link_batches,
    number_batches,
    offset_batches,
)
from crm_adapters.http.records import chosen_fields, fill, flatten, scalar_of, value_at
from crm_adapters.http.reply import ApiReply
from crm_adapters.http.stages import Changes, first_state, read_stages
from crm_adapters.http.values import ApiField, LabelledList, Names, used_fields
from crm_adapters.http.webhooks import has_basic_credential, is_recent, is_signed, same_text

__all__ = [
    "DEAL",
    "ApiField",
    "ApiReply",
    "Auth",
    "BasicAuth",
    "Batch",
    "BearerAuth",
    "ChangeWindow",
    "Changes",
    "CrmAdapter",
    "HeaderAuth",
    "HttpApi",
    "Judge",
    "LabelledList",
    "Lookups",
    "Names",
    "NoAuth",
    "ParameterAuth",
    "Signature",
    "TimeLimits",
    "chosen_fields",
    "cursor_batches",
    "epoch_milliseconds",
    "fill",
    "first_state",
    "flatten",
    "has_basic_credential",
    "ids_of",
    "is_number",
    "is_recent",
    "is_signed",
    "iso_time",
    "items_of",
    "keyset_batches",
    "kind_and_number",
    "link_batches",
    "moment_of",
    "number_batches",
    "numbered_id",
    "offset_batches",
    "quoted",
    "read_stages",
    "same_text",
    "scalar_of",
    "used_fields",
    "value_at",
    "without_id",
]
