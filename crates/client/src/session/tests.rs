//! The session against a director whose every datagram the test decides.

use super::*;
use udp_director_wire::Ack;

const FIRST: &[u8; 36] = b"0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e";
const SECOND: &[u8; 36] = b"7c1d9a42-0000-4111-8222-333344445555";

fn token(text: &[u8; 36]) -> Token {
    Token::from_bytes(text).expect("36 visible characters")
}

/// A director that does nothing by itself.
struct Director(UdpSocket);

struct Asked {
    packet: ControlPacket,
    from: SocketAddr,
}

impl Director {
    async fn bind() -> Director {
        Director(UdpSocket::bind("127.0.0.1:0").await.expect("loopback is there"))
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    async fn hear(&self) -> (Vec<u8>, SocketAddr) {
        let mut buf = [0; 2048];
        let (len, from) = self.0.recv_from(&mut buf).await.expect("a datagram");
        (buf[..len].to_vec(), from)
    }

    async fn asked(&self) -> Asked {
        let (datagram, from) = self.hear().await;
        let packet = Magic::default().parse_control(&datagram).expect("a control packet");
        Asked { packet, from }
    }

    async fn answer(&self, asked: &Asked, status: AckStatus) {
        let request = asked.packet.ack.expect("the extended form");
        self.say(&Magic::default().encode_ack(&Ack { request, status }), asked.from).await;
    }

    async fn say(&self, datagram: &[u8], to: SocketAddr) {
        self.0.send_to(datagram, to).await.expect("loopback takes it");
    }

    /// A session that is bound with the first token, and its address.
    async fn session(&self) -> (Session, SocketAddr) {
        let accept = async {
            let asked = self.asked().await;
            self.answer(&asked, AckStatus::Done).await;
            asked.from
        };
        let (session, from) = tokio::join!(Session::connect(self.addr(), token(FIRST)), accept);
        (session.expect("it was acknowledged"), from)
    }
}

async fn received(session: &Session) -> Vec<u8> {
    let mut buf = [0; 2048];
    let len = session.recv(&mut buf).await.expect("a datagram");
    buf[..len].to_vec()
}

fn within(deadline: Duration) -> SessionOptions {
    SessionOptions { deadline, ..SessionOptions::default() }
}

#[tokio::test]
async fn connect_repeats_one_control_packet_until_it_is_acknowledged() {
    let director = Director::bind().await;
    let script = async {
        let lost = [director.asked().await, director.asked().await];
        let heard = director.asked().await;
        assert!(lost.iter().all(|asked| asked.packet == heard.packet && asked.from == heard.from));
        director.answer(&heard, AckStatus::Done).await;
        heard.packet
    };
    let (session, packet) = tokio::join!(Session::connect(director.addr(), token(FIRST)), script);
    assert_eq!(session.expect("it was acknowledged").token(), token(FIRST));
    assert_eq!(packet.token, token(FIRST));
    assert_eq!(packet.ack.expect("the extended form").opcode, AckRequest::SWITCH);
}

#[tokio::test]
async fn refused_token_says_why() {
    use AckStatus::*;
    for (status, why) in [
        (InvalidToken, "unknown, expired"),
        (NotYours, "another client"),
        (NoBackend, "server is gone"),
        (UnknownOpcode, "does not know"),
    ] {
        let director = Director::bind().await;
        let refuse = async { director.answer(&director.asked().await, status).await };
        let (session, ()) = tokio::join!(Session::connect(director.addr(), token(FIRST)), refuse);
        let error = session.expect_err("it was refused");
        assert!(matches!(error, SessionError::Refused(got) if got == status), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn busy_director_is_asked_again() {
    let director = Director::bind().await;
    let script = async {
        director.answer(&director.asked().await, AckStatus::Busy).await;
        director.answer(&director.asked().await, AckStatus::Done).await;
    };
    let (session, ()) = tokio::join!(Session::connect(director.addr(), token(FIRST)), script);
    session.expect("it was acknowledged in the end");
}

#[tokio::test]
async fn silence_is_an_error_at_the_deadline() {
    let director = Director::bind().await;
    let options = within(Duration::from_millis(20));
    let error = Session::connect_with(director.addr(), token(FIRST), options).await;
    let error = error.expect_err("nobody answers");
    assert!(matches!(error, SessionError::NoAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn director_that_is_not_there_is_told_from_a_silent_one() {
    let gone = Director::bind().await.addr();
    let error = Session::connect_with(gone, token(FIRST), within(Duration::from_millis(50))).await;
    let error = error.expect_err("nobody is there");
    assert!(matches!(error, SessionError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn acknowledgements_never_show_as_data() {
    let director = Director::bind().await;
    let script = async {
        let asked = director.asked().await;
        for _ in 0..3 {
            director.answer(&asked, AckStatus::Done).await;
        }
        director.say(b"state", asked.from).await;
    };
    let (session, ()) = tokio::join!(Session::connect(director.addr(), token(FIRST)), script);
    assert_eq!(received(&session.expect("acknowledged")).await, b"state");
}

#[tokio::test]
async fn ack_of_another_nonce_acknowledges_nothing() {
    let director = Director::bind().await;
    let options = within(Duration::from_millis(150));
    let script = async {
        let mut asked = director.asked().await;
        asked.packet.ack = Some(AckRequest { opcode: AckRequest::SWITCH, nonce: [0; 8] });
        director.answer(&asked, AckStatus::Done).await;
    };
    let (session, ()) = tokio::join!(Session::connect_with(director.addr(), token(FIRST), options), script);
    session.expect_err("its own nonce was never answered");
}

#[tokio::test]
async fn data_that_arrives_while_migrating_waits_in_order() {
    let director = Director::bind().await;
    let (session, client) = director.session().await;
    let script = async {
        let lost = director.asked().await;
        director.say(b"one", client).await;
        let asked = director.asked().await;
        assert_eq!(lost.packet, asked.packet);
        director.say(b"two", client).await;
        director.answer(&asked, AckStatus::Done).await;
        director.say(b"three", client).await;
    };
    let (moved, ()) = tokio::join!(session.migrate(token(SECOND)), script);
    moved.expect("it was acknowledged");
    assert_eq!(session.token(), token(SECOND));
    for expected in [&b"one"[..], b"two", b"three"] {
        assert_eq!(received(&session).await, expected);
    }
}

#[tokio::test]
async fn session_receives_while_it_migrates() {
    let director = Director::bind().await;
    let (session, client) = director.session().await;
    let script = async {
        let asked = director.asked().await;
        director.say(b"one", client).await;
        let (echo, _) = director.hear().await;
        assert_eq!(echo, b"one, thanks", "the answer to it came before the acknowledgement");
        director.answer(&asked, AckStatus::Done).await;
    };
    let play = async {
        assert_eq!(received(&session).await, b"one");
        session.send(b"one, thanks").await.expect("it can send");
    };
    let (moved, (), ()) = tokio::join!(session.migrate(token(SECOND)), script, play);
    moved.expect("it was acknowledged");
}

#[tokio::test]
async fn refused_migration_leaves_the_session_as_it_was() {
    let director = Director::bind().await;
    let (session, client) = director.session().await;
    let refuse = async { director.answer(&director.asked().await, AckStatus::NoBackend).await };
    let (moved, ()) = tokio::join!(session.migrate(token(SECOND)), refuse);
    moved.expect_err("it was refused");
    assert_eq!(session.token(), token(FIRST));
    session.send(b"still here").await.expect("it can send");
    assert_eq!(director.hear().await, (b"still here".to_vec(), client));
}

#[tokio::test]
async fn keep_alive_is_a_control_packet_with_the_sessions_own_token() {
    let director = Director::bind().await;
    let (session, client) = director.session().await;
    let script = async {
        let asked = director.asked().await;
        director.answer(&asked, AckStatus::Done).await;
        asked
    };
    let (alive, asked) = tokio::join!(session.keep_alive(), script);
    alive.expect("it was acknowledged");
    assert_eq!((asked.packet.token, asked.from), (token(FIRST), client));
}

#[tokio::test]
async fn resume_brings_the_own_token_from_a_new_address() {
    let director = Director::bind().await;
    let (session, old) = director.session().await;
    let script = async {
        let asked = director.asked().await;
        director.answer(&asked, AckStatus::Done).await;
        director.say(b"welcome back", asked.from).await;
        asked
    };
    let (resumed, asked) = tokio::join!(session.resume(), script);
    resumed.expect("it was acknowledged");
    assert_ne!(asked.from, old);
    assert_eq!(asked.packet.token, token(FIRST));
    assert_eq!(received(&session).await, b"welcome back");
}

#[tokio::test]
async fn receiver_that_waits_follows_to_the_new_socket() {
    let director = Director::bind().await;
    let (session, _) = director.session().await;
    let script = async {
        let asked = director.asked().await;
        director.answer(&asked, AckStatus::Done).await;
        asked.from
    };
    let resume = async {
        let (resumed, new) = tokio::join!(session.resume(), script);
        resumed.expect("it was acknowledged");
        director.say(b"over here", new).await;
    };
    let (datagram, ()) = tokio::join!(received(&session), resume);
    assert_eq!(datagram, b"over here");
}

#[tokio::test]
async fn what_still_comes_to_the_old_address_is_received() {
    let director = Director::bind().await;
    let (session, old) = director.session().await;
    let accept = async { director.answer(&director.asked().await, AckStatus::Done).await };
    let (resumed, ()) = tokio::join!(session.resume(), accept);
    resumed.expect("it was acknowledged");
    director.say(b"on its way before", old).await;
    assert_eq!(received(&session).await, b"on its way before");
}

#[tokio::test]
async fn refused_resume_keeps_the_old_socket() {
    let director = Director::bind().await;
    let (session, old) = director.session().await;
    let refuse = async { director.answer(&director.asked().await, AckStatus::InvalidToken).await };
    let (resumed, ()) = tokio::join!(session.resume(), refuse);
    resumed.expect_err("it was refused");
    director.say(b"old address", old).await;
    assert_eq!(received(&session).await, b"old address");
}

#[test]
fn nonces_differ() {
    let nonces: std::collections::HashSet<_> = (0..1000).map(|_| fresh_nonce()).collect();
    assert_eq!(nonces.len(), 1000);
}
