//! Giving back: an allocated server that nobody plays on is deleted, or made ready again.

use std::time::Duration;

use kube::Error;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use kube::core::params::ListParams;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use udp_director_core::AllocationId;

use super::error::GiveBackError;
use super::request::GameServerAllocator;
use crate::kubernetes::api::check_name;
use crate::kubernetes::backoff::Backoff;
use crate::kubernetes::fault::Fault;

/// How a server is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveBack {
    /// Its object is deleted, and its fleet makes another.
    Delete,
    /// Its state is `Ready` again.
    Ready,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// It was given back.
    Done,
    /// It is gone, no longer allocated, or was allocated by somebody else meanwhile: it is none of ours.
    NotOurs,
}

impl GameServerAllocator {
    /// Gives a server back that this allocation got; only that object, and only as it is when it is
    /// looked at. A change in between is looked at anew, and what fails is tried again, up to five
    /// times and for 10 s in all.
    ///
    /// # Errors
    /// Says why it stays allocated.
    pub async fn give_back(
        &self,
        server: (&str, &str),
        allocation: &AllocationId,
        how: GiveBack,
    ) -> Result<GivenBack, GiveBackError> {
        let giving_back = self.try_to_give_back(server, allocation, how);
        let outcome = timeout(ANSWER, giving_back).await.unwrap_or(Err(Fault::Late(ANSWER)));
        outcome.map_err(|fault| GiveBackError(fault.to_string()))
    }

    async fn try_to_give_back(
        &self,
        server: (&str, &str),
        allocation: &AllocationId,
        how: GiveBack,
    ) -> Result<GivenBack, Fault> {
        let mut backoff = Backoff::default();
        for _ in 1..ATTEMPTS {
            match self.look_and_give_back(server, allocation, how).await {
                Err(Fault::Forbidden(message)) => return Err(Fault::Forbidden(message)),
                Err(_) => sleep(backoff.after_failure()).await,
                done => return done,
            }
        }
        self.look_and_give_back(server, allocation, how).await
    }

    async fn look_and_give_back(
        &self,
        (namespace, name): (&str, &str),
        allocation: &AllocationId,
        how: GiveBack,
    ) -> Result<GivenBack, Fault> {
        check_name(namespace)?;
        check_name(name)?;
        let servers = Request::new(format!("/apis/agones.dev/v1/namespaces/{namespace}/gameservers"));
        // What may be watched may be listed, but not got.
        let this =
            ListParams { field_selector: Some(format!("metadata.name={name}")), ..ListParams::default() };
        let list: Value = self.client.request(servers.list(&this).map_err(Error::BuildRequest)?).await?;
        let server = &list["items"][0];
        let Some((uid, version)) = ours(server, allocation) else { return Ok(GivenBack::NotOurs) };
        let request = match how {
            GiveBack::Delete => {
                let preconditions = Preconditions { uid: Some(uid), resource_version: Some(version) };
                let only = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                servers.delete(name, &only)
            }
            GiveBack::Ready => {
                let metadata = json!({"uid": uid, "resourceVersion": version,
                    "annotations": {AllocationId::ANNOTATION: null}});
                let patch = Patch::Merge(json!({"metadata": metadata, "status": {"state": "Ready"}}));
                servers.patch(name, &PatchParams::default(), &patch)
            }
        };
        let request = request.map_err(Error::BuildRequest)?;
        match self.client.request::<Value>(request).await.map_err(Fault::from) {
            Ok(_) => Ok(GivenBack::Done),
            Err(Fault::NotFound(_)) => Ok(GivenBack::NotOurs),
            Err(fault) => Err(fault),
        }
    }
}

/// The UID and version of a server that this allocation got, and nobody since.
fn ours(server: &Value, allocation: &AllocationId) -> Option<(String, String)> {
    let metadata = &server["metadata"];
    let text = |key: &str| metadata[key].as_str().map(str::to_owned);
    let is_ours = server["status"]["state"] == "Allocated"
        && metadata["deletionTimestamp"].is_null()
        && metadata["annotations"][AllocationId::ANNOTATION] == *allocation.0;
    is_ours.then(|| Some((text("uid")?, text("resourceVersion")?))).flatten()
}

const ANSWER: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_this_allocation_got_and_nobody_since_is_ours() {
        let server = |state: &str, id: &str| {
            json!({"metadata": {"uid": "u", "resourceVersion": "7",
                "annotations": {"udp-director.io/allocation": id}}, "status": {"state": state}})
        };
        let found = |server: &Value| ours(server, &AllocationId("a.1".into())).is_some();
        assert!(found(&server("Allocated", "a.1")));
        for (state, id) in [("Ready", "a.1"), ("Shutdown", "a.1"), ("Allocated", "a.2")] {
            assert!(!found(&server(state, id)), "{state} {id}");
        }
        let mut ending = server("Allocated", "a.1");
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(!found(&ending) && !found(&Value::Null));
    }
}
