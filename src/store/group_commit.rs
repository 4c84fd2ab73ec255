//! One group: the commands that share a commit.
//!
//! What waits while a commit is under way goes into the next one; under load a commit serves many polls.
//! An answer to a change is sent after its commit is on disk, so that an answer means durable.

use std::{path::Path, time::Duration};

use super::{
    StoreError,
    commits::Commits,
    database::{Database, Fault, Group},
    engine::{Command, Reply},
    ingest, outbox,
    queue::Waiting,
    records,
};
use crate::model::Name;

/// A group is not made larger than this: sled does not like bursts.
const GROUP_BYTES: usize = 256 * 1024;
const GROUP_COMMANDS: usize = 512;

/// An answer that waits for the commit.
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// How a group went.
pub(super) struct Served {
    /// A `Close` that came meanwhile.
    pub(super) close: Option<Command>,
    /// How many changes it had.
    pub(super) changes: usize,
    /// How its commit went.
    pub(super) result: Result<(), Fault>,
}

/// Serves a command and those that come within the window.
pub(super) fn serve(
    database: &mut Database,
    commits: &mut Commits,
    first: Command,
    waiting: &mut Waiting<'_>,
    window: Duration,
    dir: &Path,
) -> Served {
    let group = database.group();
    let mut open = OpenGroup { database, commits, dir, group, answers: Vec::new() };
    let (close, gathered) = open.gather(first, waiting, window);
    let changes = open.answers.len();
    let result = match gathered {
        Ok(()) => open.commit(),
        Err(fault) => {
            open.answer(&Err(StoreError::Failing(fault.to_string())));
            Err(fault)
        }
    };
    Served { close, changes, result }
}

struct OpenGroup<'d> {
    database: &'d mut Database,
    commits: &'d mut Commits,
    dir: &'d Path,
    group: Group,
    answers: Vec<Answer>,
}

