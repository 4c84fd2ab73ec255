//! What waits for the store's thread, and in which order.

use std::{collections::VecDeque, sync::mpsc::Receiver};

use super::engine::Command;

/// What waits for the thread. Destinations go first: where more comes than can be served, what is queued must
/// still go out, or the outbox would grow without end. Nothing else may change places.
pub(super) struct Waiting<'c> {
    commands: &'c Receiver<Command>,
    first: VecDeque<Command>,
    then: VecDeque<Command>,
}

impl<'c> Waiting<'c> {
    pub(super) fn new(commands: &'c Receiver<Command>) -> Self {
        Self { commands, first: VecDeque::new(), then: VecDeque::new() }
    }

    /// What is to be done next; none if nothing waits.
    pub(super) fn next(&mut self) -> Option<Command> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Lease { .. } | Command::Settle { .. } => self.first.push_back(command),
                command => self.then.push_back(command),
            }
        }
        self.first.pop_front().or_else(|| self.then.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::{model::Name, store::DestinationRecord};

    #[test]
    fn destinations_go_first_and_all_else_keeps_its_order() {
        let (send, commands) = mpsc::channel();
        let destination = Name::new("news").unwrap();
        let record = DestinationRecord::default();
        send.send(Command::Ping(oneshot::channel().0)).unwrap();
        let lease = |max| Command::Lease { destination: destination.clone(), max, reply: oneshot::channel().0 };
        send.send(lease(1)).unwrap();
        send.send(Command::LoadHealth(oneshot::channel().0)).unwrap();
        let (destination, settled, reply) = (destination.clone(), Vec::new(), oneshot::channel().0);
        send.send(Command::Settle { destination, settled, record, reply }).unwrap();
        send.send(Command::Close(oneshot::channel().0)).unwrap();
        let mut waiting = Waiting::new(&commands);
        assert!(matches!(waiting.next(), Some(Command::Lease { .. })));
        assert!(matches!(waiting.next(), Some(Command::Settle { .. })));
        assert!(matches!(waiting.next(), Some(Command::Ping(_))));
        send.send(lease(2)).unwrap();
        assert!(matches!(waiting.next(), Some(Command::Lease { max: 2, .. })));
        assert!(matches!(waiting.next(), Some(Command::LoadHealth(_))));
        assert!(matches!(waiting.next(), Some(Command::Close(_))));
        assert!(waiting.next().is_none());
    }
}
