//! Sets of keys.
