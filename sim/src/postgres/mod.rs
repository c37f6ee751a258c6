//! A cluster that speaks the protocol of PostgreSQL: commit log, slots, walsenders, and what may befall it.
