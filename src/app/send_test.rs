//! `send-test DESTINATION`: one clearly marked message, outside the outbox.

use std::{process::ExitCode, sync::Arc};

use jiff::Timestamp;

use crate::{
    config::{Config, DestinationKind},
    delivery::{
        self, request,
        response::{self, Limit, Problem, Verdict},
    },
    fetch::{Tls, send},
    model::Item,
    store::{Delivery, SourceRef},
};

/// Sends it and says what came of it. Exit status 0 if it was taken; 2 if there is no such destination;
/// 3 if it was not taken.
pub fn run(config: &Config, name: &str) -> ExitCode {
    let Some(destination) = config.destinations.iter().find(|destination| destination.name.as_str() == name) else {
        let names: Vec<_> = config.destinations.iter().map(|destination| destination.name.as_str()).collect();
        anstream::eprintln!("error: there is no destination {name:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let now = Timestamp::now();
    let delivery = test_item(now);
    let Some(request) = request::test(destination, &delivery, now) else {
        anstream::println!("{}", delivery::render(destination, &delivery, None).json);
        return ExitCode::SUCCESS;
    };
    let result = actix::System::new().block_on(async { send(request, &Tls::new().with_roots(&Arc::default())).await });
    let told = match response::read(&destination.kind, result, now).verdict {
        Verdict::Delivered => {
            anstream::println!("{name}: the test message was taken");
            return ExitCode::SUCCESS;
        }
        Verdict::Limited(limit, problem) => format!("{}{}", problem.message, wait(limit)).into(),
        Verdict::Refused(Problem { message, .. })
        | Verdict::Gone(Problem { message, .. })
        | Verdict::Misconfigured(Problem { message, .. })
        | Verdict::Retry(Problem { message, .. }, _) => message,
    };
    let kind = match destination.kind {
        DestinationKind::Discord { .. } => "discord",
        DestinationKind::Webhook { .. } => "webhook",
        DestinationKind::Stdout => "stdout",
    };
    anstream::eprintln!("error: {name} ({kind}) did not take the test message: {told}");
    ExitCode::from(3)
}

fn wait(limit: Limit) -> String {
    match limit {
        Limit::Announced(wait) | Limit::Hidden(wait) | Limit::Global(wait) | Limit::Block(Some(wait)) => {
            format!(", to be tried again in {} s", wait.as_secs_f64().ceil())
        }
        Limit::Block(None) => ", this address is blocked for now".to_owned(),
    }
}

fn test_item(now: Timestamp) -> Delivery {
    Delivery {
        id: format!("{:032x}", now.as_nanosecond()),
        source: SourceRef { name: "send-test".into(), label: "kawaraban".into() },
        item: Item { title: Some("Test message, nothing happened".into()), published: Some(now), ..Item::default() },
        accepted_at: now,
    }
}
