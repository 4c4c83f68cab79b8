"""Any CRM with a JSON API, described by options instead of code."""
