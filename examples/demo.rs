//! The whole daemon without a network: `cargo run --release --example demo [-- --seconds 60]`
//!
//! Starts a farm of feeds on loopback, some of them failing on purpose, and a stand-in for Discord; runs the
//! daemon against them, publishes news, and shows each message as it arrives. Ends with the health table, and
//! with status 0 only if each item of a healthy feed arrived exactly once.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};

#[path = "../tests/support/mod.rs"]
#[allow(unreachable_pub, missing_docs, reason = "the tests' own")]
mod support;

use support::{
    discord::{Discord, Webhook},
    farm::{Farm, Fault, FeedHandle},
};

/// Set for the process that is the daemon: this program is both.
const IS_DAEMON: &str = "KAWARABAN_DEMO_IS_DAEMON";
/// Items that each healthy feed has at the start.
const FIRST: usize = 2;
/// Then the healthy feeds publish in turn. With the first items that makes 21 messages in the first minute and
/// 15 in each later one: a channel takes 30.
const NEWS_EVERY: Duration = Duration::from_secs(4);
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// How long the last items may take to arrive.
const LAST_WAIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if std::env::var_os(IS_DAEMON).is_some() {
        return kawaraban::cli::main();
    }
    let seconds = match seconds(std::env::args().skip(1)) {
        Ok(seconds) => seconds,
        Err(message) => {
            anstream::eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match Demo::start() {
        Ok(mut demo) => demo.run(Duration::from_secs(seconds)),
        Err(error) => {
            anstream::eprintln!("the demo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seconds(mut arguments: impl Iterator<Item = String>) -> Result<u64, String> {
    const USAGE: &str = "usage: demo [--seconds N]";
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, _, _) => Ok(60),
        (Some("--seconds"), Some(number), None) => number.parse().map_err(|_| USAGE.to_owned()),
        _ => Err(USAGE.to_owned()),
    }
}

struct Demo {
    healthy: Vec<FeedHandle>,
    failing: Vec<(&'static str, &'static str)>,
    hook: Webhook,
    _farm: Farm,
    discord: Discord,
    directory: tempfile::TempDir,
    daemon: Child,
    health: String,
    interrupted: Arc<AtomicBool>,
    published: BTreeMap<String, usize>,
}

impl Demo {
    fn start() -> std::io::Result<Self> {
        let farm = Farm::start();
        let discord = Discord::start();
        let hook = discord.webhook("news");
        let directory = tempfile::tempdir()?;
        // free a moment ago, and nobody else is in a hurry for it
        let health = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();

        let healthy: Vec<_> = ["morning-post", "evening-star", "weekly-gazette"].map(|name| farm.feed(name)).into();
        let failing = [
            ("reset", Fault::ResetWithin, "the connection is reset within the answer"),
            ("cut", Fault::CutInChunk, "the answer breaks off in the middle of a chunk"),
            ("silent", Fault::Hang, "takes the request and never answers"),
            ("overloaded", Fault::Status(503), "answers 503"),
            ("page", Fault::Html, "an HTML page where a feed should be"),
            ("bomb", Fault::GzipBomb, "a few kilobytes that unpack to 300 MB"),
        ];
        let mut config = format!(
            "state_dir = \"state\"\n\n[log]\nlevel = \"warn\"\nformat = \"json\"\n\n[http]\nlisten = [\"{health}\"]\n\n\
             [fetch]\ninterval = \"500ms\"\ntimeout = \"2s\"\nallow_private_addresses = true\nbackfill = \"all\"\n\n\
             [fetch.retry]\nmin_backoff = \"50ms\"\nmax_backoff = \"200ms\"\n\n\
             [fetch.breaker]\ncooldown = \"5s\"\nmax_cooldown = \"20s\"\n\n\
             [[destination]]\nname = \"news\"\nkind = \"discord\"\nurl = \"{}\"\n",
            hook.url()
        );
        for feed in &healthy {
            config += &format!("\n[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url());
        }
        for (name, fault, _) in &failing {
            let feed = farm.feed(name);
            feed.publish(3);
            feed.set_fault(fault.clone());
            config += &format!("\n[[source]]\nname = \"{name}\"\nurl = \"{}\"\n", feed.url());
        }
        fs::write(directory.path().join("kawaraban.toml"), config)?;
        let daemon = command(directory.path(), &["run"])
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log"))?)
            .spawn()?;
        Ok(Self {
            healthy,
            failing: failing.into_iter().map(|(name, _, what)| (name, what)).collect(),
            hook,
            _farm: farm,
            discord,
            directory,
            daemon,
            health,
            interrupted: interrupted(),
            published: BTreeMap::new(),
        })
    }

    fn run(&mut self, length: Duration) -> ExitCode {
        self.introduce();
        let begun = Instant::now();
        let (mut shown, mut turn) = (0, 0);
        let (mut next_news, mut next_progress) = (begun + NEWS_EVERY, begun + PROGRESS_EVERY);
        for feed in 0..self.healthy.len() {
            self.publish(feed, FIRST);
        }
        while begun.elapsed() < length && !self.interrupted.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next_news {
                self.publish(turn % self.healthy.len(), 1);
                (turn, next_news) = (turn + 1, next_news + NEWS_EVERY);
            }
            if now >= next_progress {
                self.show_progress(begun, length);
                next_progress += PROGRESS_EVERY;
            }
            shown = self.show_from(shown, begun);
            std::thread::sleep(Duration::from_millis(50));
        }
        let last = Instant::now() + LAST_WAIT;
        while self.hook.messages().len() < self.published.len() && Instant::now() < last {
            shown = self.show_from(shown, begun);
            std::thread::sleep(Duration::from_millis(50));
        }
        self.show_from(shown, begun);
        self.conclude()
    }

    fn introduce(&self) {
        let (bold, dim, red, green) =
            (Style::new().bold(), Style::new().dimmed(), color(AnsiColor::Red), color(AnsiColor::Green));
        anstream::println!(
            "{bold}kawaraban, without a network{bold:#}: feeds of our own on loopback, and a stand-in for Discord\n"
        );
        for feed in &self.healthy {
            let every = NEWS_EVERY.as_secs() * self.healthy.len() as u64;
            anstream::println!("  {green}●{green:#} {:<15} an item every {every} s", feed.name());
        }
        for (name, what) in &self.failing {
            anstream::println!("  {red}●{red:#} {name:<15} {dim}{what}{dim:#}");
        }
        anstream::println!("\n  health   curl http://{}/health?brief", self.health);
        anstream::println!("  table    kawaraban status --url http://{}", self.health);
        anstream::println!("  log      {}\n", self.directory.path().join("log").display());
    }

    /// Has the healthy feed at this index publish so many items.
    fn publish(&mut self, feed: usize, items: usize) {
        for entry in self.healthy[feed].publish(items) {
            self.published.insert(entry.title, 0);
        }
    }

    fn show_progress(&self, begun: Instant, length: Duration) {
        let dim = Style::new().dimmed();
        anstream::println!(
            "{dim}{:6.1} s  {} items published, {} arrived, {} s to go{dim:#}",
            begun.elapsed().as_secs_f64(),
            self.published.len(),
            self.hook.messages().len(),
            length.saturating_sub(begun.elapsed()).as_secs()
        );
    }

    /// Shows the messages after the first `shown`; how many there are now.
    fn show_from(&self, shown: usize, begun: Instant) -> usize {
        let messages = self.hook.messages();
        let (dim, bold) = (Style::new().dimmed(), Style::new().bold());
        for message in messages.iter().skip(shown) {
            let embed = &message.body["embeds"][0];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let at = message.at.duration_since(begun).as_secs_f64();
            anstream::println!(
                "{dim}{at:6.1} s{dim:#}  #news  {:<15} {bold}{}{bold:#}  {dim}{}{dim:#}",
                text(&embed["author"]["name"]),
                text(&embed["title"]),
                text(&embed["url"])
            );
        }
        messages.len()
    }

    fn conclude(&mut self) -> ExitCode {
        anstream::println!();
        let table = command(self.directory.path(), &["status"]).status();
        if let Err(error) = table {
            anstream::eprintln!("the health table cannot be shown: {error}");
        }
        for message in self.hook.messages() {
            let title = message.body["embeds"][0]["title"].as_str().unwrap_or_default().to_owned();
            *self.published.entry(title).or_default() += 1;
        }
        let total = self.published.len();
        let once = self.published.values().filter(|times| **times == 1).count();
        let violations = self.discord.violations();
        let well = once == total && violations.is_empty();
        let style = color(if well { AnsiColor::Green } else { AnsiColor::Red });
        anstream::println!(
            "\n{style}{once} of {total} items arrived exactly once; Discord's rules were broken {} times{style:#}",
            violations.len()
        );
        violations.iter().for_each(|violation| anstream::println!("  {violation}"));
        if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // it may have ended by the same Ctrl-C
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.daemon),
            rustix::process::Signal::TERM,
        );
        let _ = self.daemon.wait();
    }
}

/// This program as the daemon, with the demo's configuration.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    // a program that runs has a path
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "demo".into()));
    command.env(IS_DAEMON, "1").arg("--config").arg(directory.join("kawaraban.toml")).args(arguments);
    command
}

fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(color.into()))
}

/// Turns true at Ctrl-C.
fn interrupted() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            // without the signal, Ctrl-C ends the demo at once, as usual
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                flag.store(true, Ordering::Relaxed);
            }
        }
    });
    interrupted
}
