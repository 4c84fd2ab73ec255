//! The children of one kind by name, and which stage of its life each is in. Pure.
//!
//! A name has one life at a time. A configuration that comes while a life ends waits for that end, and only
//! the newest one counts. Every life has a number, so that late news of an earlier life changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::Name;

/// A child that lived for so many seconds before it panicked counts its deaths from one again.
const LONG_LIFE: i64 = 600;

/// See the module. `S` is a configuration, `H` a handle on a running actor.
#[derive(Debug)]
pub(super) struct Lives<S, H> {
    stages: BTreeMap<Name, Stage<S, H>>,
    last_life: u64,
    /// Nothing starts any more.
    closed: bool,
}

#[derive(Debug)]
enum Stage<S, H> {
    /// It is about to be started, when its record is loaded.
    Starting(Birth<S>),
    Running {
        life: u64,
        handle: H,
        spec: S,
        deaths: u32,
        born: Timestamp,
    },
    /// It was asked to end; `next` follows it.
    Ending {
        life: u64,
        handle: H,
        next: Option<S>,
    },
    /// It panicked, and is started again after a wait.
    Waiting(Birth<S>),
}

/// What starts a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Birth<S> {
    pub(super) life: u64,
    pub(super) spec: S,
    /// Panics since a life of this name last was a long one.
    pub(super) deaths: u32,
    /// The panic that ended the life before.
    pub(super) panic: Option<String>,
}

/// What follows from a wish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order<'h, H> {
    /// Nothing now.
    Nothing,
    /// This life is to be started.
    Start(u64),
    /// This actor is to be stopped.
    Stop(&'h H),
}

/// What follows from the end of a life.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// It was not the present life, or nothing follows.
    Nothing,
    /// This life is to be started now.
    Start(u64),
    /// This life is to be started after a wait: the one before panicked.
    StartLater { life: u64, deaths: u32 },
}

impl<S: Clone, H> Lives<S, H> {
    pub(super) fn new() -> Self {
        Self { stages: BTreeMap::new(), last_life: 0, closed: false }
    }

    fn birth(&mut self, spec: S, deaths: u32, panic: Option<String>) -> Birth<S> {
        self.last_life += 1;
        Birth { life: self.last_life, spec, deaths, panic }
    }

    /// A life is to be started now.
    fn begin(&mut self, name: &Name, spec: S, panic: Option<String>) -> u64 {
        let birth = self.birth(spec, 0, panic);
        let life = birth.life;
        self.stages.insert(name.clone(), Stage::Starting(birth));
        life
    }

