//! Decides and drives: queue, driver, sync and restore runs.
