//! The tests of the simulation.
