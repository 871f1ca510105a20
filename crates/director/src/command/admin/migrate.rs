//! `migrate`: moves players, shows what comes of it, and stops it.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::ask::Asker;
use super::table::{cell, table};
use super::{AdminArgs, Failure, MIGRATIONS, Output, named, show};

/// How often `--wait` looks.
const LOOK: Duration = Duration::from_millis(250);

/// Who is moved, and where to.
#[derive(Debug, Args)]
#[group(id = "who", required = true, multiple = false, args = ["session", "backend", "abort"])]
pub(in crate::command) struct MigrateArgs {
    /// The player of the session of that number.
    #[arg(long, value_name = "NUMBER")]
    session: Option<u64>,
    /// The players on that server: TYPE/NAMESPACE/NAME, or its UID.
    #[arg(long)]
    backend: Option<String>,
    /// Lets those stay who are not on their way yet, by the number of the migration.
    #[arg(long, value_name = "MIGRATION")]
    #[arg(conflicts_with_all = ["to", "query", "share", "per_second", "dry_run", "wait"])]
    abort: Option<u64>,
    /// Only such a share of the server's players, such as `25%`, at random; all without it.
    #[arg(long, conflicts_with = "session", value_parser = share)]
    share: Option<f64>,
    /// To that server: TYPE/NAMESPACE/NAME, or its UID. Without this and `--query`, each goes to another
    /// that is what he asked for himself.
    #[arg(long, value_name = "BACKEND", conflicts_with = "query")]
    to: Option<String>,
    /// To servers that match that query.
    #[arg(long)]
    query: Option<String>,
    /// At most so many players a second, beside what the configuration says.
    #[arg(long, value_name = "PLAYERS", value_parser = clap::value_parser!(u32).range(1..))]
    per_second: Option<u32>,
    /// Says who would go where, and moves nobody.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Waits for the end, shows how far it is, and fails unless all have moved or left.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) async fn run(args: MigrateArgs) -> Result<(), Failure> {
    let (asker, output) = (Asker::new(&args.admin), args.admin.output);
    if let Some(migration) = args.abort {
        let job = asker.delete(&format!("/v1/migrations/{migration}")).await?;
        return show_job(output, &job);
    }
    let answer = asker.post("/v1/migrations", order(&args)?.to_string()).await?;
    if args.dry_run {
        return show(output, &answer, rehearsal);
    }
    if !args.wait {
        return show_job(output, &answer);
    }
    let job = wait(&asker, answer).await?;
    show_job(output, &job)?;
    if job["state"] == "done" && job["failed"] == 0 { Ok(()) } else { Err(Failure::Shown) }
}

/// The order as the admin API takes it.
fn order(args: &MigrateArgs) -> Result<Value, Failure> {
    let from = match (&args.session, &args.backend) {
        (Some(session), _) => json!({"session": session}),
        (None, Some(backend)) => json!({"backend": named(backend)}),
        (None, None) => unreachable!("clap requires one of the two"),
    };
    let mut order = Map::from_iter([("from".to_owned(), from), ("dryRun".to_owned(), json!(args.dry_run))]);
    if let Some(backend) = &args.to {
        order.insert("to".to_owned(), json!({"backend": named(backend)}));
    }
    if let Some(query) = &args.query {
        let query: Value = serde_json::from_str(query).context("--query is no JSON")?;
        order.insert("to".to_owned(), json!({"query": query}));
    }
    order.extend(args.share.map(|share| ("share".to_owned(), json!(share))));
    order.extend(args.per_second.map(|rate| ("perSecond".to_owned(), json!(rate))));
    Ok(order.into())
}

/// Looks until the migration ends, and tells each time that it has come further.
async fn wait(asker: &Asker, begun: Value) -> Result<Value, Failure> {
    let mut job = begun;
    loop {
        let counted = |key: &str| cell(job.get(key));
        eprintln!(
            "migration {}: {} of {} moved, {} failed, {} left, {} to go",
            counted("id"),
            counted("moved"),
            counted("total"),
            counted("failed"),
            counted("left"),
            counted("remaining")
        );
        if job["state"] != "running" {
            return Ok(job);
        }
        job = next(asker, &job).await?;
    }
}

/// The migration when it is no longer as it was.
async fn next(asker: &Asker, job: &Value) -> Result<Value, Failure> {
    loop {
        sleep(LOOK).await;
        let now = asker.get(&format!("/v1/migrations/{}", job["id"])).await?;
        if now != *job {
            return Ok(now);
        }
    }
}

fn show_job(output: Output, job: &Value) -> Result<(), Failure> {
    show(output, job, |job| table(&MIGRATIONS, [job]))
}

/// What a dry run has come to: a line for each server, and for each reason to stay.
fn rehearsal(told: &Value) -> String {
    let lines = |key: &str| {
        let pairs = told[key].as_object().into_iter().flatten();
        pairs.map(|(what, players)| json!({"what": what, "players": players})).collect::<Vec<_>>()
    };
    let (to, stay) = (lines("to"), lines("byReason"));
    let moves = table(&[("TO", "/what"), ("PLAYERS", "/players")], &to);
    match &stay[..] {
        [] => moves,
        stay => format!("{moves}\n{}", table(&[("STAY, SINCE", "/what"), ("PLAYERS", "/players")], stay)),
    }
}

/// Reads `25%` or `0.25`.
fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match share {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("it is above 0 % and at most 100 %, such as 25% or 0.25".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_a_part_of_the_whole() {
        for (text, expected) in
            [("25%", Some(0.25)), ("0.25", Some(0.25)), ("100%", Some(1.0)), ("0.5%", Some(0.005))]
        {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
        for text in ["0", "0%", "101%", "25", "-1", "half", "NaN", ""] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
