//! Pages of the hub: one struct a page, one template of the same name. The struct holds finished
//! strings; the template only loops and chooses.

pub mod report;
