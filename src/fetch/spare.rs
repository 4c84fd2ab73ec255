//! The memory of bodies, kept for the next ones: they are larger than all else that a poll takes, and handing them
//! back to the system's allocator and taking them again costs more than reading a body does.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// What is larger is not kept: so much room behind what was cut off in front, which is at most as much again.
const MOST: usize = 256 * 1024;
/// So many are kept: a chunked body is received into one and put together in another.
const KEPT: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Memory to receive into: what a body of this thread left, or none yet.
pub(super) fn take() -> BytesMut {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives back what nobody needs any more.
pub fn give(body: Bytes) {
    if let Ok(mut memory) = body.try_into_mut() {
        memory.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT && (1..=MOST).contains(&memory.capacity()) {
                spare.push(memory);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_if_nobody_has_it_and_it_is_not_too_much() {
        let body = BytesMut::from(&[1; 50_000][..]).freeze();
        let place = body.as_ptr();
        let other = body.clone();
        give(body);
        assert_eq!(take().capacity(), 0, "somebody has it");
        give(other);
        let memory = take();
        assert_eq!((memory.as_ptr(), memory.len()), (place, 0));
        assert_eq!(take().capacity(), 0);
        give(vec![1; MOST + 1].into());
        assert_eq!(take().capacity(), 0, "too large");
    }
}
