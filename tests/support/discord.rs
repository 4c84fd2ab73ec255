//! A strict Discord on loopback: webhooks that store, refuse and limit as Discord does, or play one fault each.
//!
//! ```no_run
//! let discord = Discord::start();
//! let webhook = discord.webhook("news");      // http://127.0.0.1:PORT/api/webhooks/ID/TOKEN
//! webhook.push_fault(Verb::AcceptThenReset, 1);
//! // … a client posts …
//! let messages = webhook.wait_for_messages(3, Instant::now() + Duration::from_secs(30));
//! assert_eq!(discord.violations(), [""; 0]);
//! ```
//!
//! It has a thread and a runtime of its own, so that it serves whatever the caller's runtime is doing, and ends
//! when it is dropped. Every request is recorded, and what a client should not have done is a violation: a request
//! within an announced wait or to a webhook that is gone, another path than `/api/v10/`, a body that Discord would
//! refuse, a mention that it would render.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc::channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

mod answer;
mod http;
mod limits;
mod messages;
mod oracle;
mod pipeline;
mod play;
mod record;
mod state;
pub mod validate;
mod verb;

use limits::{Rolling, Window};
pub use record::{Message, Recorded};
use state::{Hook, Shared, State};
pub use verb::Verb;

/// A running Discord.
pub struct Discord {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<http::Command>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Discord {
    /// Starts on a free port.
    pub fn start() -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = channel();
        let (commands, commanded) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("discord".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let shared = Arc::new(Shared::new(listener.local_addr().unwrap()));
                tell.send(Arc::clone(&shared)).unwrap();
                tokio::spawn(http::accept(listener, shared, commanded));
                let _ = stopped.await;
            });
        });
        let shared = told.recv().expect("the fake's thread starts");
        Self { shared, commands, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// A new webhook in a text channel of its own.
    pub fn webhook(&self, name: &str) -> Webhook {
        self.handle(self.shared.lock().hook(name, None, false))
    }

    /// A second webhook in the same channel, whose limit they share.
    pub fn webhook_in(&self, channel: &Webhook) -> Webhook {
        let (name, channel) = channel.with(|hook| (format!("{} too", hook.name), hook.channel.clone()));
        self.handle(self.shared.lock().hook(&name, Some(channel), false))
    }

    /// A new webhook in a forum of its own, which wants `thread_id` or `thread_name`.
    pub fn forum_webhook(&self, name: &str) -> Webhook {
        self.handle(self.shared.lock().hook(name, None, true))
    }

    fn handle(&self, index: usize) -> Webhook {
        Webhook { shared: Arc::clone(&self.shared), index }
    }

    /// Plays this verb on the next so many requests, whatever the webhook; `usize::MAX`: until
    /// [`Discord::clear_faults`]. A webhook's own verbs come first.
    pub fn push_fault(&self, verb: Verb, times: usize) {
        self.shared.lock().script.push(verb, times);
    }

    /// Forgets all verbs, those of webhooks too.
    pub fn clear_faults(&self) {
        let mut state = self.shared.lock();
        state.script.clear();
        state.hooks.iter_mut().for_each(|hook| hook.script.clear());
    }

    /// Requests in a window, over all webhooks. 50 in a second unless told.
    pub fn set_global_limit(&self, limit: u32, window: Duration) {
        self.shared.lock().global = Window::new(limit, window);
    }

    /// After so many answers of 401, 403 or 429 within ten minutes all requests are banned. 10,000 unless told.
    pub fn set_invalid_limit(&self, limit: usize) {
        self.shared.lock().invalid.0 = limit;
    }

    /// For how long such answers are counted, and a ban lasts. Ten minutes unless told.
    pub fn set_ban(&self, window: Duration) {
        self.shared.lock().invalid.1 = window;
    }

    /// Resets all connections and refuses new ones, with ECONNREFUSED.
    pub fn go_down(&self) {
        self.listen(false);
    }

    /// Listens again, on the same port.
    pub fn come_up(&self) {
        self.listen(true);
    }

    fn listen(&self, up: bool) {
        let (done, wait) = channel();
        let _ = self.commands.send((up, done));
        wait.recv().expect("the fake's thread runs");
    }

    /// Every request, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().requests.clone()
    }

    /// Connections accepted so far, those refused by a verb included.
    pub fn connections(&self) -> u64 {
        self.shared.lock().connections
    }

    /// What a client should not have done, in order.
    pub fn violations(&self) -> Vec<String> {
        self.shared.lock().violations.clone()
    }

    /// Where connections are accepted.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Waits until there were so many requests; panics at the deadline.
    pub fn wait_for_requests(&self, count: usize, deadline: Instant) -> Vec<Recorded> {
        let ready = |state: &State| (state.requests.len() >= count).then(|| state.requests.clone());
        self.shared.wait(deadline, ready, |state| {
            format!("{} of {count} requests to any webhook\n{}", state.requests.len(), history(state))
        })
    }
}

