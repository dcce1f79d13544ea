//! Datagrams at the front of a DTLS server: whatever comes before a proven key, nobody gets in, no state is left for who
//! brings no cookie, and a peer that stands is not disturbed.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tercet_net::dtls::{
    Association, DtlsAcceptor, DtlsIdentity, DtlsLimits, DtlsServerSettings, DtlsSink, PeerGone,
    ReloadableDtlsServerConfig,
};

/// What the server says.
#[derive(Default)]
struct Seen {
    sent: usize,
}

impl DtlsSink<SocketAddr> for Seen {
    fn transmit(&mut self, _: SocketAddr, datagram: &[u8]) {
        self.sent += datagram.len();
    }

    fn opened(&mut self, association: Association<SocketAddr>, _: &DtlsIdentity) {
        panic!("{association:?} got in");
    }

    fn received(&mut self, association: Association<SocketAddr>, _: &[u8]) {
        panic!("something was taken from {association:?}");
    }

    fn closed(&mut self, association: Association<SocketAddr>, _: PeerGone) {
        panic!("{association:?} was there");
    }

    fn needs(&mut self, _: Association<SocketAddr>) -> bool {
        false
    }
}

fn config() -> Arc<ReloadableDtlsServerConfig> {
    static CONFIG: OnceLock<Arc<ReloadableDtlsServerConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("tercet-fuzz-keys-{}", std::process::id()));
        std::fs::write(&path, "device:00112233\n").unwrap();
        let settings = DtlsServerSettings { psk_file: Some(path.clone()), ..Default::default() };
        let config = ReloadableDtlsServerConfig::load(settings).unwrap();
        std::fs::remove_file(path).unwrap();
        Arc::new(config)
    });
    Arc::clone(config)
}

/// The body of the target: the first byte says after how many the datagram is cut in two.
pub fn check(data: &[u8]) {
    let now = Instant::now();
    let mut acceptor = DtlsAcceptor::new(config(), DtlsLimits::default(), now).unwrap();
    let mut seen = Seen::default();
    let from = SocketAddr::from(([192, 0, 2, 1], 5684));
    let Some((&cut, rest)) = data.split_first() else { return };
    let (first, second) = rest.split_at(rest.len().min(usize::from(cut)));
    for datagram in [first, second, rest] {
        acceptor.receive(from, datagram, now, &mut seen);
    }
    assert!(seen.sent <= 3 * rest.len(), "{} bytes for {}", seen.sent, rest.len());
    assert_eq!((acceptor.peers(), acceptor.handshakes()), (0, 0));
    acceptor.run_due(now + Duration::from_secs(3600), &mut seen);
    assert_eq!(acceptor.next_due(), None);
}
