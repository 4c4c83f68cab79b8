"""The store: tables, transactions, migrations, and the SQL that more than one module needs."""
