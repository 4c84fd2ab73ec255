//! The grammar of the command line, and its help.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use crate::{app::new::Kind, config::LogFormat};

/// Watches news sources and delivers each new item to Discord, whatever breaks on the way.
#[derive(Debug, Parser)]
#[command(
    name = "kawaraban",
    version,
    about,
    long_about = "kawaraban watches news sources (feeds, pages, JSON) and delivers each new item to Discord \
                  webhooks, other webhooks or standard output. What it accepted it delivers, whatever breaks on the \
                  way: sources that fail are left alone for a while and asked again, and nothing is forgotten when it \
                  is killed.\n\n\
                  Without a command it runs the daemon.",
    after_long_help = "Examples:\n  \
        kawaraban check                 is the configuration in order?\n  \
        kawaraban check --fetch         and does every source answer?\n  \
        kawaraban                       run, until Ctrl-C\n  \
        kawaraban status --watch        how is it doing? (in another terminal)\n\n\
        Exit status:\n  \
        0  all well\n  \
        1  failed at run time, or (status) nobody answers\n  \
        2  wrong usage, or an invalid configuration\n  \
        3  a check ran and found something failing"
)]
pub struct Arguments {
    /// Options that every command has.
    #[command(flatten)]
    pub global: Global,
    /// What to do; `run` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The configuration
    ///
    /// Default: $KAWARABAN_CONFIG, else ./config/kawaraban.toml, else /etc/kawaraban/kawaraban.toml.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Least level that is logged: trace, debug, info, warn, error or critical
    ///
    /// Default: `log.level` in the configuration.
    #[arg(long, value_name = "LEVEL", global = true, hide_possible_values = true)]
    pub log_level: Option<LogLevel>,
    /// How log records are written: auto, terminal, json or journald
    ///
    /// auto: to the journal where it listens, lines for people on a terminal, else one JSON object a line.
    /// Default: `log.format` in the configuration.
    #[arg(long, value_name = "FORMAT", global = true, hide_possible_values = true)]
    pub log_format: Option<LogFormat>,
    /// Colours: auto, always or never; auto obeys NO_COLOR
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", hide_possible_values = true)]
    #[arg(hide_default_value = true)]
    pub color: Color,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the sources and deliver, in the foreground
    ///
    /// SIGTERM and SIGINT (Ctrl-C) end it within 5 seconds with nothing lost, SIGHUP makes it read its
    /// configuration again. Items go to where the configuration says; with no destination in it, to
    /// standard output, one JSON object a line.
    #[command(after_long_help = "Examples:\n  \
        kawaraban run\n  \
        kawaraban run -c /etc/kawaraban/kawaraban.toml --log-level debug\n  \
        kawaraban run | jq -r '.item.title'")]
    Run,
    /// Check the configuration, and on request every source
    ///
    /// Tells every fault of the file at once, as FILE:LINE:COLUMN: KEY: MESSAGE. With --fetch it also asks
    /// every enabled source once; it delivers nothing and writes nothing.
    #[command(after_long_help = "Examples:\n  \
        kawaraban check\n  \
        kawaraban check --fetch\n  \
        kawaraban check --no-secrets -c new.toml    where the secrets are not at hand\n\n\
        Exit status: 0 in order, 2 an invalid configuration, 3 a source failed.")]
    Check {
        /// Ask every enabled source once, and show what it answers
        #[arg(long)]
        fetch: bool,
        /// Pass over secrets that stand outside the file (environment, files, credentials)
        #[arg(long)]
        no_secrets: bool,
        /// One JSON object with faults and warnings; with --fetch one a source
        #[arg(long)]
        json: bool,
    },
    /// Show the health of a running daemon
    ///
    /// A row a source: state, breaker, success rate, items, failures in a row, last success, last error;
    /// then the error patterns of the last 24 hours, and the destinations.
    #[command(after_long_help = "Examples:\n  \
        kawaraban status\n  \
        kawaraban status --watch\n  \
        kawaraban status --url http://127.0.0.1:8787\n  \
        kawaraban status --url unix:/run/kawaraban/http.sock\n  \
        kawaraban status --json | jq '.reasons'\n\n\
        Exit status: 0 ok, 1 nobody answers, 3 degraded or down.")]
    Status {
        /// Where the daemon listens: http://HOST:PORT, IP:PORT or unix:PATH
        ///
        /// Default: the first address of `http.listen` in the configuration.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// The health report as the daemon gives it
        #[arg(long)]
        json: bool,
        /// Show it anew every 2 seconds, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Read feed documents from files, offline
    ///
    /// Shows what a document holds, or why it cannot be read as a feed.
    #[command(after_long_help = "Examples:\n  \
        kawaraban parse feed.xml\n  \
        curl -s https://news.example/rss | kawaraban parse --base https://news.example/rss -\n  \
        kawaraban parse --json *.xml | jq -r '.items[]?.title'\n\n\
        Exit status: 0 every file is a feed, 3 one is not.")]
    Parse {
        /// One JSON object a file, in order
        #[arg(long)]
        json: bool,
        /// The URL that the document came from, for relative links
        #[arg(long, value_name = "URL")]
        base: Option<Url>,
        /// The Content-Type that it came with, for its encoding
        #[arg(long, value_name = "CT")]
        content_type: Option<String>,
        /// Files; "-" is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Look at a page or feed, and write a source for it
    ///
    /// Finds the feeds of a page and says which is best; where there is none, proposes selectors for what
    /// repeats in it, or paths for JSON. Prints the source as TOML, ready to be pasted, on standard output, and
    /// what it would yield on standard error. Requests are made as the configuration's "fetch" has it.
    #[command(after_long_help = "Examples:\n  \
        kawaraban new https://news.example/\n  \
        kawaraban new news.example >> config/kawaraban.toml\n  \
        kawaraban new https://news.example/ --kind html     selectors, although there is a feed\n  \
        kawaraban new https://news.example/api/posts --json | jq -r '.items[].title'\n\n\
        Exit status: 0 found, 2 no URL, 3 nothing there can be a source.")]
    New {
        /// What to look at; without a scheme it is https
        url: String,
        /// Read it as this: feed, html or json
        #[arg(long, value_name = "KIND", hide_possible_values = true)]
        kind: Option<NewKind>,
        /// Ask loopback, private and other non-global addresses too
        ///
        /// The source that is printed then allows them, too.
        #[arg(long)]
        allow_private_addresses: bool,
        /// One JSON object: candidates, what was chosen and why, the table, the items
        #[arg(long)]
        json: bool,
    },
    /// Show what a source would deliver
    ///
    /// Fetches one configured source once and shows each item as its destinations would get it. Delivers
    /// nothing and remembers nothing.
    #[command(after_long_help = "Examples:\n  \
        kawaraban preview ann\n  \
        kawaraban preview ann --json | jq .\n  \
        kawaraban preview ann --from-saved          do the mended selectors fit the page now?")]
    Preview {
        /// The source's name in the configuration
        source: String,
        /// The exact payloads, one a line
        #[arg(long)]
        json: bool,
        /// Read the page that was kept when the source's selectors last did not fit, and fetch nothing
        #[arg(long)]
        from_saved: bool,
    },
    /// Send one message, marked as a test, to a destination
    #[command(after_long_help = "Example:\n  kawaraban send-test news")]
    SendTest {
        /// The destination's name in the configuration
        destination: String,
    },
    /// Look into what is remembered
    Store {
        /// What to do with it.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Print a script that completes kawaraban's commands in your shell
    #[command(after_long_help = "Examples:\n  \
        kawaraban completions bash > ~/.local/share/bash-completion/completions/kawaraban\n  \
        kawaraban completions fish > ~/.config/fish/completions/kawaraban.fish\n  \
        kawaraban completions zsh > ~/.zfunc/_kawaraban")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `store …`
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// How much is remembered, waiting, and refused for good
    Stats {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// `new --kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NewKind {
    /// As a feed.
    Feed,
    /// As a page, by selectors.
    Html,
    /// As JSON, by paths.
    Json,
}

impl From<NewKind> for Kind {
    fn from(kind: NewKind) -> Self {
        match kind {
            NewKind::Feed => Self::Feed,
            NewKind::Html => Self::Html,
            NewKind::Json => Self::Json,
        }
    }
}

/// `--log-level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happens.
    Info,
    /// What an operator should look at.
    #[value(alias = "warning")]
    Warn,
    /// What failed.
    Error,
    /// What keeps the daemon from its job.
    Critical,
}

impl From<LogLevel> for slog::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::Trace,
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warning,
            LogLevel::Error => Self::Error,
            LogLevel::Critical => Self::Critical,
        }
    }
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where a terminal reads it, and NO_COLOR is not set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What `--color` says, read ahead of everything else so that it holds for usage errors too.
pub(super) fn color_of(arguments: impl Iterator<Item = OsString>) -> anstream::ColorChoice {
    let mut wanted = anstream::ColorChoice::Auto;
    let mut follows = false;
    for argument in arguments {
        let argument = argument.to_string_lossy();
        let value = match argument.strip_prefix("--color") {
            _ if follows => Some(argument.as_ref()),
            Some("") | None => None,
            Some(rest) => rest.strip_prefix('='),
        };
        follows = !follows && argument == "--color";
        wanted = match value {
            Some("always") => anstream::ColorChoice::Always,
            Some("never") => anstream::ColorChoice::Never,
            Some("auto") => anstream::ColorChoice::Auto,
            _ => wanted,
        };
    }
    wanted
}

/// The same choice in clap's words.
pub(super) fn for_clap(color: anstream::ColorChoice) -> clap::ColorChoice {
    match color {
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => clap::ColorChoice::Always,
        anstream::ColorChoice::Never => clap::ColorChoice::Never,
        anstream::ColorChoice::Auto => clap::ColorChoice::Auto,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn colour_is_known_before_anything_else_is() {
        let color = |line: &str| color_of(line.split(' ').map(OsString::from));
        assert_eq!(color("k check --color never"), anstream::ColorChoice::Never);
        assert_eq!(color("k --color=always --nonsense"), anstream::ColorChoice::Always);
        assert_eq!(color("k --color --color=never"), anstream::ColorChoice::Auto);
        assert_eq!(color("k check"), anstream::ColorChoice::Auto);
    }

    #[test]
    fn options_of_every_command_stand_before_and_behind_it() {
        for line in ["k -c x.toml --log-level warning check", "k check -c x.toml --log-level warn"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.global.config, Some("x.toml".into()));
            assert_eq!(arguments.global.log_level, Some(LogLevel::Warn));
        }
        assert!(Arguments::try_parse_from(["k"]).unwrap().command.is_none());
    }
}
