//! The search for a byte of some kind, in blocks.

/// The first byte for which the test holds.
///
/// A block is tested without an early exit, which the compiler turns into vector instructions; only
/// the block that holds a hit is looked at byte by byte.
pub(crate) fn position(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    const BLOCK: usize = 32;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let within = |block: &[u8]| block.iter().position(|byte| is_wanted(*byte));
    for (index, block) in blocks.iter().enumerate() {
        if block
            .iter()
            .fold(false, |found, byte| found | is_wanted(*byte))
        {
            return within(block).map(|at| index * BLOCK + at);
        }
    }
    within(rest).map(|at| blocks.len() * BLOCK + at)
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
