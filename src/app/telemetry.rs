//! The log: one line a record to the terminal, as JSON, or to the journal with its fields.
//!
//! Records go through a channel, so that a log that nobody reads holds up nothing: while the channel is full,
//! records are dropped and counted, and the count is logged once there is room. The channel is emptied when the
//! [`Guard`] is dropped, at the very end of `main`, for as long as somebody reads.

use std::{
    io, panic,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use slog::{
    Drain, FnValue, Level, LevelFilter, Logger, Never, PushFnValue, Record, SendSyncRefUnwindSafeDrain, crit, o, warn,
};
use slog_async::{Async, AsyncGuard};

use crate::{
    actors::death_watch,
    app::clean_output::{CleanJson, CleanText},
    config::{Log, LogFormat},
};

/// Records that may wait to be written.
const CHANNEL: usize = 4096;

/// What is left is written within this time at the end, or lost.
const FLUSH_WITHIN: Duration = Duration::from_millis(400);

/// Writes what is left when it is dropped.
pub struct Guard {
    channel: Option<AsyncGuard>,
}

impl Drop for Guard {
    /// The channel's own guard waits until all is written, which may be never.
    fn drop(&mut self) {
        let channel = self.channel.take();
        let (written, all_written) = mpsc::channel();
        let flush = thread::Builder::new().spawn(move || {
            drop(channel);
            // nobody waits any longer
            let _ = written.send(());
        });
        if flush.is_ok() {
            // what cannot be written by then is lost, and there is nowhere to say so
            let _ = all_written.recv_timeout(FLUSH_WITHIN);
        }
    }
}

/// The logger that `log` asks for. Records of the libraries (`log`) go there too, and panics.
pub fn init(log: Log) -> (Logger, Guard) {
    let drain: Box<dyn SendSyncRefUnwindSafeDrain<Ok = (), Err = Never>> = match resolve(log.format) {
        LogFormat::Journald => Box::new(slog_journald::JournaldDrain::default().emit_code_fields(false).ignore_res()),
        LogFormat::Terminal => {
            let decorator = CleanText(slog_term::TermDecorator::new().stderr().build());
            let drain = slog_term::FullFormat::new(decorator).use_custom_timestamp(utc).build();
            Box::new(Mutex::new(drain.ignore_res()).ignore_res())
        }
        LogFormat::Json | LogFormat::Auto => {
            Box::new(Mutex::new(json(CleanJson(io::stderr())).ignore_res()).ignore_res())
        }
    };
    let (drain, channel) = Async::new(drain.fuse())
        .chan_size(CHANNEL)
        .overflow_strategy(slog_async::OverflowStrategy::DropAndReport)
        .build_with_guard();
    // before the channel: a record that nobody will read wakes no thread
    let logger = Logger::root(LevelFilter::new(drain, log.level).fuse(), o!());
    bridge(&logger, log.level);
    report_panics(logger.clone());
    (logger, Guard { channel: Some(channel) })
}

fn resolve(format: LogFormat) -> LogFormat {
    use io::IsTerminal;
    match format {
        LogFormat::Auto if journal_is_ours() => LogFormat::Journald,
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Terminal,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    }
}

/// Whether standard error leads to the journal: `$JOURNAL_STREAM` holds its device and inode
/// (systemd.exec(5)). Inherited by a process whose standard error leads elsewhere, it says nothing.
fn journal_is_ours() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn utc(out: &mut dyn io::Write) -> io::Result<()> {
    write!(out, "{}", now())
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Keys in the order in which people look for them; the record's own come after.
fn json<W: io::Write>(out: W) -> slog_json::Json<W> {
    slog_json::Json::new(out)
        .add_key_value(o!(
            "msg" => PushFnValue(|record: &Record<'_>, out| out.emit(record.msg())),
            "level" => FnValue(|record: &Record<'_>| word(record.level())),
            "ts" => FnValue(|_: &Record<'_>| now()),
        ))
        .build()
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Libraries log by the `log` crate; what they say below a warning is for those who debug them.
fn bridge(logger: &Logger, level: Level) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Info,
        Level::Info | Level::Warning => log::Level::Warn,
        Level::Error | Level::Critical => log::Level::Error,
    };
    // without `cancel_reset`, a library's record after the guard's end would panic
    slog_scope::set_global_logger(logger.clone()).cancel_reset();
    if slog_stdlog::init_with_level(level).is_err() {
        warn!(logger, "the libraries' log was taken by another already");
    }
}

/// A panic is told in the log, and to whoever watches the actor that it ends.
fn report_panics(logger: Logger) {
    panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        crit!(logger, "panic: {message}"; "kind" => "panic", "at" => &place);
        death_watch::note_panic(format!("{message} ({place})"));
    }));
}
