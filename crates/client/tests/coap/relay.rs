//! A relay between a UDP client and a server that loses, doubles and reorders datagrams as a seeded generator decides.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;

/// What goes wrong, each in percent of the datagrams.
#[derive(Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Kept back until the next datagram in the same direction has gone.
    pub(crate) overtaken: u64,
}

/// The address of a relay to `server` (`coap://…`), one that works until the runtime of the test ends.
pub(crate) async fn relay(server: &str, trouble: Trouble, seed: u64) -> String {
    let target: SocketAddr = server.strip_prefix("coap://").unwrap().parse().unwrap();
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let url = format!("coap://{}", front.local_addr().unwrap());
    tokio::spawn(async move {
        let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut there = Fate::new(trouble, seed);
        let mut buffer = [0; 2048];
        loop {
            let Ok((length, client)) = front.recv_from(&mut buffer).await else { continue };
            let back = match backs.get(&client) {
                Some(back) => back.clone(),
                None => {
                    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    back.connect(target).await.unwrap();
                    backs.insert(client, back.clone());
                    tokio::spawn(answers(back.clone(), front.clone(), client, Fate::new(trouble, !seed)));
                    back
                }
            };
            for datagram in there.decide(&buffer[..length]) {
                let _ = back.send(&datagram).await;
            }
        }
    });
    url
}

async fn answers(back: Arc<UdpSocket>, front: Arc<UdpSocket>, client: SocketAddr, mut fate: Fate) {
    let mut buffer = [0; 2048];
    loop {
        let Ok(length) = back.recv(&mut buffer).await else { continue };
        for datagram in fate.decide(&buffer[..length]) {
            let _ = front.send_to(&datagram, client).await;
        }
    }
}

struct Fate {
    trouble: Trouble,
    state: u64,
    kept: Option<Vec<u8>>,
}

impl Fate {
    fn new(trouble: Trouble, seed: u64) -> Self {
        Self { trouble, state: seed | 1, kept: None }
    }

    fn percent(&mut self) -> u64 {
        // xorshift64
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % 100
    }

    /// What is to be sent now.
    fn decide(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if self.percent() >= self.trouble.lost {
            if self.percent() < self.trouble.overtaken && self.kept.is_none() {
                self.kept = Some(datagram.to_vec());
                return out;
            }
            out.push(datagram.to_vec());
            if self.percent() < self.trouble.doubled {
                out.push(datagram.to_vec());
            }
        }
        out.extend(self.kept.take());
        out
    }
}
