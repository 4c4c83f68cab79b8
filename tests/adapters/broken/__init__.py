"""Adapters that break one promise each. The conformance kit must catch every one.

To add one: a subclass of ``Good`` with a docstring that says what it does wrong, under ``@caught_by`` with the test
that must fail and a part of what it says. ``test_testing_kit`` runs all, and docs/conformance.md lists them.
"""
