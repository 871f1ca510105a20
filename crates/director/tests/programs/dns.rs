//! `dig` asks `dnsmasq`: every question is a client of its own, on UDP, on TCP, or on both in turn.

use std::fs;

use super::program::{Running, attempt, run};
use super::stage::{PORT, Stage};

#[test]
fn dig_gets_the_answers_that_it_gets_directly() {
    let stage = Stage::new();
    let _server = name_server(&stage);
    for question in [
        "small.test +notcp",
        "small.test +tcp",
        "large.test TXT +notcp +bufsize=4096",
        "large.test TXT +tcp",
        "nowhere.test",
        "small.test +tcp +keepopen large.test TXT small.test",
    ] {
        let [direct, through] = stage.direct_and_through().map(|ip| dig(&ip, question));
        assert_eq!(through, direct, "{question}");
        assert!(direct.contains("status: "), "{direct}");
    }
}

#[test]
fn truncated_answer_is_fetched_over_tcp_on_the_same_port() {
    let stage = Stage::new();
    let _server = name_server(&stage);
    let ip = stage.public.to_string();
    let cut = dig(&ip, "large.test TXT +noedns +ignore");
    assert!(cut.contains("flags: qr aa tc"), "{cut}");
    let whole = dig(&ip, "large.test TXT +noedns");
    assert_eq!(whole.matches(TEXT).count(), 10, "{whole}");
}

#[test]
fn each_of_many_questions_gets_its_own_answer() {
    let stage = Stage::new();
    let _server = name_server(&stage);
    let names: Vec<_> = (1..=200).map(|host| format!("198-51-100-{host}.many.test\n")).collect();
    let batch = stage.folder().join("names");
    fs::write(&batch, names.concat()).expect("written");
    let batch = format!("+short -f {}", batch.display());
    let answers = dig(&stage.public.to_string(), &batch);
    let due: Vec<_> = (1..=200).map(|host| format!("198.51.100.{host}\n")).collect();
    assert_eq!(answers, due.concat());
}

fn name_server(stage: &Stage) -> Running {
    let text = format!("--txt-record=large.test{}", format!(",{TEXT}").repeat(10));
    let (port, ip) = (format!("--port={PORT}"), stage.servers[0].to_string());
    let listen = format!("--listen-address={ip}");
    let mut args = vec!["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user="];
    args.extend(["--no-resolv", "--no-hosts", "--bind-interfaces", "--log-facility=-", &port, &listen]);
    args.extend(["--host-record=small.test,192.0.2.7", &text, "--synth-domain=many.test,198.51.100.0/24"]);
    let mut server = stage.start("name-server", "dnsmasq", &args);
    server.wait_until(|_| attempt("dig", &[&format!("@{ip}"), "-p", "7777", "+time=1"]).status.success());
    server
}

/// What `dig` prints, without what differs from time to time.
fn dig(ip: &str, question: &str) -> String {
    let server = format!("@{ip}");
    let mut args = vec![server.as_str(), "-p", "7777", "+tries=10", "+nostats", "+nocmd", "+qid=7"];
    args.extend(question.split(' '));
    run("dig", &args)
}

/// As long as one string of a record may be, nearly.
const TEXT: &str = "Let every eye negotiate for itself and trust no agent. Let every eye negotiate for itself and \
                    trust no agent. Let every eye negotiate for itself and trust no agent.";
