//! The memory of one body, kept for the next: it is larger than all else that a poll takes, and handing it back to
//! the system's allocator and taking it again costs more than reading the body does.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

/// What is larger is not kept.
const MOST: usize = 256 * 1024;

thread_local! {
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Memory to receive into: what the last body of this thread left, or none yet.
pub(super) fn take() -> BytesMut {
    SPARE.take().unwrap_or_default()
}

/// Gives back a body that nobody needs any more.
pub fn give(body: Bytes) {
    if let Ok(mut memory) = body.try_into_mut() {
        memory.clear();
        if (1..=MOST).contains(&memory.capacity()) {
            SPARE.set(Some(memory));
        }
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
