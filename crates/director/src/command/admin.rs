//! The subcommands that ask the admin port of a director that runs.

mod ask;
mod migrate;
mod table;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Failure, print, runtime};
use ask::{Asker, query_of};
use migrate::MigrateArgs;
use table::{Column, cell, table};

/// What is asked of a director that runs.
#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Says which server a query would get now, and why not the others. Gives no token.
    Explain(ExplainArgs),
    /// Shows servers: whether they take players, and how many play there.
    Backends(BackendsArgs),
    /// Shows who plays where.
    Sessions(SessionsArgs),
    /// Shows the migrations that run, and those that ran.
    Migrations(MigrationsArgs),
    /// Moves players to another server: one, all, or a share of them.
    Migrate(MigrateArgs),
}

#[derive(Debug, Args)]
struct AdminArgs {
    /// The director's admin port.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "HOST:PORT", env = "UDP_DIRECTOR_ADMIN")]
    admin: String,
    /// How the answer is shown.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// As the admin API answers.
    Json,
}

/// Which piece of a long list.
#[derive(Debug, Args)]
struct PageArgs {
    /// How many are shown at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    /// Only those behind that one: what the page before says.
    #[arg(long, value_name = "LAST")]
    after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The query, as it is sent to the query port; `-` reads standard input.
    query: String,
    /// How many servers are shown at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct BackendsArgs {
    /// Only this one: TYPE/NAMESPACE/NAME, or its UID.
    #[arg(conflicts_with_all = ["resource_type", "namespace", "limit", "after"])]
    backend: Option<String>,
    /// Only those of that resource type.
    #[arg(long, value_name = "TYPE")]
    resource_type: Option<String>,
    /// Only those in that namespace.
    #[arg(long)]
    namespace: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    /// Only the session of that number.
    #[arg(conflicts_with_all = ["backend", "limit", "after"])]
    session: Option<u64>,
    /// Only those on that server: TYPE/NAMESPACE/NAME, or its UID.
    #[arg(long)]
    backend: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct MigrationsArgs {
    /// Only the migration of that number.
    migration: Option<u64>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks, and shows the answer.
pub(super) fn run(command: AdminCommand) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            AdminCommand::Explain(args) => explain(args).await,
            AdminCommand::Backends(args) => backends(args).await,
            AdminCommand::Sessions(args) => sessions(args).await,
            AdminCommand::Migrations(args) => migrations(args).await,
            AdminCommand::Migrate(args) => migrate::run(args).await,
        }
    })
}

async fn explain(args: ExplainArgs) -> Result<(), Failure> {
    let query = super::document(args.query)?;
    let path = format!("/v1/explain?limit={}", args.limit);
    let told = Asker::new(&args.admin).post(&path, query).await?;
    show(args.admin.output, &told, |told| {
        format!("{}\n\n{}", verdict(told), table(&CANDIDATES, rows(told, "candidates")))
    })
}

/// What an explanation comes to, in two lines.
fn verdict(told: &Value) -> String {
    let counted = |key: &str| cell(told.pointer(key));
    let winner = match &told["winner"] {
        Value::Null if told["allocates"] == true => "A server is allocated for the query.".to_owned(),
        Value::Null => "The query gets nothing.".to_owned(),
        winner if told["byChance"] == true => {
            format!("The query gets {}, or another by {}.", cell(Some(winner)), counted("/strategy"))
        }
        winner => format!("The query gets {}, by {}.", cell(Some(winner)), counted("/strategy")),
    };
    let age = told["viewAgeSeconds"].as_f64().unwrap_or_default();
    let refused = match counted("/refused").as_str() {
        "-" => "none is refused".to_owned(),
        refused => format!("refused: {refused}"),
    };
    let (total, eligible) = (counted("/total"), counted("/eligible"));
    format!("{winner}\nOf {total} servers {eligible} can be picked; {refused}. The view is {age:.1} s old.")
}

