//! Lines to standard output, by a thread of its own: whoever reads may stop reading, and a full pipe must
//! hold up nothing but its own destination.

use std::{
    io::{self, Write},
    sync::mpsc,
};

use tokio::sync::oneshot;

/// What a pipe takes as a whole or not at all.
const PIPE_BUF: usize = 4096;

/// Writes lines; its thread ends with it.
pub struct Writer {
    batches: mpsc::Sender<(String, oneshot::Sender<io::Result<()>>)>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start() -> io::Result<Self> {
        let (batches, waiting) = mpsc::channel::<(String, oneshot::Sender<io::Result<()>>)>();
        std::thread::Builder::new().name("stdout".into()).spawn(move || {
            for (lines, written) in waiting {
                let mut stdout = io::stdout().lock();
                let written_out = pieces(&lines).try_for_each(|piece| stdout.write_all(piece.as_bytes()));
                let result = written_out.and_then(|()| stdout.flush());
                // who asked may have gone; the lines are out all the same
                let _ = written.send(result);
            }
        })?;
        Ok(Self { batches })
    }

    /// Writes whole lines, each with its line feed.
    ///
    /// # Errors
    /// Those of writing: a closed pipe, a full disk.
    pub async fn write(&self, lines: String) -> io::Result<()> {
        let (written, result) = oneshot::channel();
        let gone = || io::Error::other("the thread that writes to standard output has ended");
        self.batches.send((lines, written)).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

/// Whole lines, as many at a time as a pipe takes whole: a kill between two pieces tears no line. A line
/// longer than that is a piece of its own.
fn pieces(mut lines: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let fits = lines.floor_char_boundary(PIPE_BUF);
        let end = if fits == lines.len() { Some(fits) } else { lines[..fits].rfind('\n').map(|end| end + 1) };
        let end = end.or_else(|| lines.find('\n').map(|end| end + 1)).unwrap_or(lines.len());
        let (piece, rest) = lines.split_at(end);
        lines = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_that_a_pipe_takes_whole() {
        let line = |length: usize| "ö".repeat(length / 2) + "\n";
        let lines: Vec<String> = [10, 4000, 100, 5000, 4095, 4096, 30].map(line).into();
        let all = lines.concat();
        let pieces: Vec<&str> = pieces(&all).collect();
        assert_eq!(pieces.concat(), all);
        for piece in &pieces {
            assert!(piece.ends_with('\n'), "a torn line");
            assert!(piece.len() <= PIPE_BUF || piece.lines().count() == 1, "{} bytes", piece.len());
        }
        assert_eq!(pieces.len(), 6, "lines go together where they fit");
        assert_eq!(super::pieces("").count(), 0);
    }
}
