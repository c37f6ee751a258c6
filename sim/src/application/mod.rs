//! The application: whoever writes to the database.
