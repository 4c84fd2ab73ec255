//! Writes lines to a descriptor, whole and once, whatever the descriptor is: a pipe (blocking or not), a socket, a
//! terminal, a file on a full disk.

use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, SeekFrom, fstat, ftruncate, seek},
    io::{Errno, write},
};

use super::{End, Out, Written, key, lock};
use crate::model::Name;

/// What a pipe takes as a whole or not at all, and without blocking once it says that it is writable.
const PIPE_BUF: usize = 4096;
/// How often a writer that waits looks whether its batch was withdrawn.
const LOOK: Duration = Duration::from_millis(100);
/// For so long a line that was begun is finished after its batch was withdrawn.
const GRACE: Duration = Duration::from_secs(2);

/// The rest of a line of which a part is out.
struct Torn {
    destination: Name,
    key: u128,
    rest: Vec<u8>,
}

/// The descriptor, and what it has left to finish.
pub(super) struct Pen {
    fd: OwnedFd,
    is_file: bool,
    torn: Option<Torn>,
}

impl Pen {
    pub(super) fn new(fd: OwnedFd) -> Self {
        let is_file = fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Self { fd, is_file, torn: None }
    }

    /// Writes the lines that are not out yet, in their order.
    pub(super) fn write(
        &mut self,
        destination: &Name,
        lines: &[String],
        withdrawn: &AtomicBool,
        out: &Mutex<Out>,
    ) -> Written {
        if let Err(end) = self.finish(withdrawn, out) {
            return Written { lines: 0, end };
        }
        let keys: Vec<u128> = lines.iter().map(|line| key(line.trim_end_matches('\n'))).collect();
        let is_out = |nth: usize| lock(out).get(destination).is_some_and(|of| of.contains(&keys[nth]));
        let mut done = 0;
        while done < lines.len() {
            if is_out(done) {
                done += 1;
                continue;
            }
            let fresh = (done..lines.len()).take_while(|nth| !is_out(*nth)).count();
            let count = piece(&lines[done..done + fresh]);
            let bytes = lines[done..done + count].concat();
            let (sent, end) = self.put(bytes.as_bytes(), withdrawn);
            let mut ends = 0;
            let whole = lines[done..done + count].iter().take_while(|line| {
                ends += line.len();
                ends <= sent
            });
            let whole = whole.count();
            lock(out).entry(destination.clone()).or_default().extend(&keys[done..done + whole]);
            done += whole;
            if let Some(end) = end {
                let begun = sent - lines[done - whole..done].iter().map(String::len).sum::<usize>();
                if begun > 0 && !self.undo(begun) {
                    let rest = lines[done].as_bytes()[begun..].to_vec();
                    self.torn = Some(Torn { destination: destination.clone(), key: keys[done], rest });
                }
                return Written { lines: done, end };
            }
        }
        Written { lines: done, end: End::Done }
    }

    /// Finishes a line that was begun.
    fn finish(&mut self, withdrawn: &AtomicBool, out: &Mutex<Out>) -> Result<(), End> {
        let Some(mut torn) = self.torn.take() else { return Ok(()) };
        let (sent, end) = self.put(&torn.rest, withdrawn);
        match end {
            None => {
                lock(out).entry(torn.destination).or_default().insert(torn.key);
                Ok(())
            }
            Some(end) => {
                torn.rest.drain(..sent);
                self.torn = Some(torn);
                Err(end)
            }
        }
    }

    /// Writes bytes that begin with a line or within one. Says how many are out, and why not all.
    fn put(&self, bytes: &[u8], withdrawn: &AtomicBool) -> (usize, Option<End>) {
        let mut sent = 0;
        let mut give_up = None;
        while sent < bytes.len() {
            let within_a_line = sent > 0 && bytes[sent - 1] != b'\n';
            match self.wait(within_a_line, withdrawn, &mut give_up) {
                Ok(()) => {}
                Err(end) => return (sent, Some(end)),
            }
            match write(&self.fd, &bytes[sent..bytes.len().min(sent + PIPE_BUF)]) {
                Ok(0) => return (sent, Some(End::Failed(std::io::ErrorKind::WriteZero.into()))),
                Ok(more) => sent += more,
                Err(Errno::INTR) => {}
                // it said that it is writable, but not for so much
                Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return (sent, Some(End::Failed(error.into()))),
            }
        }
        (sent, None)
    }

    /// Waits until the descriptor takes something.
    fn wait(&self, within_a_line: bool, withdrawn: &AtomicBool, give_up: &mut Option<Instant>) -> Result<(), End> {
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        loop {
            if withdrawn.load(Ordering::Relaxed) {
                let give_up = give_up.get_or_insert_with(|| Instant::now() + GRACE);
                if !within_a_line || Instant::now() >= *give_up {
                    return Err(End::Withdrawn);
                }
            }
            if self.is_file {
                return Ok(());
            }
            match poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], Some(&look)) {
                Ok(0) | Err(Errno::INTR) => {}
                // where it cannot be polled, or has failed, writing says what is the matter
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }

    /// Takes the begin of a line back, where that can be: at the end of a file that nobody else writes to.
    fn undo(&self, begun: usize) -> bool {
        let undo = || {
            let at = seek(&self.fd, SeekFrom::Current(0))?;
            let size = u64::try_from(fstat(&self.fd)?.st_size).unwrap_or_default();
            let before = at.checked_sub(begun as u64).filter(|_| at == size).ok_or(Errno::INVAL)?;
            ftruncate(&self.fd, before)?;
            seek(&self.fd, SeekFrom::Start(before)).map(drop)
        };
        self.is_file && undo().is_ok()
    }
}

/// How many of the lines go out at a time: as many as a pipe takes as a whole. A kill between two pieces tears no
/// line. A line longer than that is a piece of its own.
fn piece(lines: &[String]) -> usize {
    let mut length = 0;
    let fit = lines.iter().take_while(|line| {
        length += line.len();
        length <= PIPE_BUF
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_lines_that_a_pipe_takes_whole() {
        let lines: Vec<String> = [10, 4000, 100, 5000, 4095, 4096, 30].map(|n| "ö".repeat(n / 2) + "\n").into();
        let mut pieces = Vec::new();
        let mut rest = &lines[..];
        while !rest.is_empty() {
            let count = piece(rest);
            pieces.push(count);
            assert!(count == 1 || rest[..count].concat().len() <= PIPE_BUF);
            rest = &rest[count..];
        }
        assert_eq!(pieces, [2, 1, 1, 1, 1, 1]);
    }
}
