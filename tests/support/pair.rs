//! Two nodes of two engines each on one database, one with io_uring and one with epoll: what one of
//! them says, the other has to say as well.

use super::{Config, Database, Driver, Node};

/// A database and two nodes on it.
pub(crate) struct Pair {
    // Dropped in this order: the nodes let go of their slots before the database goes.
    pub(crate) nodes: [Node; 2],
    pub(crate) database: Database,
}

impl Pair {
    /// On the application of `schema.sql`.
    pub(crate) fn new() -> Self {
        Self::on(Database::new(), |config| config)
    }

    /// On this database, with a configuration that differs.
    pub(crate) fn on(database: Database, change: impl FnOnce(Config) -> Config) -> Self {
        let config = change(Config::new(&database, Driver::Uring));
        let other = config.clone().on_another_port();
        let other = other.text("engine.driver", Driver::Epoll.setting());
        // Both at once: each has to read the window first.
        let mut nodes = [Node::launch(&config), Node::launch(&other)];
        nodes.iter_mut().for_each(Node::wait_ready);
        Self { nodes, database }
    }
}
