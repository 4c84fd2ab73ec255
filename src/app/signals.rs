//! Signals: heard from the first moment of the process, and an end that comes in time whatever hangs.
//!
//! A thread of its own waits for them, so that a blocked arbiter, a slow disk or a configuration that cannot be
//! read holds up no end.

use std::{
    io,
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag::register_conditional_default,
    iterator,
    low_level::emulate_default_handler,
};
use tokio::sync::watch;

/// The process is over so long after SIGTERM, whatever it was about: what was accepted is on disk.
const OVER_WITHIN: Duration = Duration::from_millis(4700);
const OURS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Signals that wait until it is known what the process is to do.
pub struct Taken {
    signals: iterator::Signals,
    defaults: Arc<AtomicBool>,
}

/// What was asked so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Counts SIGHUP. Several that come before the first is served are one.
    pub reloads: u32,
    /// SIGTERM or SIGINT came.
    pub end: bool,
}

/// Takes the signals that the daemon serves.
///
/// # Errors
/// If the kernel refuses.
pub fn take() -> io::Result<Taken> {
    let defaults = Arc::new(AtomicBool::new(false));
    for signal in OURS {
        register_conditional_default(signal, defaults.clone())?;
    }
    Ok(Taken { signals: iterator::Signals::new(OURS)?, defaults })
}

impl Taken {
    /// Gives them back, for a command that ends by them as any program does.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn give_back(&mut self) -> io::Result<()> {
        self.defaults.store(true, Ordering::SeqCst);
        self.signals.pending().try_for_each(emulate_default_handler)
    }

    /// Serves them from now on.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn serve(self) -> io::Result<watch::Receiver<Asked>> {
        let (ask, asked) = watch::channel(Asked::default());
        thread::Builder::new().name("signals".into()).spawn(move || serve(self.signals, &ask))?;
        Ok(asked)
    }
}

fn serve(mut signals: iterator::Signals, ask: &watch::Sender<Asked>) {
    for signal in signals.forever() {
        if signal == SIGHUP {
            ask.send_modify(|asked| asked.reloads += 1);
            continue;
        }
        ask.send_modify(|asked| asked.end = true);
        thread::sleep(OVER_WITHIN);
        exit(0);
    }
}
