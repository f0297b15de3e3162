"""Who may call what, and how much: tokens, roles, quotas, TLS, and the gate before every method of every port."""
