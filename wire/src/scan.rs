//! The search for a byte of some kind, in blocks.

/// The first byte for which the test holds.
///
/// A block is tested without an early exit, which the compiler turns into vector instructions; only
/// the block that holds a hit is looked at byte by byte. What is left behind the long blocks goes in
/// short ones: most texts are no longer than that.
pub(crate) fn position(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (long, rest) = bytes.as_chunks::<32>();
    let (short, rest) = rest.as_chunks::<8>();
    let (short_start, rest_start) = (long.as_flattened().len(), bytes.len() - rest.len());
    in_blocks(long, &is_wanted)
        .or_else(|| in_blocks(short, &is_wanted).map(|at| short_start + at))
        .or_else(|| within(rest, &is_wanted).map(|at| rest_start + at))
}

fn in_blocks<const N: usize>(blocks: &[[u8; N]], is_wanted: &impl Fn(u8) -> bool) -> Option<usize> {
    let has_hit = |block: &[u8; N]| {
        block
            .iter()
            .fold(false, |found, byte| found | is_wanted(*byte))
    };
    let hit = blocks.iter().position(has_hit)?;
    within(&blocks[hit], is_wanted).map(|at| hit * N + at)
}

fn within(block: &[u8], is_wanted: &impl Fn(u8) -> bool) -> Option<usize> {
    block.iter().position(|byte| is_wanted(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_at_every_place() {
        for len in 0..100 {
            for at in 0..len {
                let mut bytes = vec![b'a'; len];
                bytes[at..].fill(b'x');
                assert_eq!(position(&bytes, |byte| byte == b'x'), Some(at));
            }
            assert_eq!(position(&vec![b'a'; len], |byte| byte == b'x'), None);
        }
    }
}
