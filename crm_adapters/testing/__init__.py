"""Conformance tests: the promises of ``crm_adapters.base``. Every adapter inherits and passes them, ours and others'.

    from crm_adapters.testing import AdapterConformance, SampleContact

    class TestAcme(AdapterConformance):
        def make_source(self, folder): ...          # an empty CRM: a file, a database, a fake server
        def put(self, source, contact): ...         # create the record, or overwrite the one with its id; return its id
        def delete(self, source, external_id): ...
        def adapter(self, source): ...              # a new adapter that reads it, over HTTP at self.url(source)
        def upstream(self, source): ...             # for HTTP: the address of the CRM, to put a failing proxy before it
        def break_source(self, source): ...         # reading it fails from now on

``AdapterHooks`` describes the other hooks. Each has a default, which leaves some promises untested: pytest reports them
as skipped, with the reason, and ``python -m crm_adapters.testing.report`` writes a table.

An adapter that also writes (``WritesMessages``) inherits ``WritesConformance`` beside it:

    class TestAcme(AdapterConformance, WritesConformance):
        def logged(self, source, external_id): ...  # the texts in the record's history, as CrmMessage
        flag = "do_not_text"                        # a field that opt-outs can be written to
        def do_not_text(self, source, external_id): ...   # its value, as bool or None

Run it with pytest; Hypothesis must be installed too. The tests use the adapter only as the engine does.
"""

from crm_adapters.testing.describing import DescribesItself
from crm_adapters.testing.failing import ReportsFailures
from crm_adapters.testing.hooks import AdapterHooks
from crm_adapters.testing.proxy import CrmFault, ScriptedProxy
from crm_adapters.testing.reading import ListsRecords
from crm_adapters.testing.recording import read_steps, record_adapter, replay_adapter
from crm_adapters.testing.resuming import ResumesPulls
from crm_adapters.testing.roles import KeepsItsRoles
from crm_adapters.testing.samples import SampleContact
from crm_adapters.testing.writing import WritesConformance


class AdapterConformance(DescribesItself, ListsRecords, ResumesPulls, ReportsFailures, KeepsItsRoles):
    """Inherit as ``class Test...`` and fill in the hooks."""


Contact = SampleContact
"""The former name of ``SampleContact``, for adapters that were tested with it."""

__all__ = [
    "AdapterConformance",
    "AdapterHooks",
    "Contact",
    "CrmFault",
    "SampleContact",
    "ScriptedProxy",
    "WritesConformance",
    "read_steps",
    "record_adapter",
    "replay_adapter",
]
