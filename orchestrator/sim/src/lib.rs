//! Seeded world: the engine driven with fakes, and the contract suites of every port.
