//! What a run happens to: a PostgreSQL server, two nodes on it, a proxy before each side of each node, a
//! link to one of them, and what belongs to a node beside.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::faults::{Fault, Tally};
use crate::link::Link;
use crate::oracle;
use crate::plan::Plan;
use crate::proxy::Proxy;
use crate::random::Random;
use crate::support::directory::Directory;
use crate::support::postgres::Cluster;
use crate::support::{Config, Database, Driver, Node};
use crate::surroundings::{Clock, LogPipe};
use crate::writers::{Markers, ORGANISATIONS};

/// What a node may keep of events, which bounds its memory ([`crate::RSS_MAX`]).
const LOG_BYTES: &str = "64MiB";

/// The nodes.
pub(crate) const NODES: usize = 2;

/// Everything but the nodes, which belong to whoever strikes them.
pub(crate) struct House {
    pub(crate) database: Database,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) addresses: Vec<SocketAddr>,
    /// Between clients and each node.
    pub(crate) doors: Vec<Proxy>,
    /// Between each node and PostgreSQL.
    pub(crate) wires: Vec<Proxy>,
    /// What each node logs.
    pub(crate) logs: Vec<LogPipe>,
    /// That of the first node.
    pub(crate) clock: Option<Clock>,
    /// To the second node.
    pub(crate) link: Option<Link>,
    pub(crate) markers: Markers,
    pub(crate) tally: Tally,
    /// The clients' users, with their organisations.
    pub(crate) users: Vec<(&'static str, String)>,
    _directory: Directory,
}

impl House {
    /// Starts everything.
    pub(crate) fn new(plan: &Plan, random: &mut Random) -> (Vec<Node>, Self) {
        let (cluster, tally) = (Arc::new(Cluster::start()), Tally::default());
        let database = cluster.create_database();
        let users = create_users(&database, plan.clients);
        oracle::create_slot(&database.connect());
        let directory = Directory::new();
        let told = |result: Result<Link, String>| {
            let network = [
                Fault::NarrowLink,
                Fault::LostPackets,
                Fault::FirewallReset,
                Fault::LinkDown,
            ];
            result
                .inspect_err(|why| network.iter().for_each(|fault| tally.skipped(*fault, why)))
                .ok()
        };
        let link = told(Link::new());
        let clock = Clock::new(directory.join("clock"))
            .inspect_err(|why| tally.skipped(Fault::ClockSteps, why))
            .ok();
        let wires: Vec<Proxy> = (0..NODES).map(|_| Proxy::to(database.address())).collect();
        let logs: Vec<LogPipe> = (0..NODES).map(|_| LogPipe::new()).collect();
        let mut configs: Vec<Config> = (0..NODES)
            .map(|number| config(&database, number, &wires[number], &logs[number]))
            .collect();
        if let Some(clock) = &clock {
            let variables = clock.environment().into_iter();
            configs[0] = variables.fold(configs[0].clone(), |config, (name, value)| {
                config.env(name, value)
            });
        }
        if let Some(link) = &link {
            configs[1] = listening_on(configs[1].clone(), link.address);
        }
        let mut nodes: Vec<Node> = configs.iter().map(Node::launch).collect();
        nodes.iter_mut().for_each(Node::wait_ready);
        let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
        let house = Self {
            doors: addresses.iter().map(|node| Proxy::to(*node)).collect(),
            database,
            cluster,
            addresses,
            wires,
            logs,
            clock,
            link,
            markers: Markers::new(random),
            tally,
            users,
            _directory: directory,
        };
        (nodes, house)
    }

    /// Where client number so many may connect to, and whether it lives at the far end of the link: a
    /// third goes straight to the nodes, a third through the proxies, a third over the link.
    pub(crate) fn way(&self, number: usize) -> (Vec<SocketAddr>, bool) {
        match (number / ORGANISATIONS.len() % 3, &self.link) {
            (1, _) => (self.doors.iter().map(Proxy::address).collect(), false),
            (2, Some(_)) => (vec![self.addresses[1]], true),
            _ => (self.addresses.clone(), false),
        }
    }
}

/// The same node at another address of this machine.
pub(crate) fn listening_on(mut config: Config, address: IpAddr) -> Config {
    config.address.set_ip(address);
    let listen = config.address.to_string();
    config.text("http.listen", &listen)
}

fn config(database: &Database, number: usize, wire: &Proxy, log: &LogPipe) -> Config {
    let driver = if number == 0 {
        Driver::Uring
    } else {
        Driver::Epoll
    };
    let url = database.url_through(wire.address().port());
    let mut config = Config::new(database, driver)
        .text("database.url", &url)
        .text("history.window", "120s")
        .text("history.max_bytes", LOG_BYTES)
        .text("http.heartbeat", "2s")
        .set("limits.publish_per_minute", "600");
    config.log = Some(log.path());
    config
}

/// The clients' users, each in its organisation; a third organisation beside the schema's two.
fn create_users(database: &Database, clients: usize) -> Vec<(&'static str, String)> {
    let sql = database.connect();
    sql.run(r#"INSERT INTO "Organization" VALUES ('initech', 'Initech')"#);
    let count = clients * ORGANISATIONS.len();
    let users = (0..count).map(|number| {
        let organisation = ORGANISATIONS[number % ORGANISATIONS.len()];
        (organisation, format!("user-{number}"))
    });
    let users: Vec<_> = users.collect();
    for (organisation, user) in &users {
        sql.run(&format!(
            r#"INSERT INTO "User" VALUES ('{user}', 'U', 'hash');
               INSERT INTO "OrganizationMember" ("organizationId", "userId")
               VALUES ('{organisation}', '{user}')"#
        ));
    }
    users
}
