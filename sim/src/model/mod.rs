//! What each client must have seen, from the commit log alone.
