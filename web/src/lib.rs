//! Pages of the hub.
