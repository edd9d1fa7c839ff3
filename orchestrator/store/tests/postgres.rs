//! The contract of the store on a real PostgreSQL server.
