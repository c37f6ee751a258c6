//! The program: `cargo run -p sim -- --seed N`.

use sim::trace::Trace;
use sim::world::World;

fn main() {
    let seed = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let count = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in seed..seed + count {
        let trace = if count == 1 { Trace::shown() } else { Trace::default() };
        let mut world = World::new(seed, trace);
        let outcome = world.run();
        if count == 1 { world.trace().lines().for_each(|line| println!("{line}")); }
        println!("{seed} {outcome:?}");
    }
}
