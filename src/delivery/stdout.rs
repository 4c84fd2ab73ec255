//! Lines to standard output, by a thread of its own: whoever reads may stop reading, and a full pipe must
//! hold up nothing but its own destination.

use std::{
    io::{self, Write},
    sync::mpsc,
};

use tokio::sync::oneshot;

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
                let result = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
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
