//! A node starts while its database is restarted: it waits, whatever the moment at which the connection
//! breaks.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::support::{Config, Database, Driver, Node};

/// What stands in the last question but one of those that a node asks before it starts.
const QUESTION: &[u8] = b"pg_publication";

#[test]
fn a_database_that_goes_away_between_two_questions_is_waited_for() {
    let database = Database::new();
    let url = database.url();
    let (server, _) = url
        .split_once('@')
        .and_then(|(_, rest)| rest.split_once('/'))
        .expect("the address of a database");
    let relay = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let address = relay.local_addr().expect("it is bound");
    let through = url.replace(server, &address.to_string());
    let server: SocketAddr = server.parse().expect("an address");
    thread::spawn(move || {
        for (number, client) in relay.incoming().flatten().enumerate() {
            let server = TcpStream::connect(server).expect("PostgreSQL runs");
            thread::spawn(move || relay_between(client, server, number == 0));
        }
    });
    let config = Config::new(&database, Driver::Epoll).text("database.url", &through);
    let node = Node::start(&config);
    node.wait_for_log("waiting for the database");
    let mut alice = node.open("acme", "alice");
    database
        .connect()
        .run(r#"INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'C')"#);
    assert_eq!(alice.event()["type"], "client.insert");
}

/// Carries bytes both ways; cuts the connection before that question, if it is to be cut.
fn relay_between(mut client: TcpStream, mut server: TcpStream, is_cut: bool) {
    let mut to_client = client.try_clone().expect("there are descriptors");
    let mut from_server = server.try_clone().expect("there are descriptors");
    thread::spawn(move || {
        // Either end may be the first to close.
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let asks = buffer[..count]
            .windows(QUESTION.len())
            .any(|part| part == QUESTION);
        if (is_cut && asks) || server.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}
