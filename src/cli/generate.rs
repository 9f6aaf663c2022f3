//! `triwire generate`: real-looking input for a server, made up as it goes.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::time::{Instant, sleep_until};

use super::outlet::{self, Outlet};
use crate::client::{Draft, Failure, Format};
use crate::source::call_center::CallCenter;

/// Between two reports of the averages, in milliseconds.
const REPORT_MS: f64 = 1000.0;

pub(super) fn command() -> Command {
    let center = Command::new("call-center")
        .about("Publish the calls of a call centre, and its averages each second")
        .long_about(
            "Publish each call of a call centre as an event on `calls`, when it ends: \
             {\"ts\",\"agent\",\"queue\",\"duration_s\",\"ivr_s\"}; and each second a bare number on each of \
             `avg_call_duration`, `active_agents` and `avg_time_ivr`, over the last minute.",
        )
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N")
                .default_value("10")
                .value_parser(rate)
                .help("Calls a second, on average: 0.01 to 100000"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("S")
                .value_parser(value_parser!(u64))
                .help("The same calls for the same number [default: a random one, which is told]"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("End after so many calls"),
        );
    Command::new("generate")
        .about("Publish made-up input")
        .subcommand_required(true)
        .subcommand(outlet::arguments(center))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("it is a number from 0.01 to 100000".to_owned()),
    }
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let Some(("call-center", matches)) = matches.subcommand() else {
        return super::fail(&["say what to generate: call-center".to_owned()]);
    };
    let seed = matches.get_one("seed").copied().unwrap_or_else(|| {
        let seed = fastrand::u64(..1_000_000);
        super::say(&format!("--seed {seed} makes the same calls again"));
        seed
    });
    let rate = *matches.get_one("rate").expect("it has a default");
    let limit = matches.get_one("limit").copied().unwrap_or(u64::MAX);
    let center = CallCenter::new(rate, seed);
    outlet::run(
        matches,
        |words: &str| super::say(words),
        |outlet| generate(outlet, center, limit),
    )
}

async fn generate<S: FnMut(&str)>(
    mut publisher: Outlet<S>,
    mut center: CallCenter,
    limit: u64,
) -> Result<(), Failure> {
    let opened = Instant::now();
    let start = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64);
    let (mut left, mut report_at) = (limit, REPORT_MS);
    while left > 0 {
        let next = center.due().min(report_at);
        sleep_until(opened + Duration::from_secs_f64(next / 1000.0)).await;
        // What was late, because the server was away, is made up for: nothing is left out.
        let now = (opened.elapsed().as_secs_f64() * 1000.0).min(report_at);
        let mut calls = Vec::new();
        while center.due() <= now && left > 0 && calls.len() < 5_000 {
            let call = center.call(start);
            calls.push(Bytes::from(
                serde_json::to_vec(&call).expect("plain values"),
            ));
            left -= 1;
        }
        publish(&mut publisher, "calls", &calls).await?;
        if report_at <= now && center.due() > report_at {
            let averages = center.averages(report_at);
            let rows = [
                ("avg_call_duration", averages.call_duration),
                ("active_agents", Some(averages.active_agents as f64)),
                ("avg_time_ivr", averages.time_ivr),
            ];
            for (topic, value) in rows {
                if let Some(value) = value {
                    publish(&mut publisher, topic, &[value.to_string().into()]).await?;
                }
            }
            report_at += REPORT_MS;
        }
    }
    Ok(())
}

async fn publish<S: FnMut(&str)>(
    publisher: &mut Outlet<S>,
    topic: &str,
    payloads: &[Bytes],
) -> Result<(), Failure> {
    let draft = Draft {
        topic: topic.to_owned(),
        event_type: None,
        format: Format::Json,
    };
    let published = publisher.publish(&draft, payloads).await;
    published.map_err(|unpublished| unpublished.failure)
}
