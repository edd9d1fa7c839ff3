//! The state store over SQLite and PostgreSQL.