impl Drop for Discord {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One webhook.
#[derive(Clone)]
pub struct Webhook {
    shared: Arc<Shared>,
    index: usize,
}

impl Webhook {
    /// As Discord's own pages show it to be copied: without a version.
    pub fn url(&self) -> String {
        self.with(|hook| format!("http://{}/api/webhooks/{}/{}", self.shared.address, hook.id, hook.token))
    }

    /// Snowflake, 18 digits.
    pub fn id(&self) -> String {
        self.with(|hook| hook.id.clone())
    }

    /// What no log may show.
    pub fn token(&self) -> String {
        self.with(|hook| hook.token.clone())
    }

    /// The channel's snowflake.
    pub fn channel(&self) -> String {
        self.with(|hook| hook.channel.clone())
    }

    /// A new thread in its channel: the id for `thread_id`.
    pub fn thread(&self) -> String {
        let mut state = self.shared.lock();
        let (thread, channel) = (state.old_id(), state.hooks[self.index].channel.clone());
        state.channels.get_mut(&channel).expect("made with the webhook").threads.push(thread.clone());
        thread
    }

    /// What was stored, in order, deleted messages included.
    pub fn messages(&self) -> Vec<Message> {
        self.with(|hook| hook.messages.clone())
    }

    /// Every request to it, in order, whatever the token.
    pub fn requests(&self) -> Vec<Recorded> {
        requests_of(&self.shared.lock(), self.index)
    }

    /// From now on 404 with code 10015.
    pub fn kill(&self) {
        self.with(|hook| hook.alive = false);
    }

    /// It is there again, and using it no violation.
    pub fn revive(&self) {
        self.with(|hook| (hook.alive, hook.death_told) = (true, None));
    }

    /// Plays this verb on the next so many requests to it; `usize::MAX`: until [`Webhook::clear_faults`].
    pub fn push_fault(&self, verb: Verb, times: usize) {
        self.with(|hook| hook.script.push(verb, times));
    }

    /// Forgets its verbs.
    pub fn clear_faults(&self) {
        self.with(|hook| hook.script.clear());
    }

    /// Requests in a window, for each of its methods. 5 in two seconds unless told.
    pub fn set_limit(&self, limit: u32, window: Duration) {
        self.with(|hook| {
            hook.limit = (limit, window);
            hook.buckets.clear();
        });
    }

    /// Messages within any such stretch, in its channel; no header tells. 30 in a minute unless told.
    pub fn set_channel_limit(&self, limit: usize, window: Duration) {
        let mut state = self.shared.lock();
        let channel = state.hooks[self.index].channel.clone();
        state.channels.get_mut(&channel).expect("made with the webhook").limit = Rolling::new(limit, window);
    }

    /// From now on messages with this text are refused, as moderation does.
    pub fn set_filter(&self, text: impl Into<Option<String>>) {
        self.with(|hook| hook.filter = text.into());
    }

    /// Waits until so many messages are stored; panics at the deadline.
    pub fn wait_for_messages(&self, count: usize, deadline: Instant) -> Vec<Message> {
        let stored = |state: &State| state.hooks[self.index].messages.len();
        let ready = |state: &State| (stored(state) >= count).then(|| state.hooks[self.index].messages.clone());
        self.shared.wait(deadline, ready, |state| {
            let name = &state.hooks[self.index].name;
            format!("webhook {name} has {} of {count} messages\n{}", stored(state), history(state))
        })
    }

    /// Waits until there were so many requests to it; panics at the deadline.
    pub fn wait_for_requests(&self, count: usize, deadline: Instant) -> Vec<Recorded> {
        let ready = |state: &State| Some(requests_of(state, self.index)).filter(|requests| requests.len() >= count);
        self.shared.wait(deadline, ready, |state| {
            let (name, seen) = (&state.hooks[self.index].name, requests_of(state, self.index).len());
            format!("webhook {name} got {seen} of {count} requests\n{}", history(state))
        })
    }

    fn with<T>(&self, with: impl FnOnce(&mut Hook) -> T) -> T {
        with(&mut self.shared.lock().hooks[self.index])
    }
}

fn requests_of(state: &State, index: usize) -> Vec<Recorded> {
    let ours = |request: &&Recorded| pipeline::Target::of(request, state).hook == Some(index);
    state.requests.iter().filter(ours).cloned().collect()
}

/// What a failed wait shows: the last requests, without tokens.
fn history(state: &State) -> String {
    let mut lines: Vec<String> = state.requests.iter().rev().take(20).map(line(state)).collect();
    lines.reverse();
    lines.extend(state.violations.iter().map(|violation| format!("violation: {violation}")));
    lines.join("\n")
}

fn line(state: &State) -> impl Fn(&Recorded) -> String + '_ {
    |request| {
        let hook = pipeline::Target::of(request, state).hook;
        let name = hook.map_or("no webhook", |hook| &state.hooks[hook].name);
        let status = request.status.map_or("no answer".to_owned(), |status| status.to_string());
        let stored = if request.stored { ", stored" } else { "" };
        format!("{} ago: {} {name} → {status}{stored}", ago(request.received), request.method)
    }
}

fn ago(at: Instant) -> String {
    format!("{:.3} s", at.elapsed().as_secs_f64())
}