impl OpenGroup<'_> {
    fn gather(
        &mut self,
        first: Command,
        waiting: &mut Waiting<'_>,
        window: Duration,
    ) -> (Option<Command>, Result<(), Fault>) {
        let mut next = Some(first);
        let mut waited = false;
        while let Some(command) = next.take() {
            if matches!(command, Command::Close(_)) {
                return (Some(command), Ok(()));
            }
            if let Err(fault) = self.apply(command) {
                return (None, Err(fault));
            }
            let full = self.group.bytes() >= GROUP_BYTES || self.answers.len() >= GROUP_COMMANDS;
            if self.answers.is_empty() || full {
                break;
            }
            next = waiting.next();
            if next.is_none() && !waited {
                // asleep rather than waiting on the channel: one wake for the group, not one for each command
                std::thread::sleep(window);
                waited = true;
                next = waiting.next();
            }
        }
        (None, Ok(()))
    }

    /// Adds what a command changes to the group, and its answer to the answers. Reads are answered at once.
    fn apply(&mut self, command: Command) -> Result<(), Fault> {
        match command {
            Command::Ingest(fenced, reply) => {
                let (ingest, fence) = *fenced;
                if fence.is_closed() {
                    // its source has left or was reconfigured, and waits for no answer
                    let _ = reply.send(Err(StoreError::Closed));
                    return Ok(());
                }
                self.commit_if_touched(&ingest.source.name)?;
                let ingested = ingest::ingest(self.database, &mut self.group, ingest);
                self.answer_later(reply, ingested)
            }
            Command::SaveSources(changed, reply) => {
                let saved = changed.into_iter().try_for_each(|(name, record)| {
                    records::save_source(self.database, &mut self.group, &name, &record)
                });
                self.answer_later(reply, saved)
            }
            Command::Rename(names, reply) => {
                self.commit_first()?;
                let rename = |(old, new): &(Name, Name)| records::rename(self.database, &mut self.group, old, new);
                let renamed = names.iter().map(rename).collect();
                self.answer_later(reply, renamed)
            }
            Command::Settle { destination, settled, record, reply } => {
                let backlog = outbox::settle(self.database, &mut self.group, &destination, settled, &record);
                self.answer_later(reply, backlog)
            }
            Command::SaveHost(host, record, reply) => {
                let saved = records::put_host(&mut self.group, &host, &record);
                self.answer_later(reply, saved)
            }
            Command::SaveHealth(changed, reply) => {
                for (name, bytes) in changed {
                    self.group.put(records::health_key(&name), bytes);
                }
                self.answer_later(reply, Ok(()))
            }
            Command::Acknowledge(reply) => {
                let acknowledged = records::acknowledge(self.database, &mut self.group);
                self.answer_later(reply, acknowledged)
            }
            read => self.read(read),
        }
    }

    /// Answers what changes nothing. What must see every earlier change commits it first.
    fn read(&mut self, command: Command) -> Result<(), Fault> {
        match command {
            Command::Source(name, reply) => {
                self.commit_first()?;
                answer(reply, records::source(self.database, &self.group, &name))
            }
            Command::Destination(name, reply) => {
                self.commit_first()?;
                let read = records::destination(self.database, &name)
                    .and_then(|record| Ok((record, outbox::backlog(self.database, &mut self.group, &name)?)));
                answer(reply, read)
            }
            Command::LoadHealth(reply) => {
                self.commit_first()?;
                answer(reply, records::load_health(self.database))
            }
            Command::Stats(reply) => {
                self.commit_first()?;
                answer(reply, records::stats(self.database, self.dir))
            }
            Command::Former(configured, reply) => {
                self.commit_first()?;
                answer(reply, records::former(self.database, &configured))
            }
            Command::Lease { destination, max, reply } => {
                answer(reply, outbox::lease(self.database, &self.group, &destination, max))
            }
            Command::WouldAccept(prospect, reply) => {
                self.commit_if_touched(&prospect.source.name)?;
                answer(reply, ingest::would_accept(self.database, &self.group, &prospect))
            }
            Command::Host(host, reply) => answer(reply, records::host(self.database, &self.group, &host)),
            Command::Ping(reply) => answer(reply, Ok(())),
            // changes are applied, and a close is taken out before
            Command::Ingest(..)
            | Command::SaveSources(..)
            | Command::Rename(..)
            | Command::Settle { .. }
            | Command::SaveHost(..)
            | Command::SaveHealth(..)
            | Command::Acknowledge(_)
            | Command::Close(_) => Ok(()),
        }
    }

    fn commit_if_touched(&mut self, source: &Name) -> Result<(), Fault> {
        if self.group.touches(&records::source_key(source.as_str())) { self.commit_first() } else { Ok(()) }
    }

    fn commit_first(&mut self) -> Result<(), Fault> {
        let result = self.commit();
        self.group = self.database.group();
        result
    }

    /// Commits the group and answers.
    fn commit(&mut self) -> Result<(), Fault> {
        let next = self.database.group();
        let result = commit(self.database, self.commits, std::mem::replace(&mut self.group, next));
        self.answer(&result.as_ref().copied().map_err(|fault| StoreError::Failing(fault.to_string())));
        result
    }

    fn answer(&mut self, result: &Result<(), StoreError>) {
        self.answers.drain(..).for_each(|answer| answer(result.clone()));
    }

    fn answer_later<T: 'static>(&mut self, reply: Reply<T>, done: Result<T, Fault>) -> Result<(), Fault> {
        match done {
            Ok(value) => {
                self.answers.push(Box::new(move |committed| drop(reply.send(committed.map(|()| value)))));
                Ok(())
            }
            Err(fault) => answer(reply, Err(fault)),
        }
    }
}

fn commit(database: &mut Database, commits: &mut Commits, group: Group) -> Result<(), Fault> {
    let before = database.meta().committed.commit;
    database.commit(group)?;
    let committed = database.meta().committed;
    if committed.commit != before {
        commits.write(committed)?;
    }
    Ok(())
}

fn answer<T>(reply: Reply<T>, read: Result<T, Fault>) -> Result<(), Fault> {
    // whoever does not wait any longer needs no answer
    match read {
        Ok(value) => {
            let _ = reply.send(Ok(value));
            Ok(())
        }
        Err(fault) => {
            let _ = reply.send(Err(StoreError::Failing(fault.to_string())));
            Err(fault)
        }
    }
}
