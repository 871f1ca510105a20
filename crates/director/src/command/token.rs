//! `udp-director token`: keys for sealed tokens, and what a token says to who has the key.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use udp_director_core::{Handle, Inventory, Seal, Unsealed};
use udp_director_director::config::{Config, InventorySource};
use udp_director_director::keys::KeyFolder;
use udp_director_inventory::{Targets, snapshot};
use udp_director_wire::{Token, TokenForm};
use zeroize::Zeroizing;

/// What is done with tokens and their keys.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Prints a fresh key for sealed tokens, for a file of `tokens.keys.dir`.
    Keygen,
    /// Opens a sealed token, and prints what it says.
    Inspect(Inspect),
}

/// A token, and what may open it.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The token; `-` reads standard input, so that it stands in no list of processes.
    token: String,
    /// The folder of keys; that of the configuration, if it is left out.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    keys: Option<PathBuf>,
    /// The IP that the token may be bound to.
    #[arg(long, value_name = "IP")]
    client_ip: Option<IpAddr>,
    /// `tokens.clusterId`; that of the configuration, if it is left out.
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// A configuration, in whose inventory file the backend is looked up.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl TokenCommand {
    /// What is to be printed.
    ///
    /// # Errors
    /// Says why the token cannot be opened.
    pub(crate) fn run(self) -> anyhow::Result<String> {
        match self {
            TokenCommand::Keygen => keygen(),
            TokenCommand::Inspect(inspect) => inspect.run(SystemTime::now()),
        }
    }
}

fn keygen() -> anyhow::Result<String> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes).context("the system gives no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Inspect {
    fn run(&self, now: SystemTime) -> anyhow::Result<String> {
        let token = self.token()?;
        let config = self.config.as_deref().map(Config::read).transpose();
        let config = config.map_err(|errors| anyhow::anyhow!("{errors}"))?;
        let seal = self.seal(config.as_ref())?;
        let client = self.client_ip.map(|ip| ip.to_canonical());
        // One that has expired may be of the era before.
        let moments = [now, now.checked_sub(Seal::ERA).unwrap_or(SystemTime::UNIX_EPOCH)];
        let opened = moments.into_iter().find_map(|moment| seal.open(&token, client, moment));
        let opened = opened.with_context(|| self.closed(&token))?;
        let backend = config.as_ref().map_or(Ok(None), |config| name_of(opened.contents.backend, config))?;
        Ok(describe(&token, &opened, backend.as_deref(), now))
    }

    fn token(&self) -> anyhow::Result<Token> {
        let mut text = self.token.clone();
        if text == "-" {
            text.clear();
            io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        }
        let token = Token::from_bytes(text.trim().as_bytes());
        token
            .filter(|token| token.has_form(TokenForm::Base64Url))
            .context("this is no token: a token has 36 characters, of letters, digits, \"-\" and \"_\"")
    }

    fn seal(&self, config: Option<&Config>) -> anyhow::Result<Seal> {
        let keys = self.keys.as_deref().or_else(|| config?.tokens.keys.as_deref());
        let keys = keys.context("the configuration has no tokens.keys: name a folder with --keys")?;
        let folder = KeyFolder::open(keys).with_context(|| keys.display().to_string())?;
        let cluster_id = self.cluster_id.as_deref().or_else(|| Some(config?.tokens.cluster_id.as_str()));
        let cluster_id = cluster_id.unwrap_or_default();
        if cluster_id.len() > Seal::MAX_CLUSTER_ID {
            bail!("--cluster-id has at most {} characters", Seal::MAX_CLUSTER_ID);
        }
        Ok(Seal::new(folder.ring().clone(), cluster_id, false))
    }

    /// Why it does not open.
    fn closed(&self, token: &Token) -> String {
        if token.has_form(TokenForm::Uuid) {
            return format!("token {token} is a random one: only the director that gave it out knows more");
        }
        let ip = match self.client_ip {
            Some(ip) => format!("or it is bound to another IP than {ip}"),
            None => "or it is bound to an IP: name it with --client-ip".to_owned(),
        };
        format!("token {token} does not open: no key here has sealed it, or for another cluster id, {ip}")
    }
}

/// The object that the backend is, where the configuration's inventory is a file.
fn name_of(handle: Handle, config: &Config) -> anyhow::Result<Option<String>> {
    let InventorySource::File(path) = &config.inventory else { return Ok(None) };
    let inventory = inventory(path, config).with_context(|| format!("inventory file {}", path.display()))?;
    Ok(inventory.by_handle(handle).map(|backend| {
        let spec = &backend.spec;
        format!("{} {}/{}", spec.resource_type, spec.namespace, spec.name)
    }))
}

fn inventory(path: &Path, config: &Config) -> anyhow::Result<Inventory> {
    let text = fs::read_to_string(path)?;
    let targets = Targets::new(config.allowed_target_cidrs.clone());
    Ok(snapshot(&text, &config.mappings, &targets, &Inventory::default())?)
}

fn describe(token: &Token, opened: &Unsealed<'_>, backend: Option<&str>, now: SystemTime) -> String {
    let contents = &opened.contents;
    let bound = opened.bound_to.map_or("no IP: any may redeem it".to_owned(), |ip| ip.to_string());
    let backend = backend.map_or_else(String::new, |name| format!(" ({name})"));
    format!(
        "token    {token}\nkey      {}\nexpires  {}\nbound to {bound}\nbackend  {}{backend}",
        opened.key.id(),
        expiry(contents.expires, now),
        contents.backend,
    )
}

fn expiry(expires: SystemTime, now: SystemTime) -> String {
    let at = Timestamp::try_from(expires).map_or_else(|_| "at an odd time".to_owned(), |at| at.to_string());
    match expires.duration_since(now) {
        Ok(left) => format!("{at}, in {} s", left.as_secs()),
        Err(past) => format!("{at}, {} s ago", past.duration().as_secs()),
    }
}
