//! DTLS 1.2 with a pre-shared key and TLS_PSK_WITH_AES_128_CCM_8 (RFC 7252 §9.1.3.1), below a client's messages.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, Output, PskResolver};

/// The identity that every client names.
pub const IDENTITY: &str = "bench";
/// The key that goes with it.
pub const KEY: &str = "sixteen-byte-key";

/// Knows [`IDENTITY`] alone.
struct OnePeer;

impl PskResolver for OnePeer {
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        (identity == IDENTITY.as_bytes()).then(|| KEY.as_bytes().to_vec())
    }
}

/// What all clients have in common.
#[derive(Debug, Clone)]
pub struct Settings(Arc<Config>);

impl Settings {
    /// The settings of clients that name [`IDENTITY`].
    ///
    /// # Errors
    /// When the engine refuses them.
    pub fn new() -> io::Result<Self> {
        let config = Config::builder()
            .flight_start_rto(FIRST_RETRANSMISSION)
            .with_psk_client(IDENTITY.as_bytes().to_vec(), Arc::new(OnePeer))
            .build();
        Ok(Settings(Arc::new(config.map_err(io::Error::other)?)))
    }
}

/// The client's side of an association.
pub struct Session {
    engine: Dtls,
    connected: bool,
    due: Option<Instant>,
    buffer: Vec<u8>,
}

/// A handshake on loopback needs no patience; a lost datagram does.
const FIRST_RETRANSMISSION: Duration = Duration::from_secs(1);
/// The largest record that the engine hands out at once.
const RECORD: usize = 2048;

impl Session {
    /// An association that is not there yet; [`Session::start`] begins it.
    pub fn new(settings: &Settings) -> Self {
        let mut engine = Dtls::new_12_psk(Arc::clone(&settings.0), Instant::now());
        engine.set_active(true);
        Session { engine, connected: false, due: None, buffer: vec![0; RECORD] }
    }

    /// Sends the first flight.
    ///
    /// # Errors
    /// When the engine gives up or `send` fails.
    pub fn start(&mut self, send: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.engine.handle_timeout(Instant::now()).map_err(io::Error::other)?;
        self.drain(send, |_| ())
    }

    /// Whether the handshake is complete.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Protects a message and hands out the records.
    ///
    /// # Errors
    /// When the engine gives up or `send` fails.
    pub fn send(&mut self, message: &[u8], send: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.engine.send_application_data(message).map_err(io::Error::other)?;
        self.drain(send, |_| ())
    }

    /// Takes a datagram: hands out what is to be sent for it, and the messages that were in it.
    ///
    /// # Errors
    /// When the engine gives up or `send` fails.
    pub fn receive(
        &mut self,
        datagram: &[u8],
        send: impl FnMut(&[u8]) -> io::Result<()>,
        message: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.engine.handle_packet(datagram).map_err(io::Error::other)?;
        self.drain(send, message)
    }

    /// Retransmits what is due.
    ///
    /// # Errors
    /// When the engine gives up or `send` fails.
    pub fn retransmit(&mut self, now: Instant, send: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.due.is_none_or(|due| due > now) {
            return Ok(());
        }
        self.engine.handle_timeout(now).map_err(io::Error::other)?;
        self.drain(send, |_| ())
    }

    /// Says goodbye (close_notify), so that the server forgets the association.
    ///
    /// # Errors
    /// When the engine gives up or `send` fails.
    pub fn close(&mut self, send: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.engine.close().map_err(io::Error::other)?;
        self.drain(send, |_| ())
    }

    fn drain(
        &mut self,
        mut send: impl FnMut(&[u8]) -> io::Result<()>,
        mut message: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        loop {
            match self.engine.poll_output(&mut self.buffer) {
                Output::Packet(record) => send(record)?,
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                Output::Connected => self.connected = true,
                Output::ApplicationData(bytes) => message(bytes),
                Output::Timeout(due) => {
                    self.due = Some(due);
                    return Ok(());
                }
                Output::CloseNotify => return Ok(()),
                _ => (),
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("connected", &self.connected).finish_non_exhaustive()
    }
}

/// The settings of a server that lets these clients in, and an engine for each of them.
///
/// # Errors
/// When the settings are refused.
pub fn server_engine() -> io::Result<impl Fn() -> Dtls + use<>> {
    let config =
        Config::builder().with_psk_server(None, Arc::new(OnePeer)).build().map_err(io::Error::other)?;
    let config = Arc::new(config);
    Ok(move || {
        let now = Instant::now();
        let mut engine = Dtls::new_12_psk(Arc::clone(&config), now);
        // It must have been told the time before it takes a datagram; nothing is due yet that could fail.
        let _ = engine.handle_timeout(now);
        engine
    })
}
