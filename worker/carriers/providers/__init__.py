"""One module for each carrier, which defines ``PROVIDER``. docs/carriers.md says how to add one."""
