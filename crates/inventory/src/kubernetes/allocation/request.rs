//! The asking: one allocation, tried again until its deadline.

use std::fmt;
use std::time::Duration;

use kube::api::PostParams;
use kube::core::Request;
use kube::{Client, Error};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};
use udp_director_core::AllocationId;

use super::answer::server_name;
use super::error::{AllocationError, Failed};
use super::spec::AllocationSpec;
use crate::kubernetes::api::check_name;
use crate::kubernetes::backoff::Backoff;

/// Asks Agones for servers.
#[derive(Clone)]
pub struct GameServerAllocator {
    pub(super) client: Client,
}

/// One server that is wanted.
#[derive(Clone, Debug)]
pub struct AllocationRequest {
    /// In which namespace.
    pub namespace: String,
    /// What it must be.
    pub spec: AllocationSpec,
    /// What tells this request from all others.
    pub id: String,
    /// When it is no longer wanted: no attempt begins after that.
    pub until: Instant,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// The name of the server and the id that it bears, or why there is none.
    pub outcome: Result<(String, AllocationId), AllocationError>,
    /// Attempts that may have got a server of which nothing is known.
    pub lost: Vec<AllocationId>,
    /// How many attempts there were.
    pub attempts: u32,
}

impl fmt::Debug for GameServerAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GameServerAllocator")
    }
}

impl GameServerAllocator {
    /// One that asks by way of this client.
    pub fn new(client: Client) -> GameServerAllocator {
        GameServerAllocator { client }
    }

    /// Allocates a server. Conflicts, a busy server and one that fails are tried again, with jittered
    /// pauses that grow to a second.
    ///
    /// An attempt that is under way at the deadline is seen through for up to 30 s: it may get a server,
    /// and who asked has to know of it. Each attempt has an id of its own, which its server bears.
    pub async fn allocate(&self, request: &AllocationRequest) -> Allocation {
        let mut backoff = Backoff::default();
        let mut allocation =
            Allocation { outcome: Err(AllocationError::NothingMatches), lost: Vec::new(), attempts: 0 };
        loop {
            allocation.attempts += 1;
            let id = AllocationId(format!("{}.{}", request.id, allocation.attempts).into());
            let failed = match self.attempt(request, &id).await {
                Ok(name) => {
                    allocation.outcome = Ok((name, id));
                    return allocation;
                }
                Err(failed) => failed,
            };
            if failed.may_have_one {
                allocation.lost.push(id);
            }
            allocation.outcome = Err(failed.error);
            let Some(at_least) = failed.again else { return allocation };
            let next = Instant::now() + backoff.after_failure().max(at_least);
            if next >= request.until {
                return allocation;
            }
            sleep_until(next).await;
        }
    }

    async fn attempt(&self, request: &AllocationRequest, id: &AllocationId) -> Result<String, Failed> {
        check_name(&request.namespace).map_err(|fault| Failed::refused(fault.to_string()))?;
        let all = Request::new(path(&request.namespace));
        let asked = all.create(&PostParams::default(), document(request, id)).map_err(Error::BuildRequest)?;
        match timeout(ANSWER, self.client.request::<Value>(asked)).await {
            Ok(answer) => server_name(&answer?),
            Err(_) => Err(Failed::silence(ANSWER)),
        }
    }
}

fn path(namespace: &str) -> String {
    format!("/apis/{API_VERSION}/namespaces/{namespace}/gameserverallocations")
}

fn document(request: &AllocationRequest, id: &AllocationId) -> Vec<u8> {
    let document = json!({
        "apiVersion": API_VERSION,
        "kind": "GameServerAllocation",
        "metadata": {"namespace": request.namespace},
        "spec": request.spec.with_id(id),
    });
    document.to_string().into_bytes()
}

const API_VERSION: &str = "allocation.agones.dev/v1";
/// For an answer, also beyond the deadline of who asked.
const ANSWER: Duration = Duration::from_secs(30);
