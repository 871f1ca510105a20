//! What Agones answers: the `status` of the GameServerAllocation that was created.

use serde_json::Value;

use super::error::Failed;

/// The name of the server that was allocated.
///
/// # Errors
/// Says what the answer says instead.
pub(super) fn server_name(answer: &Value) -> Result<String, Failed> {
    let status = &answer["status"];
    let text = |key: &str| status[key].as_str().filter(|text| !text.is_empty());
    match status["state"].as_str() {
        Some("Allocated") => {}
        Some("UnAllocated") => return Err(Failed::nothing_matches()),
        Some("Contention") => return Err(Failed::contention()),
        _ => return Err(Failed::malformed("no state that is known")),
    }
    let name = text("gameServerName").ok_or_else(|| Failed::malformed("no name of a server"))?;
    text("address").ok_or_else(|| Failed::malformed("no address"))?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answer_names_a_server_or_says_why_there_is_none() {
        let allocated = json!({"state": "Allocated", "gameServerName": "arena-1", "address": "10.0.0.1"});
        assert_eq!(server_name(&json!({"status": allocated})).expect("a server"), "arena-1");
        for (answer, reason) in [
            (json!({"status": {"state": "UnAllocated", "gameServerName": ""}}), "nothing_matches"),
            (json!({"status": {"state": "Contention"}}), "contention"),
            (json!({"status": {"state": "Allocated", "address": "10.0.0.1"}}), "malformed"),
            (
                json!({"status": {"state": "Allocated", "gameServerName": "", "address": "10.0.0.1"}}),
                "malformed",
            ),
            (
                json!({"status": {"state": "Allocated", "gameServerName": "arena-1", "address": ""}}),
                "malformed",
            ),
            (
                json!({"status": {"state": "Allocated", "gameServerName": 7, "address": "10.0.0.1"}}),
                "malformed",
            ),
            (json!({"status": {"state": "Elsewhere"}}), "malformed"),
            (json!({"status": "Failure"}), "malformed"),
            (json!([]), "malformed"),
        ] {
            let failed = server_name(&answer).expect_err("no server");
            assert_eq!(failed.error.reason(), reason, "{answer}");
            assert_eq!(failed.may_have_one, reason == "malformed", "{answer}");
        }
    }
}
