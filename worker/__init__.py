"""The worker: from CRM changes to VirtualText contacts and texts."""
