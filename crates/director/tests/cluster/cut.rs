//! A line between a director and the API server that can be cut while the server goes on.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use udp_director_apiserver::{Account, ApiServer};

/// The line. While it is cut its port refuses connections.
pub(crate) struct Line {
    address: SocketAddr,
    server: SocketAddr,
    /// Held while connections may live.
    open: Option<(watch::Sender<()>, JoinHandle<()>)>,
}

impl Line {
    /// Lays one, and lets the account's kubeconfig lead through it.
    pub(crate) async fn lay(server: &ApiServer, account: &Account) -> Line {
        // An address of its own: an outgoing connection of another process cannot take the port meanwhile.
        let listener = TcpListener::bind("127.0.250.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let mut line = Line { address, server: server.address(), open: None };
        line.serve(listener);
        let text = std::fs::read_to_string(&account.kubeconfig).expect("a kubeconfig");
        let url = format!("\"server\":\"{}\"", server.url());
        assert!(text.contains(&url), "{text}");
        let through =
            format!("\"server\":\"https://{address}\",\"tls-server-name\":\"{}\"", server.address().ip());
        std::fs::write(&account.kubeconfig, text.replace(&url, &through)).expect("a kubeconfig");
        line
    }

    /// Cuts it: connections end, and new ones are refused.
    pub(crate) async fn cut(&mut self) {
        if let Some((open, serving)) = self.open.take() {
            drop(open);
            let _ = serving.await;
        }
    }

    /// Lets connections through again.
    pub(crate) async fn mend(&mut self) {
        self.serve(TcpListener::bind(self.address).await.expect("its own port"));
    }

    fn serve(&mut self, listener: TcpListener) {
        let (open, closed) = watch::channel(());
        let server = self.server;
        let serving = tokio::spawn(async move {
            let mut ended = closed.clone();
            loop {
                tokio::select! {
                    _ = ended.changed() => return,
                    Ok((stream, _)) = listener.accept() => {
                        tokio::spawn(carry(stream, server, closed.clone()));
                    }
                }
            }
        });
        self.open = Some((open, serving));
    }
}

async fn carry(mut near: TcpStream, server: SocketAddr, mut closed: watch::Receiver<()>) -> io::Result<()> {
    let mut far = TcpStream::connect(server).await?;
    tokio::select! {
        _ = closed.changed() => Ok(()),
        ended = copy_bidirectional(&mut near, &mut far) => ended.map(drop),
    }
}
