//! Listening sockets: TCP and Unix, bound with errors that say what to do about them.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::peer::PeerAddress;
use crate::socket::Socket;
use crate::transport::Transport;

/// Connections that may wait to be accepted unless options say otherwise (the kernel caps it at `somaxconn`).
pub const DEFAULT_BACKLOG: u32 = 4096;

/// Linux hands the listener's `TCP_NODELAY` down to the connections it accepts, which saves a system call each.
const NODELAY_IS_INHERITED: bool = cfg!(target_os = "linux");

/// How to listen on TCP.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Address to bind; port 0 picks a free one.
    pub address: SocketAddr,
    /// For an IPv6 address: also take IPv4 connections (only useful with `[::]`).
    pub dual_stack: bool,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
}

impl TcpOptions {
    /// The defaults: dual-stack when `address` is `[::]`, a backlog of [`DEFAULT_BACKLOG`].
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let dual_stack = address.ip() == Ipv6Addr::UNSPECIFIED;
        Self { address, dual_stack, backlog: DEFAULT_BACKLOG }
    }
}

/// How to listen on a Unix socket.
#[derive(Clone, Debug)]
pub struct UnixOptions {
    /// Where the socket file is created.
    pub path: PathBuf,
    /// Permission bits of the socket file, such as `0o660`; `None` leaves them to the umask.
    pub mode: Option<u32>,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
}

impl UnixOptions {
    /// The defaults: permissions by umask, a backlog of [`DEFAULT_BACKLOG`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: None, backlog: DEFAULT_BACKLOG }
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP address, with the port really bound.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listener could not be opened: which, why, and what helps.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}{}", .hint.map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct ListenError {
    /// The address asked for.
    pub address: ListenAddress,
    /// Why, in words.
    pub reason: String,
    /// What to try, when the cause is a common one.
    pub hint: Option<&'static str>,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl ListenError {
    fn new(address: ListenAddress, source: io::Error) -> Self {
        let unix = matches!(address, ListenAddress::Unix(_));
        let (reason, hint) = match source.kind() {
            io::ErrorKind::AddrInUse if unix => {
                ("address in use".to_owned(), Some("is another broker running on this socket?"))
            }
            io::ErrorKind::AddrInUse => (
                "address in use".to_owned(),
                Some("another broker? stop it, or move all ports with --port-offset"),
            ),
            io::ErrorKind::AddrNotAvailable => (
                "no interface has this address".to_owned(),
                Some("`ip address` lists the ones of this machine"),
            ),
            io::ErrorKind::PermissionDenied if unix => {
                ("permission denied".to_owned(), Some("the directory must be writable for this user"))
            }
            io::ErrorKind::PermissionDenied => {
                ("permission denied".to_owned(), Some("ports below 1024 need CAP_NET_BIND_SERVICE"))
            }
            io::ErrorKind::NotFound if unix => {
                ("its directory does not exist".to_owned(), Some("create it first"))
            }
            io::ErrorKind::AlreadyExists if unix => {
                ("a file that is not a socket is in the way".to_owned(), Some("choose another path"))
            }
            io::ErrorKind::InvalidInput if unix => (
                "not a usable socket path".to_owned(),
                Some("Unix socket paths hold at most about 100 bytes"),
            ),
            _ => (source.to_string(), None),
        };
        Self { address, reason, hint, source }
    }
}

/// A listening, non-blocking socket. A Unix listener removes its socket file when dropped.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    address: ListenAddress,
}

#[derive(Debug)]
enum Inner {
    Tcp(mio::net::TcpListener),
    /// The file is held for its drop alone.
    Unix {
        listener: mio::net::UnixListener,
        _file: SocketFile,
    },
}

impl Listener {
    /// Listens on TCP with `SO_REUSEADDR`, so that a restart does not wait for old connections to time out.
    ///
    /// # Errors
    /// [`ListenError`] with the address, the cause and a hint.
    pub fn bind_tcp(options: &TcpOptions) -> Result<Self, ListenError> {
        let failed = |error| ListenError::new(ListenAddress::Tcp(options.address), error);
        let listener = bind_tcp(options).map_err(failed)?;
        let address = ListenAddress::Tcp(listener.local_addr().map_err(failed)?);
        Ok(Self { inner: Inner::Tcp(mio::net::TcpListener::from_std(listener)), address })
    }

