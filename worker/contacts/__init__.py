"""From a changed CRM record to a contact in VirtualText: pull, normalise, match, merge, push."""