    /// The running actor is to end, and `next` follows.
    fn end(&mut self, name: &Name, next: Option<S>) -> Order<'_, H> {
        let Some(Stage::Running { life, handle, .. }) = self.stages.remove(name) else { return Order::Nothing };
        match self.stages.entry(name.clone()).or_insert(Stage::Ending { life, handle, next }) {
            Stage::Ending { handle, .. } => Order::Stop(handle),
            Stage::Starting(_) | Stage::Running { .. } | Stage::Waiting(_) => Order::Nothing,
        }
    }

    /// `name` is to run as `spec` says, in a new life.
    pub(super) fn want(&mut self, name: &Name, spec: S) -> Order<'_, H> {
        if self.closed {
            return Order::Nothing;
        }
        match self.stages.get_mut(name) {
            // what is being loaded does not depend on the configuration
            Some(Stage::Starting(birth)) => {
                birth.spec = spec;
                Order::Nothing
            }
            Some(Stage::Running { .. }) => self.end(name, Some(spec)),
            Some(Stage::Ending { next, .. }) => {
                *next = Some(spec);
                Order::Nothing
            }
            // a new configuration may be the cure
            Some(Stage::Waiting(birth)) => {
                let panic = birth.panic.take();
                Order::Start(self.begin(name, spec, panic))
            }
            None => Order::Start(self.begin(name, spec, None)),
        }
    }

    /// `name` is to run no longer.
    pub(super) fn drop_name(&mut self, name: &Name) -> Order<'_, H> {
        match self.stages.get_mut(name) {
            Some(Stage::Running { .. }) => self.end(name, None),
            Some(Stage::Ending { next, .. }) => {
                *next = None;
                Order::Nothing
            }
            Some(Stage::Starting(_) | Stage::Waiting(_)) => {
                self.stages.remove(name);
                Order::Nothing
            }
            None => Order::Nothing,
        }
    }

    /// What a life is to be started with; none if it is not wanted any more.
    pub(super) fn to_start(&self, name: &Name, life: u64) -> Option<Birth<S>> {
        match self.stages.get(name)? {
            Stage::Starting(birth) if birth.life == life => Some(birth.clone()),
            _ => None,
        }
    }

    /// Its actor was started.
    pub(super) fn started(
        &mut self,
        name: &Name,
        Birth { life, spec, deaths, .. }: Birth<S>,
        handle: H,
        now: Timestamp,
    ) {
        debug_assert!(self.to_start(name, life).is_some(), "only what is to be started is started");
        self.stages.insert(name.clone(), Stage::Running { life, handle, spec, deaths, born: now });
    }

    /// A life is over, by a panic or as it was asked to.
    pub(super) fn ended(&mut self, name: &Name, life: u64, panic: Option<String>, now: Timestamp) -> Followed {
        let over = match self.stages.get(name) {
            Some(Stage::Running { life: present, .. } | Stage::Ending { life: present, .. }) => *present == life,
            Some(Stage::Starting(_) | Stage::Waiting(_)) | None => false,
        };
        if !over {
            return Followed::Nothing;
        }
        match self.stages.remove(name) {
            Some(Stage::Running { spec, deaths, born, .. }) => {
                let lived_long = now.duration_since(born).as_secs() > LONG_LIFE;
                let deaths = if lived_long { 1 } else { deaths + 1 };
                let cause = panic.unwrap_or_else(|| "it ended by itself".to_owned());
                let birth = self.birth(spec, deaths, Some(cause));
                let life = birth.life;
                self.stages.insert(name.clone(), Stage::Waiting(birth));
                Followed::StartLater { life, deaths }
            }
            Some(Stage::Ending { next: Some(spec), .. }) => Followed::Start(self.begin(name, spec, panic)),
            _ => Followed::Nothing,
        }
    }

    /// The wait after a panic is over. Says whether the life is still wanted and now to be started.
    pub(super) fn waited(&mut self, name: &Name, life: u64) -> bool {
        match self.stages.remove(name) {
            Some(Stage::Waiting(birth)) if birth.life == life => {
                self.stages.insert(name.clone(), Stage::Starting(birth));
                true
            }
            Some(stage) => {
                self.stages.insert(name.clone(), stage);
                false
            }
            None => false,
        }
    }

    /// All end and nothing follows. Gives the actors that are to be stopped.
    pub(super) fn close(&mut self) -> impl Iterator<Item = &H> {
        self.closed = true;
        let stages = std::mem::take(&mut self.stages);
        let mut stop = Vec::new();
        for (name, stage) in stages {
            let (life, handle) = match stage {
                Stage::Running { life, handle, .. } => {
                    stop.push(name.clone());
                    (life, handle)
                }
                Stage::Ending { life, handle, .. } => (life, handle),
                Stage::Starting(_) | Stage::Waiting(_) => continue,
            };
            self.stages.insert(name, Stage::Ending { life, handle, next: None });
        }
        let stages = &self.stages;
        stop.into_iter().filter_map(move |name| match stages.get(&name) {
            Some(Stage::Ending { handle, .. }) => Some(handle),
            _ => None,
        })
    }

    /// Whether nothing lives.
    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Names that are about to be started.
    pub(super) fn starting(&self) -> usize {
        self.stages.values().filter(|stage| matches!(stage, Stage::Starting(_))).count()
    }

    /// The actor that does the work of `name` now.
    pub(super) fn running(&self, name: &Name) -> Option<&H> {
        match self.stages.get(name)? {
            Stage::Running { handle, .. } => Some(handle),
            Stage::Starting(_) | Stage::Ending { .. } | Stage::Waiting(_) => None,
        }
    }

    /// The actors at work.
    pub(super) fn all_running(&self) -> impl Iterator<Item = (&Name, &H)> {
        self.stages.keys().filter_map(|name| Some((name, self.running(name)?)))
    }

    /// The actors that live, those that are about to end included.
    pub(super) fn all_living(&self) -> impl Iterator<Item = (&Name, &H)> {
        self.stages.iter().filter_map(|(name, stage)| match stage {
            Stage::Running { handle, .. } | Stage::Ending { handle, .. } => Some((name, handle)),
            Stage::Starting(_) | Stage::Waiting(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BORN: Timestamp = Timestamp::UNIX_EPOCH;

    /// A table in which configurations are words and an actor's handle is the number of its life.
    struct Table {
        lives: Lives<&'static str, u64>,
        name: Name,
    }

    impl Table {
        fn new() -> Self {
            Self { lives: Lives::new(), name: Name::new("news").unwrap() }
        }

        fn want(&mut self, spec: &'static str) -> Order<'_, u64> {
            self.lives.want(&self.name, spec)
        }

        fn start(&mut self, life: u64) -> &'static str {
            let birth = self.lives.to_start(&self.name, life).expect("it is to be started");
            let spec = birth.spec;
            self.lives.started(&self.name, birth, life, BORN);
            spec
        }

        fn ended(&mut self, life: u64, panic: Option<&str>) -> Followed {
            self.lives.ended(&self.name, life, panic.map(str::to_owned), BORN)
        }

        fn runs(&self) -> Option<u64> {
            self.lives.running(&self.name).copied()
        }
    }

    #[test]
    fn a_changed_name_starts_again_only_when_its_former_life_is_over_and_the_newest_counts() {
        let mut table = Table::new();
        assert_eq!(table.want("a"), Order::Start(1));
        assert_eq!(table.start(1), "a");
        assert_eq!(table.want("b"), Order::Stop(&1));
        assert_eq!(table.want("c"), Order::Nothing);
        assert_eq!(table.runs(), None);
        assert_eq!(table.lives.all_living().count(), 1);
        assert_eq!(table.want("d"), Order::Nothing);
        assert_eq!(table.ended(1, None), Followed::Start(2));
        assert_eq!(table.ended(1, None), Followed::Nothing, "a life ends once");
        assert_eq!(table.start(2), "d");
        assert_eq!(table.runs(), Some(2));
    }

    #[test]
    fn a_name_that_left_and_came_back_while_its_life_ends_waits_for_the_end() {
        let mut table = Table::new();
        table.want("a");
        table.start(1);
        assert_eq!(table.lives.drop_name(&table.name), Order::Stop(&1));
        assert_eq!(table.want("a"), Order::Nothing);
        assert_eq!(table.lives.drop_name(&table.name), Order::Nothing);
        assert_eq!(table.ended(1, None), Followed::Nothing);
        assert!(table.lives.is_empty());
        assert_eq!(table.want("b"), Order::Start(2));
    }

    #[test]
    fn a_late_load_starts_what_is_configured_by_then_or_nothing() {
        let mut table = Table::new();
        table.want("a");
        assert_eq!(table.want("b"), Order::Nothing, "its record is loaded already");
        assert_eq!(table.lives.starting(), 1);
        assert_eq!(table.start(1), "b");
        assert_eq!(table.lives.starting(), 0);
        assert_eq!(table.lives.to_start(&table.name, 1), None, "never twice");

        let mut table = Table::new();
        table.want("a");
        assert_eq!(table.lives.drop_name(&table.name), Order::Nothing);
        assert_eq!(table.lives.to_start(&table.name, 1), None, "it left");
        assert_eq!(table.want("a"), Order::Start(2));
        assert_eq!(table.lives.to_start(&table.name, 1), None, "the load of an earlier stay");
        assert_eq!(table.start(2), "a");
    }

    #[test]
    fn a_panic_is_followed_by_one_life_whatever_comes_meanwhile() {
        // while it runs
        let mut table = Table::new();
        table.want("a");
        table.start(1);
        assert_eq!(table.ended(1, Some("boom")), Followed::StartLater { life: 2, deaths: 1 });
        assert_eq!(table.lives.to_start(&table.name, 2), None, "not before the wait is over");
        assert!(table.lives.waited(&table.name, 2));
        assert!(!table.lives.waited(&table.name, 2));
        assert_eq!(table.lives.to_start(&table.name, 2).unwrap().panic.as_deref(), Some("boom"));
        assert_eq!(table.start(2), "a");
        assert_eq!(table.ended(2, None), Followed::StartLater { life: 3, deaths: 2 });
        // a reload while it waits
        assert_eq!(table.want("b"), Order::Start(4));
        assert!(!table.lives.waited(&table.name, 3), "the wait of a life that is not wanted any more");
        assert_eq!(table.start(4), "b");
        // a panic while it ends
        assert_eq!(table.want("c"), Order::Stop(&4));
        assert_eq!(table.ended(4, Some("boom")), Followed::Start(5));
        assert_eq!(table.lives.to_start(&table.name, 5).unwrap().panic.as_deref(), Some("boom"));
        assert_eq!(table.start(5), "c");
        // it leaves while it waits
        assert_eq!(table.ended(5, Some("boom")), Followed::StartLater { life: 6, deaths: 1 });
        assert_eq!(table.lives.drop_name(&table.name), Order::Nothing);
        assert!(!table.lives.waited(&table.name, 6));
        assert!(table.lives.is_empty());
    }

    #[test]
    fn deaths_are_counted_until_a_long_life() {
        let mut table = Table::new();
        table.want("a");
        table.start(1);
        table.ended(1, Some("boom"));
        table.lives.waited(&table.name, 2);
        table.start(2);
        let later = BORN + jiff::SignedDuration::from_secs(LONG_LIFE + 1);
        let followed = table.lives.ended(&table.name, 2, None, later);
        assert_eq!(followed, Followed::StartLater { life: 3, deaths: 1 });
    }

    #[test]
    fn once_closed_all_ends_and_nothing_starts() {
        let names = ["ends", "loads", "runs", "waits"].map(|name| Name::new(name).unwrap());
        let mut lives = Lives::new();
        for name in &names {
            let Order::Start(life) = lives.want(name, "a") else { panic!("{name}") };
            if name.as_str() != "loads" {
                let birth = lives.to_start(name, life).unwrap();
                lives.started(name, birth, life, BORN);
            }
        }
        let [ends, loads, runs, waits] = &names;
        lives.want(ends, "b");
        lives.ended(waits, 4, None, BORN);
        assert_eq!(lives.close().copied().collect::<Vec<_>>(), [3], "what ends already is not stopped twice");
        assert_eq!(lives.want(loads, "c"), Order::Nothing);
        assert!(lives.to_start(loads, 2).is_none() && !lives.waited(waits, 5));
        assert!(!lives.is_empty());
        assert_eq!(lives.ended(ends, 1, None, BORN), Followed::Nothing);
        assert_eq!(lives.ended(runs, 3, Some("boom".into()), BORN), Followed::Nothing);
        assert!(lives.is_empty());
    }
}
