//! The program: the library's loop between standard input and standard output.

#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::sync::mpsc::{self, Sender};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use swarm::{Answer, Order, Target};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    raise_descriptors();
    let mut first = String::new();
    if io::stdin().read_line(&mut first)? == 0 {
        return Err("swarm reads a target and then orders, a line of JSON each".into());
    }
    let target: Target = serde_json::from_str(&first)
        .map_err(|error| format!("the first line is not a target: {error}"))?;
    let (sender, orders) = mpsc::channel();
    let reader = std::thread::spawn(move || read_orders(&sender));
    swarm::run(target, &orders, |answer| print(&answer))?;
    match reader.join() {
        Ok(read) => Ok(read?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Hands on orders until there are no more, or one is none.
fn read_orders(orders: &Sender<Order>) -> Result<(), String> {
    for line in io::stdin().lines() {
        let line = line.map_err(|error| format!("cannot read orders: {error}"))?;
        let order = serde_json::from_str(&line)
            .map_err(|error| format!("not an order: {line}: {error}"))?;
        if orders.send(order).is_err() {
            break;
        }
    }
    Ok(())
}

fn print(answer: &Answer) -> io::Result<()> {
    let line = serde_json::to_string(answer)?;
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// Lets this process open as many descriptors as it may.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where that is not allowed, streams that find no descriptor are reported as failed.
    let _ = setrlimit(Resource::Nofile, raised);
}
