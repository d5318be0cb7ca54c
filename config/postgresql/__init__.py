"""Django's backend for PostgreSQL, with connections that notice a server which has stopped answering (ADR 0159)."""
