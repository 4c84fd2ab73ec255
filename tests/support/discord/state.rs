//! All that the fake knows, behind one lock.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    limits::{Rolling, Window},
    record::{Message, Recorded},
    verb::{Script, Verb},
};

/// 5 requests in 2 seconds for each webhook and method.
const BUCKET: (u32, Duration) = (5, Duration::from_secs(2));
/// 30 messages in a minute for each channel; no header tells.
const CHANNEL: (usize, Duration) = (30, Duration::from_secs(60));
/// 50 requests in a second for each address.
const GLOBAL: (u32, Duration) = (50, Duration::from_secs(1));
/// 10,000 answers of 401, 403 or 429 in ten minutes, and the address is banned as long.
const INVALID: (usize, Duration) = (10_000, Duration::from_secs(600));

/// What the server and the handles share.
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    state: Mutex<State>,
    /// Told at each change that somebody may wait for.
    pub(super) changed: Condvar,
}

impl Shared {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, state: Mutex::new(State::new()), changed: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` finds something.
    pub(super) fn wait<T>(
        &self,
        deadline: Instant,
        mut ready: impl FnMut(&State) -> Option<T>,
        unmet: impl Fn(&State) -> String,
    ) -> T {
        let mut state = self.lock();
        loop {
            if let Some(found) = ready(&state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = unmet(&state);
                drop(state);
                panic!("{text}");
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The lock's inside.
pub(super) struct State {
    pub(super) hooks: Vec<Hook>,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) requests: Vec<Recorded>,
    pub(super) connections: u64,
    pub(super) script: Script,
    pub(super) global: Window,
    pub(super) invalid: (usize, Duration),
    pub(super) invalid_hits: VecDeque<Instant>,
    pub(super) banned_until: Option<Instant>,
    /// Waits announced to all, by 429 with a global scope or of the edge.
    pub(super) waits: Vec<Wait>,
    pub(super) bucket_hash: u128,
    pub(super) violations: Vec<String>,
    ids: u64,
}

/// A webhook.
pub(super) struct Hook {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) name: String,
    pub(super) channel: String,
    pub(super) alive: bool,
    /// The request whose answer told the client that this webhook is no more.
    pub(super) death_told: Option<usize>,
    pub(super) limit: (u32, Duration),
    pub(super) buckets: HashMap<&'static str, Window>,
    pub(super) waits: HashMap<&'static str, Wait>,
    pub(super) script: Script,
    pub(super) messages: Vec<Message>,
    /// Text that the channel's moderation refuses.
    pub(super) filter: Option<String>,
}

impl Hook {
    /// The bucket of a route, with a window that is over forgotten.
    pub(super) fn bucket(&mut self, route: &'static str, now: Instant) -> &mut Window {
        let (limit, length) = self.limit;
        let bucket = self.buckets.entry(route).or_insert_with(|| Window::new(limit, length));
        bucket.refresh(now);
        bucket
    }
}

/// A channel, which webhooks may share.
pub(super) struct Channel {
    pub(super) limit: Rolling,
    pub(super) forum: bool,
    pub(super) threads: Vec<String>,
}

/// A wait that an answer announced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) from: Instant,
    pub(super) until: Instant,
    /// The webhook that was told, if the wait is for all.
    pub(super) told: Option<usize>,
}

impl State {
    fn new() -> Self {
        Self {
            hooks: Vec::new(),
            channels: BTreeMap::new(),
            requests: Vec::new(),
            connections: 0,
            script: Script::default(),
            global: Window::new(GLOBAL.0, GLOBAL.1),
            invalid: INVALID,
            invalid_hits: VecDeque::new(),
            banned_until: None,
            waits: Vec::new(),
            bucket_hash: 0x_a7f0_41c2_93e8_5b6d_0d1f_8c27_64b9_e350,
            violations: Vec::new(),
            ids: 0,
        }
    }

    /// 18 digits for what exists before the test.
    pub(super) fn old_id(&mut self) -> String {
        self.ids += 1;
        format!("{}", 200_000_000_000_000_000 + self.ids * 7_919)
    }

    /// A snowflake of now.
    pub(super) fn snowflake(&mut self) -> String {
        const DISCORD_EPOCH: i64 = 1_420_070_400_000;
        self.ids += 1;
        let millis = u64::try_from(jiff::Timestamp::now().as_millisecond() - DISCORD_EPOCH).unwrap_or(0);
        ((millis << 22) | (self.ids & 0x3f_ffff)).to_string()
    }

    /// A new webhook, in this channel or one of its own. Its index.
    pub(super) fn hook(&mut self, name: &str, channel: Option<String>, forum: bool) -> usize {
        let id = self.old_id();
        let channel = channel.unwrap_or_else(|| self.old_id());
        let limit = Rolling::new(CHANNEL.0, CHANNEL.1);
        self.channels.entry(channel.clone()).or_insert(Channel { limit, forum, threads: Vec::new() });
        self.hooks.push(Hook {
            token: token(&id),
            id,
            name: name.to_owned(),
            channel,
            alive: true,
            death_told: None,
            limit: BUCKET,
            buckets: HashMap::new(),
            waits: HashMap::new(),
            script: Script::default(),
            messages: Vec::new(),
            filter: None,
        });
        self.hooks.len() - 1
    }

    /// The webhook with this id, whatever its token.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.hooks.iter().position(|hook| hook.id == id)
    }

    /// What is to be played on a request to this webhook: its own verbs first.
    pub(super) fn take_verb(&mut self, hook: Option<usize>) -> Option<Verb> {
        let own = hook.and_then(|hook| self.hooks[hook].script.take());
        own.or_else(|| self.script.take())
    }

    /// One more 401, 403 or 429. Too many, and the address is banned.
    pub(super) fn invalid(&mut self, now: Instant) {
        let (limit, window) = self.invalid;
        self.invalid_hits.retain(|&hit| now.saturating_duration_since(hit) < window);
        self.invalid_hits.push_back(now);
        if self.invalid_hits.len() >= limit {
            self.banned_until = Some(now + window);
        }
    }
}

/// 68 characters that no other webhook has, of this run or another: tests look for them in logs.
fn token(id: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut seed = format!("{id} {} {:?}", std::process::id(), std::time::SystemTime::now()).into_bytes();
    let mut next = || {
        seed.push(0);
        let hash = xxhash_rust::xxh3::xxh3_64(&seed);
        char::from(ALPHABET[usize::try_from(hash % 64).expect("below 64")])
    };
    (0..68).map(|_| next()).collect()
}