    /// Listens on a Unix socket. A socket file that nobody listens on any more is replaced; anything else in its
    /// place is left alone and reported.
    ///
    /// # Errors
    /// [`ListenError`] with the path, the cause and a hint.
    pub fn bind_unix(options: &UnixOptions) -> Result<Self, ListenError> {
        let address = ListenAddress::Unix(options.path.clone());
        let (listener, file) =
            bind_unix(options).map_err(|error| ListenError::new(address.clone(), error))?;
        let listener = mio::net::UnixListener::from_std(listener);
        Ok(Self { inner: Inner::Unix { listener, _file: file }, address })
    }

    /// Where this listens, with the port really bound.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The TCP address, `None` for a Unix listener.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self.address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Takes the next waiting connection, with `TCP_NODELAY` set; `None` when no more wait.
    ///
    /// In an edge-triggered loop call it until `None`. Connections that died while waiting are skipped.
    ///
    /// # Errors
    /// Mostly resource exhaustion ([`is_exhaustion`]): the connection keeps waiting and no new event will come for
    /// it, so call again after a pause.
    pub fn accept(&self) -> io::Result<Option<Socket>> {
        Ok(self.accept_with_address()?.map(|(socket, _)| socket))
    }

    /// Like [`Listener::accept`], as a plain transport. It knows the peer's address even when the peer is gone
    /// again, and costs a system call less.
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub fn accept_transport(&self) -> io::Result<Option<Transport>> {
        let accepted = self.accept_with_address()?;
        Ok(accepted.map(|(socket, address)| Transport::plain_from(socket, address)))
    }

    fn accept_with_address(&self) -> io::Result<Option<(Socket, PeerAddress)>> {
        loop {
            let accepted = match &self.inner {
                Inner::Tcp(listener) => {
                    listener.accept().map(|(stream, address)| (Socket::Tcp(stream), address.into()))
                }
                Inner::Unix { listener, .. } => {
                    listener.accept().map(|(stream, _)| (Socket::Unix(stream), PeerAddress::Unix))
                }
            };
            match accepted {
                Ok((socket, address)) => {
                    if let Socket::Tcp(stream) = &socket
                        && !NODELAY_IS_INHERITED
                    {
                        // Fails only when the peer is already gone, which the first read will tell.
                        let _ = stream.set_nodelay(true);
                    }
                    return Ok(Some((socket, address)));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Gives the listener to the standard library (non-blocking), for an async runtime to adopt.
    #[must_use]
    pub fn into_std(self) -> StdListener {
        match self.inner {
            Inner::Tcp(listener) => StdListener::Tcp(listener.into()),
            Inner::Unix { listener, _file: file } => StdListener::Unix(listener.into(), file),
        }
    }
}

/// A listener handed to the standard library, see [`Listener::into_std`].
#[derive(Debug)]
pub enum StdListener {
    /// Listens on TCP.
    Tcp(std::net::TcpListener),
    /// Listens on a Unix socket, whose file is to be kept as long.
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.inner {
            Inner::Tcp(listener) => listener.register(registry, token, interests),
            Inner::Unix { listener, .. } => listener.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.inner {
            Inner::Tcp(listener) => listener.reregister(registry, token, interests),
            Inner::Unix { listener, .. } => listener.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.inner {
            Inner::Tcp(listener) => listener.deregister(registry),
            Inner::Unix { listener, .. } => listener.deregister(registry),
        }
    }
}

/// True when accepting failed because this process or machine has run out of files, buffers or memory. The
/// connection still waits; accept again after closing something or after a pause.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
    // EMFILE, ENFILE and ENOMEM have these numbers on every Unix; ENOBUFS differs.
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}

fn bind_tcp(options: &TcpOptions) -> io::Result<std::net::TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(options.address), Type::STREAM, Some(Protocol::TCP))?;
    if options.address.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&options.address.into())?;
    socket.listen(backlog(options.backlog))?;
    Ok(socket.into())
}

fn bind_unix(options: &UnixOptions) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
    let path = options.path.as_path();
    let address = SockAddr::unix(path)?;
    clear_stale(path, &address)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let file = SocketFile::of(path)?;
    // Before listen(): nobody can connect while the file still has the permissions of the umask.
    if let Some(mode) = options.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog(options.backlog))?;
    Ok((socket.into(), file))
}

/// Removes the socket file that a broker left behind when it was killed. One that still answers is in use.
fn clear_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // Connected, or its backlog is full: somebody is there.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn backlog(connections: u32) -> i32 {
    i32::try_from(connections).unwrap_or(i32::MAX)
}

/// The file of a bound Unix socket, removed on drop unless a successor has put its own in the place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.dev() == self.device && metadata.ino() == self.inode)
        {
            // Nothing can be done about a failure here, and the next start clears a stale file anyway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