async fn backends(args: BackendsArgs) -> Result<(), Failure> {
    let asker = Asker::new(&args.admin);
    if let Some(backend) = args.backend {
        let path = if backend.contains('/') { backend } else { format!("uid/{backend}") };
        let told = asker.get(&format!("/v1/backends/{path}")).await?;
        return show(args.admin.output, &told, |told| table(&BACKENDS, [told]));
    }
    let filters = [("resourceType", args.resource_type), ("namespace", args.namespace)];
    let told = asker.get(&format!("/v1/backends?{}", query_of(&args.page, filters))).await?;
    show_page(args.admin.output, &told, "backends", &BACKENDS)
}

async fn sessions(args: SessionsArgs) -> Result<(), Failure> {
    let asker = Asker::new(&args.admin);
    if let Some(session) = args.session {
        let told = asker.get(&format!("/v1/sessions/{session}")).await?;
        return show(args.admin.output, &told, |told| table(&SESSIONS, [told]));
    }
    let filters = [("backend", args.backend)];
    let told = asker.get(&format!("/v1/sessions?{}", query_of(&args.page, filters))).await?;
    show_page(args.admin.output, &told, "sessions", &SESSIONS)
}

async fn migrations(args: MigrationsArgs) -> Result<(), Failure> {
    let asker = Asker::new(&args.admin);
    match args.migration {
        Some(migration) => {
            let told = asker.get(&format!("/v1/migrations/{migration}")).await?;
            show(args.admin.output, &told, |told| table(&MIGRATIONS, [told]))
        }
        None => {
            let told = asker.get("/v1/migrations").await?;
            show(args.admin.output, &told, |told| table(&MIGRATIONS, rows(told, "migrations")))
        }
    }
}

fn show(output: Output, told: &Value, as_table: impl Fn(&Value) -> String) -> Result<(), Failure> {
    match output {
        Output::Table => print(as_table(told).trim_end()),
        Output::Json => print(&format!("{told:#}")),
    }
}

/// Shows a piece of a list, and how to come to the next.
fn show_page(output: Output, told: &Value, list: &str, columns: &[Column]) -> Result<(), Failure> {
    show(output, told, |told| table(columns, rows(told, list)))?;
    if let (Output::Table, Some(next)) = (output, told.get("next")) {
        eprintln!("there are more: --after {}", cell(Some(next)));
    }
    Ok(())
}

/// The entries of a list in an answer.
fn rows<'a>(told: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    told[list].as_array().into_iter().flatten()
}

/// A server as the admin API wants it named.
fn named(backend: &str) -> Value {
    match backend.split('/').collect::<Vec<_>>()[..] {
        [resource_type, namespace, name] => {
            json!({"resourceType": resource_type, "namespace": namespace, "name": name})
        }
        _ => json!({"uid": backend}),
    }
}

const CANDIDATES: [Column; 6] = [
    ("BACKEND", "/backend"),
    ("TAKEN", "/score/seatsTaken"),
    ("FREE", "/score/seatsFree"),
    ("OWN COUNT", "/score/playersCountedByObject"),
    ("REFUSED BY", "/refusedBy"),
    ("WHY", "/why"),
];

const BACKENDS: [Column; 10] = [
    ("TYPE", "/resourceType"),
    ("NAMESPACE", "/namespace"),
    ("NAME", "/name"),
    ("UID", "/uid"),
    ("ADDRESS", "/address"),
    ("PLAYERS", "/players"),
    ("SESSIONS", "/sessions"),
    ("SEATS", "/seats"),
    ("CAPACITY", "/capacity"),
    ("WITHHELD", "/withheld"),
];

const SESSIONS: [Column; 9] = [
    ("ID", "/id"),
    ("LISTENER", "/listener"),
    ("CLIENT", "/client"),
    ("BACKEND", "/backend"),
    ("AGE S", "/ageSeconds"),
    ("IDLE S", "/idleSeconds"),
    ("BYTES TO BACKEND", "/toBackend/bytes"),
    ("BYTES TO CLIENT", "/toClient/bytes"),
    ("PARKED", "/parked"),
];

const MIGRATIONS: [Column; 8] = [
    ("ID", "/id"),
    ("STATE", "/state"),
    ("TOTAL", "/total"),
    ("MOVED", "/moved"),
    ("FAILED", "/failed"),
    ("LEFT", "/left"),
    ("REMAINING", "/remaining"),
    ("WHY NOT", "/byReason"),
];
