//! Wrong batch events, each with what the judge says of it.

use super::scene::{Scene, assert_fault, id, viewer};

#[test]
fn a_batch_that_holds_too_little_too_much_or_what_came_before_is_found() {
    let mut scene = Scene::new();
    scene.batch_over = 2;
    let begin = scene.end();
    scene.rows("o0", 5);
    let viewer = viewer("u1", "o0");
    let told = scene.told(&viewer, begin);
    let batch = |parts: &[usize]| {
        let last = &told[*parts.last().unwrap()];
        let entries = parts.iter().map(|at| {
            let (position, data) = &told[*at];
            let (_, rest) = data.split_once("\"organizationId\":\"o0\"").unwrap();
            format!(
                "{{\"id\":\"{}\"{}",
                id(*position),
                rest.strip_suffix('}').unwrap()
            )
        });
        let entries: Vec<String> = entries.collect();
        let (head, _) = last.1.split_once(",\"table\"").unwrap();
        let head = head.replace("property.insert", "property.insert.batch");
        (
            last.0,
            format!("{head},\"changes\":[{}]}}}}", entries.join(",")),
        )
    };
    let tell = |parts: &[&[usize]]| {
        let mut stream = scene.live(&viewer, begin);
        let told: Vec<_> = parts.iter().map(|part| batch(part)).collect();
        scene.tell(&mut stream, &told)?;
        stream.complete(&scene.model())
    };
    assert_eq!(tell(&[&[0, 1, 2], &[3, 4]]), Ok(()));
    assert_fault(tell(&[&[0, 2], &[3, 4]]), "misses");
    assert_fault(tell(&[&[0, 1], &[3, 4]]), "misses");
    assert_fault(tell(&[&[0, 1, 2], &[2, 3, 4]]), "twice");
    assert_fault(tell(&[&[0, 1, 2]]), "misses");
    assert_fault(tell(&[&[1, 0, 2], &[3, 4]]), "as one event");
    assert_fault(tell(&[&[0]]), "as one event");
    scene.batch_over = 0;
    let mut stream = scene.live(&viewer, begin);
    assert_fault(
        scene.tell(&mut stream, &[batch(&[0, 1, 2])]),
        "as one event",
    );
}
