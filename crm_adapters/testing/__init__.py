"""Conformance tests: the promises of ``crm_adapters.base``. Every adapter inherits and passes them, ours and others'.

    from crm_adapters.testing import AdapterConformance, SampleContact

    class TestAcme(AdapterConformance):
        def make_source(self, folder): ...          # an empty CRM: a file, a database, a fake server
        def put(self, source, contact): ...         # create the record, or overwrite the one with its id
        def delete(self, source, external_id): ...
        def adapter(self, source): ...              # a new adapter that reads it
        def break_source(self, source): ...         # reading it fails from now on

Three more hooks have a default: ``put_at`` (for CRMs with a time of change), ``secrets`` and ``names_of``.

An adapter that also writes (``WritesMessages``) inherits ``WritesConformance`` beside it:

    class TestAcme(AdapterConformance, WritesConformance):
        def logged(self, source, external_id): ...  # the texts in the record's history, as CrmMessage
        flag = "do_not_text"                        # a field that opt-outs can be written to
        def do_not_text(self, source, external_id): ...   # its value, as bool or None

Run it with pytest; Hypothesis must be installed too. The tests use the adapter only as the engine does. They check
that pages are *built* one at a time, but not what else an adapter holds in memory: measure that yourself.
"""

from crm_adapters.testing.reading import AdapterConformance
from crm_adapters.testing.samples import SampleContact
from crm_adapters.testing.writing import WritesConformance

Contact = SampleContact
"""The former name of ``SampleContact``, for adapters that were tested with it."""

__all__ = ["AdapterConformance", "Contact", "SampleContact", "WritesConformance"]
